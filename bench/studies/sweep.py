"""The sweep: every layer, sparsity, batch and pass, then on with who may be the fastest there."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crossover.bench.errors import InputError
from crossover.bench.harness.race import MOST_ROUNDS, PRECISION
from crossover.bench.harness.sources import known
from crossover.bench.harness.task import Task
from crossover.bench.harness.worker import TIME_LIMIT_S
from crossover.bench.options import common
from crossover.bench.options.declaration import option
from crossover.bench.options.values import caches, duration
from crossover.bench.records.rows import Visit
from crossover.bench.statistics.comparison import (
    LEAST_VISITS,
    contests,
    enough,
    last_process,
    open_width,
)
from crossover.bench.statistics.contenders import curve_contenders, leaders
from crossover.bench.studies import gpu_preset
from crossover.bench.studies.given import source_of
from crossover.bench.studies.narrow import Contenders
from crossover.bench.studies.networks import Pruning
from crossover.bench.studies.study import Progress, Report, Study, threads_or_all
from crossover.bench.workloads.problem import Caches, Problem, Setting, Workload
from crossover.bench.workloads.pruning import registry
from crossover.bench.workloads.pruning.masks import Scope
from crossover.kernels.base import PASSES, Pass

Preset = Literal["default", "gpu"]
# Rounds of a first look, which finds who may be the fastest; and of a later visit.
_FIRST_ROUNDS, _ROUNDS = (3, 6), (6, MOST_ROUNDS)
# Seconds of a later visit beyond its least rounds.
_SHARE_S = 0.05


@dataclass(frozen=True)
class SweepSpec:
    """What a sweep is asked to measure."""

    networks: tuple[str, ...] = common.networks(("lenet-300-100",))
    sparsities: tuple[float, ...] = common.sparsities((0.0, 0.5, 0.8, 0.9, 0.95, 0.98))
    batches: tuple[int, ...] = common.batches((1, 64, 256))
    passes: tuple[Pass, ...] = common.passes(PASSES, "all")
    kernels: tuple[str, ...] = common.kernels((), "all")
    threads: tuple[int, ...] = common.threads()
    caches: tuple[Caches, ...] = option(
        ("hot",),
        "--caches",
        metavar="HOW",
        convert=caches,
        help="hot, cold (emptied before each call), or both",
    )
    pattern: str = common.pattern()
    scope: Scope = option(
        "global", "--scope", choices=("global", "layer"), help="over all layers, or each alone"
    )
    preset: Preset = option(
        "default",
        "--preset",
        choices=("default", "gpu"),
        help="gpu: what an NVIDIA GPU decides, most important first, instead of the axes above",
    )
    budget_s: float = common.budget(130.0)
    time_limit_s: float = option(
        TIME_LIMIT_S,
        "--time-limit",
        metavar="TIME",
        convert=duration,
        help="after which a kernel counts as hanging",
    )
    seed: int = common.seed()
    data: Path | None = common.data()
    inputs: Path | None = common.inputs()
    labels: Path | None = common.labels()
    pruning_modules: tuple[str, ...] = common.pruning_modules()
    modules: tuple[str, ...] = common.modules()


class Sweep(Study):
    """A look at every problem by all kernels, then visits by those that may be the fastest.

    Who is out of the race keeps a median, without an interval. Passes are revisited in their order,
    forward first, until each problem has visits enough, then where the answer is known worst.
    """

    name = "sweep"

    def __init__(self, spec: SweepSpec) -> None:
        """Check what is asked.

        Raises:
            InputError: if a part of it is not possible; nothing was done yet.
        """
        self.spec = spec
        self.time_limit_s = spec.time_limit_s
        known(self.source, spec.kernels)
        registry.load(spec.pruning_modules)
        registry.method_called(spec.pattern)
        if spec.preset == "gpu" and (reason := gpu_preset.unavailable(self.kernels)):
            raise InputError(f"preset gpu needs an NVIDIA GPU: {reason}")
        self._networks = [
            source_of(name, spec.data, spec.inputs, spec.labels) for name in spec.networks
        ]
        for each in self._networks:
            each.check_batches(spec.batches)
        self._threads = threads_or_all(spec.threads)
        self._problems: dict[str, Problem] = {}
        self._visits: dict[str, list[Visit]] = {}
        self._widths: dict[str, float] = {}
        self._leaders: dict[str, tuple[str, ...]] = {}
        self._left_s = spec.budget_s

    @property
    def remarks(self) -> list[str]:
        """Return what is assumed of the networks."""
        return [remark for each in self._networks for remark in each.remarks]

    @property
    def threads(self) -> tuple[int, ...]:
        """Return the numbers of threads that it measures with."""
        return self._threads

    @property
    def asked(self) -> tuple[str, ...]:
        """Return the kernels that take part."""
        if self.spec.preset == "gpu":
            there = [n for n, kernel in self.kernels.items() if kernel.device == "cuda"]
            return tuple(n for n in there if n in (self.spec.kernels or there))
        return self.spec.kernels or tuple(self.kernels)

    def begin(self, report: Report) -> None:
        """Train the networks, and list the problems."""
        if self.spec.preset == "gpu":
            problems = gpu_preset.problems(self.spec.seed, self._threads[-1], report)
        else:
            problems = self._problems_of_networks(report)
        self._problems = {problem.problem_id: problem for problem in problems}

    def take(self, visit: Visit) -> bool:
        """Take in what came of a visit."""
        problem_id = visit.problem.problem_id
        if problem_id not in self._problems:
            return False
        visits = self._visits.setdefault(problem_id, [])
        visits.append(visit)
        (contest,) = contests(visits, self.declared)
        self._widths[problem_id] = open_width(contest)
        self._leaders[problem_id] = leaders(contest)
        return True

    def next(self, left_s: float) -> Task | None:
        """Return a first look where there was none, else a further visit."""
        self._left_s = left_s
        missing = self._missing()
        if missing:
            if self.spec.preset == "gpu" and left_s <= 0:
                return None
            return self._first_look(self._problems[missing[0]])
        if left_s <= 0 or not self._widths:
            return None
        few = [each for each in self._widths if not enough(self._visits[each])]
        following = min(few, key=self._order) if few else self._widest()
        return self._another_look(following, left_s) if following else None

    def contenders_of(self, name: str) -> Contenders:
        """Return a function that says who may be the fastest at a crossover of a network."""

        def contenders(layer: str, batch: int, threads: int) -> tuple[Sequence[str], Sequence[str]]:
            found = []
            for visits in self._visits.values():
                it = visits[-1].problem
                asked = it.network, it.layer, it.batch, it.threads, it.computes, it.caches
                if asked == (name, layer, batch, threads, "forward", "hot"):
                    found += contests(visits, self.declared)
            return curve_contenders(found)

        return contenders

    def progress(self) -> Progress:
        """Return how many problems were looked at, then how much of the budget was spent."""
        missing, total = self._missing(), len(self._problems)
        if missing:
            title = self._problems[missing[0]].title
            return Progress("measure", title, total - len(missing), total)
        spent = min(self.spec.budget_s, self.spec.budget_s - self._left_s)
        return Progress("refine", "who may be the fastest", spent, self.spec.budget_s)

    def _missing(self) -> list[str]:
        """Return the problems in which a kernel that is asked for did not race yet."""
        asked = set(self.asked)
        return [
            problem_id
            for problem_id in self._problems
            if not asked <= {n for v in self._visits.get(problem_id, ()) for n in v.rows}
        ]

    def _order(self, problem_id: str) -> tuple[int, int]:
        """Return how soon a problem is visited again: forward first, then where it was least."""
        problem, visits = self._problems[problem_id], len(self._visits[problem_id])
        return PASSES.index(problem.workload.computes), min(visits, LEAST_VISITS)

    def _widest(self) -> str | None:
        widest = max(self._widths, key=lambda each: self._widths[each])
        return widest if self._widths[widest] > PRECISION else None

    def _first_look(self, problem: Problem) -> Task:
        """Return a visit by all kernels that were not out of the race before."""
        visits = self._visits.get(problem.problem_id, [])
        latest = {name: row for visit in visits for name, row in visit.rows.items()}
        running = tuple(
            name for name in self.asked if name not in latest or latest[name].status == "measured"
        )
        gpu = self.spec.preset == "gpu"
        return Task(
            problem,
            running,
            gpu_preset.SHARE_S if gpu else 0.0,
            self._seed(problem.problem_id),
            gpu_preset.ROUNDS if gpu else _FIRST_ROUNDS,
            keeps_operands=gpu,
        )

    def _another_look(self, problem_id: str, left_s: float) -> Task:
        """Return a visit by those who may be the fastest."""
        visits = self._visits[problem_id]
        return Task(
            self._problems[problem_id],
            self._leaders[problem_id],
            min(_SHARE_S, left_s),
            self._seed(problem_id),
            _ROUNDS,
            keeps_operands=self.spec.preset == "gpu",
            not_in=last_process(visits),
        )

    def _seed(self, problem_id: str) -> tuple[int, ...]:
        return int(problem_id, 16), self.spec.seed, len(self._visits.get(problem_id, ()))

    def _problems_of_networks(self, report: Report) -> list[Problem]:
        spec = self.spec
        asked = Pruning(sorted(set(spec.sparsities)), spec.pattern, spec.scope, spec.seed)
        return [
            Problem(Workload(layer, pass_, batch), Setting(threads, caches))
            for each in self._networks
            for layers in each.at(asked, report)
            for threads, caches, batch, layer, pass_ in itertools.product(
                self._threads, spec.caches, spec.batches, layers, spec.passes
            )
        ]
