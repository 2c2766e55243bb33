"""The contract of a study: it is asked which visit to make next, and told what came of each.

A study is a function of the visits it was told of, in their order: told of stored ones first, it
goes on where it stopped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from crossover.bench.errors import InputError
from crossover.bench.harness.sources import Discovered, KernelSource, record
from crossover.bench.harness.task import Task
from crossover.bench.harness.visits import PROCESS_LIFE_S
from crossover.bench.harness.worker import TIME_LIMIT_S
from crossover.bench.machine.identity import available_cores
from crossover.bench.records.rows import KernelRecord, Visit
from crossover.bench.statistics.comparison import sole_process
from crossover.bench.workloads.problem import Problem
from crossover.kernels.base import Kernel

Contender = TypeVar("Contender")


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows: a phase (``train`` or ``measure``), and how much is done."""

    phase: str
    title: str
    done: float
    total: float
    #: What ``done`` grows by while the visit is made that comes next.
    next_cost: float = 0.0


Report = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Show nothing."""


class Spec(Protocol):
    """What every study is asked with: a frozen dataclass, its options declared field by field."""

    @property
    def budget_s(self) -> float:
        """Return the seconds that measuring may take, over all invocations together."""

    @property
    def seed(self) -> int:
        """Return the seed of all that is drawn."""

    @property
    def modules(self) -> tuple[str, ...]:
        """Return modules with kernels of the user's own."""


class Study(ABC):
    """One way of asking."""

    #: What commands, stores and views call it.
    name: ClassVar[str]
    #: What the progress bar calls its measuring.
    phase: ClassVar[str] = "measure"
    time_limit_s: float = TIME_LIMIT_S
    process_life_s: float = PROCESS_LIFE_S
    spec: Any

    @property
    def series(self) -> str:
        """Return the name under which its visits are kept, and pooled with others of that name."""
        return self.name

    @property
    def remarks(self) -> Sequence[str]:
        """Return what a user should know of what was asked, a line each."""
        return ()

    @property
    def source(self) -> KernelSource:
        """Return where its kernels are from."""
        return Discovered(self.spec.modules)

    @cached_property
    def kernels(self) -> Mapping[str, Kernel]:
        """Return every kernel that there is, by name."""
        return self.source.load()

    @cached_property
    def declared(self) -> dict[str, KernelRecord]:
        """Return what the kernels declare."""
        return {name: record(kernel) for name, kernel in self.kernels.items()}

    @property
    @abstractmethod
    def threads(self) -> tuple[int, ...]:
        """Return the numbers of threads that it measures with."""

    @abstractmethod
    def begin(self, report: Report) -> None:
        """Train what is needed, and find what there is to ask; called once, before all else."""

    @abstractmethod
    def take(self, visit: Visit) -> bool:
        """Take in what came of a visit, and return whether it is one that this study asks for."""

    @abstractmethod
    def next(self, left_s: float) -> Task | None:
        """Return the next visit, with ``left_s`` of the budget left; None where all is known."""

    @abstractmethod
    def progress(self) -> Progress:
        """Return how far it is, by the visits that it wants."""


@dataclass(frozen=True)
class PlannedVisit:
    """A visit that a study knows of before it begins."""

    problem: Problem
    kernels: tuple[str, ...]
    rounds: tuple[int, int]
    budget_s: float = 0.0


class PlannedStudy(Study):
    """A study whose visits are known from the start, each made once, in their order."""

    #: Whether the last visits may be left out where the budget ends.
    may_end_early: ClassVar[bool] = True

    def __init__(self) -> None:
        self.planned: list[PlannedVisit] = []
        self._due: dict[str, list[PlannedVisit]] = {}
        self._done = 0
        #: Kernels that failed or were wrong, by problem: they have had their chance.
        self._out: dict[str, set[str]] = {}
        self._made: dict[str, list[Visit]] = {}

    def begin(self, report: Report) -> None:
        """Make the plan."""
        self.planned = self.plan(report)
        for each in self.planned:
            self._due.setdefault(each.problem.problem_id, []).append(each)

    @abstractmethod
    def plan(self, report: Report) -> list[PlannedVisit]:
        """Return every visit, in order."""

    def take(self, visit: Visit) -> bool:
        """Take in what came of a visit, unless a kernel that is asked for was not there."""
        due = self._due.get(visit.problem.problem_id)
        if due is None:
            return False
        out = self._out.setdefault(visit.problem.problem_id, set())
        fitting = [each for each in due if set(each.kernels) - out <= set(visit.rows)]
        if due and not fitting:
            return False
        if fitting:
            due.remove(min(fitting, key=lambda each: -len(each.kernels)))
            self._done += 1
        out |= {name for name, row in visit.rows.items() if row.status != "measured"}
        self._made.setdefault(visit.problem.problem_id, []).append(visit)
        return True

    def next(self, left_s: float) -> Task | None:
        """Return the first planned visit that was not made yet."""
        if left_s <= 0 and self.may_end_early and self._done:
            return None
        while (each := self._following()) is not None:
            problem_id = each.problem.problem_id
            out = self._out.get(problem_id, set())
            names = tuple(name for name in each.kernels if name not in out)
            if names:
                return Task(
                    each.problem,
                    names,
                    each.budget_s,
                    (self.spec.seed, self._done),
                    each.rounds,
                    not_in=sole_process(self._made.get(problem_id, [])),
                )
            self._due[problem_id].remove(each)  # nobody is left in the race
            self._done += 1
        return None

    def progress(self) -> Progress:
        """Return how many of the planned visits were made."""
        each = self._following()
        title = each.problem.title if each else "done"
        return Progress(self.phase, title, self._done, max(1, len(self.planned)), 1.0)

    def _following(self) -> PlannedVisit | None:
        """Return the first planned visit that was not made yet."""
        for each in self.planned:
            due = self._due[each.problem.problem_id]
            if due and due[0] is each:
                return each
        return None


def threads_or_all(threads: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of threads that were asked for, or that of all cores.

    Raises:
        InputError: if there are not so many cores.
    """
    cores = available_cores()
    for count in threads:
        if not 1 <= count <= cores:
            raise InputError(f"threads {count} is outside 1 to {cores}, this machine's cores")
    return tuple(threads) or (cores,)


def balanced_orders(
    contenders: Sequence[Contender], visits: int, rng: np.random.Generator
) -> Iterator[list[Contender]]:
    """Yield the order of each of ``visits``: a random one, its reverse, a random one, and so on.

    So of two contenders each is first as often as the other, and a machine that slows down or
    recovers on the way favours neither.
    """
    order = list(contenders)
    for visit in range(visits):
        order = order[::-1] if visit % 2 else [contenders[i] for i in rng.permutation(len(order))]
        yield order
