"""One look at two versions: visits to all its stations in turn, until its time is over."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crossover.bench.gate import preset
from crossover.bench.gate.comparison import STUDY, LookSpec
from crossover.bench.gate.crossovers import is_scan
from crossover.bench.gate.measured import complete
from crossover.bench.gate.quantities import (
    BASE,
    CONTROL,
    HEAD,
    SIDES,
    Cell,
    by_kernel,
    kernel_name,
)
from crossover.bench.gate.revisions.sides import Declared, Revisions
from crossover.bench.harness.task import Task
from crossover.bench.records.rows import KernelRecord, Row, Visit
from crossover.bench.studies.study import Progress, Report, Study
from crossover.bench.workloads.problem import Problem, Setting, Workload

# Fresh processes of a look, and how long each lives at least.
_PROCESSES, SHORTEST_LIFE_S = 4, 10.0
_ROUNDS = 4
_MOST_VISITS = 120


@dataclass(frozen=True)
class Station:
    """A problem, and the kernels that are raced in it; visited again and again."""

    problem: Problem
    #: Without their sides.
    kernels: tuple[str, ...]
    sides: tuple[str, ...] = SIDES
    #: Visited once in so many sweeps.
    every: int = 1

    @cached_property
    def problem_id(self) -> str:
        """Return the hash that names the problem."""
        return self.problem.problem_id


class Look(Study):
    """Visits to all its stations in turn, in random order, until its time is over."""

    name = STUDY
    #: In which code is compiled: the control goes first, to bear what the first one bears alone.
    order = CONTROL, BASE, HEAD
    processes = _PROCESSES

    def __init__(self, spec: LookSpec, revisions: Revisions, known: Mapping[str, Declared]) -> None:
        self.spec: LookSpec = spec
        self.known = known
        self._source = revisions
        self.visits: list[Visit] = []
        self.spent_s = 0.0
        self._counts: dict[str, int] = {}
        self._scanned: set[str] = set()
        #: Kernels without their sides that are out of the race, by problem.
        self._out: dict[str, set[str]] = {}
        #: Kernels that failed, by problem; and those to be tried again in a fresh process.
        self._failed: set[tuple[str, str]] = set()
        self._retries: list[tuple[str, str]] = []

    @property
    def series(self) -> str:
        """Return the name under which its visits are kept: of both versions' source."""
        return self.spec.series(self.spec.look)

    @property
    def source(self) -> Revisions:
        """Return the kernels of all sides."""
        return self._source

    @property
    def declared(self) -> dict[str, KernelRecord]:
        """Return what the kernels of all sides declare."""
        return {name: each.record for name, each in self.known.items()}

    @property
    def threads(self) -> tuple[int, ...]:
        """Return the number of threads that it measures with."""
        return (self.spec.threads,)

    @property
    def process_life_s(self) -> float:  # type: ignore[override]
        """Return how long a process measures."""
        return max(SHORTEST_LIFE_S, self.budget_s / self.processes)

    @property
    def budget_s(self) -> float:
        """Return the seconds that it may take, what is compiled not counted."""
        return self.spec.budget_s

    @abstractmethod
    def stations(self) -> Sequence[Station]:
        """Return what is to be visited, as far as it is known by now."""

    def begin(self, report: Report) -> None:
        """Find what is to be visited; what was drawn is made by the worker."""

    def take(self, visit: Visit) -> bool:
        """Take in what came of a visit."""
        self.visits.append(visit)
        compiled_s = sum(row.compile_s or 0.0 for row in visit.rows.values())
        self.spent_s += max(0.0, visit.record.wall_s - compiled_s)
        problem_id = visit.problem.problem_id
        if is_scan(visit):
            self._scanned.add(problem_id)
            return True
        self._counts[problem_id] = self._counts.get(problem_id, 0) + 1
        for kernel, sides in by_kernel(visit):
            self._take(problem_id, kernel, sides)
        return True

    def _take(self, problem_id: str, kernel: str, sides: Mapping[str, Row]) -> None:
        """Decide whether a kernel stays in the race: one that failed has a second chance.

        One that only one side has, or that is wrong, was seen and checked.
        """
        it = problem_id, kernel
        if it in self._retries:
            self._retries.remove(it)
        if complete(sides):
            return
        statuses = {row.status for row in sides.values()}
        if "failed" in statuses and "wrong" not in statuses and it not in self._failed:
            self._failed.add(it)
            self._retries.append(it)
        else:
            self._out.setdefault(problem_id, set()).add(kernel)

    def next(self, left_s: float) -> Task | None:
        """Return the next visit of this sweep; every station has one, whatever the budget.

        What failed goes first, in a fresh process: was it the kernel, or what came before it?
        """
        if self._retries:
            return self._retry(*self._retries[0])
        station = self._following()
        if station is None:
            return None
        count = self._counts.get(station.problem_id, 0)
        if count >= _MOST_VISITS or (count and self.spent_s >= self.budget_s):
            return None
        seed = (self.spec.seed, int(station.problem_id, 16), count)
        names = self._names(station)
        if count:
            names = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
        return Task(station.problem, tuple(names), 0.0, seed, (_ROUNDS, _ROUNDS))

    def _retry(self, problem_id: str, kernel: str) -> Task:
        """Return a visit of one kernel alone, in a fresh process."""
        (station, *_) = (each for each in self.known_stations() if each.problem_id == problem_id)
        names = [n for n in self._names(station) if n.partition(":")[2] == kernel]
        seed = (self.spec.seed, int(problem_id, 16), self._counts[problem_id])
        rounds = (_ROUNDS, _ROUNDS)
        return Task(station.problem, tuple(names), 0.0, seed, rounds, fresh_process=True)

    def known_stations(self) -> Sequence[Station]:
        """Return every station that may have been visited by now."""
        return self.stations()

    def progress(self) -> Progress:
        """Return how much of the time was spent."""
        station = self._following()
        title = station.problem.title if station else "done"
        return Progress(self.phase, title, min(self.spent_s, self.budget_s), self.budget_s)

    def _following(self) -> Station | None:
        """Return the first station, in this sweep's order, that this sweep did not visit yet."""
        running = [each for each in self.stations() if self._names(each)]
        if not running:
            return None
        sweeps = [each.every * self._counts.get(each.problem_id, 0) for each in running]
        order = np.random.default_rng((self.spec.seed, min(sweeps))).permutation(len(running))
        (index, *_) = (int(i) for i in order if sweeps[i] == min(sweeps))
        return running[index]

    def _names(self, station: Station) -> list[str]:
        """Return the kernels of a station that are in the race, side by side."""
        out = self._out.get(station.problem_id, set())
        return [
            name
            for side in self.order
            for kernel in station.kernels
            if side in station.sides
            and kernel not in out
            and (name := kernel_name(side, kernel)) in self.known
        ]

    def _problem(self, workload: Workload) -> Problem:
        return Problem(workload, Setting(self.spec.threads))

    def _cells(self) -> Iterator[tuple[Cell, Problem]]:
        """Yield every cell that a side has."""
        found: dict[Cell, Problem] = {}
        for name, each in self.known.items():
            kernel = name.partition(":")[2]
            if self.spec.kernels and kernel not in self.spec.kernels:
                continue
            for point in each.points:
                workload = preset.workload(each.record.format, point)
                found[preset.cell_of(kernel, workload)] = self._problem(workload)
        yield from found.items()

    def _dense(self) -> tuple[str, ...]:
        """Return the dense kernels that both versions have."""
        return tuple(
            kernel
            for name, each in self.known.items()
            if (kernel := name.partition(":")[2]) and name.startswith(f"{HEAD}:")
            if each.record.role == "dense" and kernel_name(BASE, kernel) in self.known
        )
