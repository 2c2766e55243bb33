"""Whether measurements here can be trusted: the harness measured with what it measures.

Its parts are studies like the others, each in a series of its own; :mod:`bench.statistics.checks`
says what they show. This module is also given to workers as a kernel module, for :class:`Castor`
and :class:`Pollux`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, get_args

import numpy as np

from crossover.bench.harness.task import Task
from crossover.bench.machine.identity import available_cores
from crossover.bench.statistics import checks
from crossover.bench.studies.search import Search, SearchSpec
from crossover.bench.studies.study import PlannedStudy, PlannedVisit, Report, Study, balanced_orders
from crossover.bench.studies.sweep import Sweep, SweepSpec
from crossover.bench.workloads.matrices import RandomMatrix
from crossover.bench.workloads.problem import IdleThreads, Problem, Setting, Workload
from crossover.kernels.base import Kernel, Weight
from crossover.kernels.cpu.mkl import MklCsrHinted
from crossover.kernels.cpu.numba_csr import CsrOperand, NumbaCsr

_REPETITIONS, _PLACINGS, _VISITS = 100, 30, 8
_ROUNDS = 40
# A problem of the size of LeNet-300-100's first layer.
_MATRIX = RandomMatrix("selfcheck", 300, 784, 0.9)
_BATCH = 64
_DENSE = "numpy-dense"
# What is taken twice: of the networks that the default sweep trains, too.
_SMALL = SweepSpec(
    sparsities=(0.0, 0.5, 0.8, 0.9, 0.98), batches=(1, 64), passes=("forward",), budget_s=60.0
)


class _Twin(NumbaCsr):
    """A kernel that shares its operand with its twin: not even a place in memory differs."""

    _shared: ClassVar[tuple[Weight | None, CsrOperand | None]] = None, None

    def prepare(self, weight: Weight) -> CsrOperand:
        """Return the operand of ``weight``, the same to both twins."""
        known, operand = _Twin._shared
        if operand is None or known is not weight:
            operand = super().prepare(weight)
            _Twin._shared = weight, operand
        return operand


class Castor(_Twin):
    """The kernel itself."""

    name = checks.TWINS[0]
    title = "Numba CSR"


class Pollux(_Twin):
    """The kernel itself under another name."""

    name = checks.TWINS[1]
    title = "Numba CSR again"


@dataclass(frozen=True)
class SelfcheckSpec:
    """What a part of the self-check is asked with; it is the same every time."""

    part: str
    budget_s: float = float("inf")
    seed: int = 0
    modules: tuple[str, ...] = (__name__,)


class SelfcheckPart(PlannedStudy):
    """Visits to one problem, known from the start."""

    name = "selfcheck"
    phase = "selfcheck"
    may_end_early = False

    spec: SelfcheckSpec

    def __init__(self, part: str, visits: Sequence[PlannedVisit]) -> None:
        super().__init__()
        self.spec = SelfcheckSpec(part)
        self._visits = list(visits)

    @property
    def series(self) -> str:
        """Return the name under which its visits are kept."""
        return self.spec.part

    @property
    def threads(self) -> tuple[int, ...]:
        """Return the number of threads that it measures with."""
        return (available_cores(),)

    def plan(self, report: Report) -> list[PlannedVisit]:
        """Return the visits."""
        return self._visits


class _SelfcheckSearch(Search):
    name = "selfcheck"


class _SelfcheckSweep(Sweep):
    name = "selfcheck"

    def __init__(self, spec: SweepSpec, series: str, take: int = 0) -> None:
        super().__init__(spec)
        self._series, self._take = series, take

    @property
    def series(self) -> str:
        """Return the name under which its visits are kept."""
        return self._series

    def next(self, left_s: float) -> Task | None:
        """Return the next visit, whose draws no other take shares."""
        task = super().next(left_s)
        return task and replace(task, seed=(*task.seed, self._take))


class _Take(_SelfcheckSweep):
    # As many processes as a sweep of the default budget has.
    process_life_s = 20.0


def studies() -> list[Study]:
    """Return the parts of the self-check; together they take about eight minutes.

    The two takes of one sweep come first and last but one, so that they are minutes apart.
    """
    twins = [_visit(checks.TWINS, _ROUNDS)] * _REPETITIONS
    placings = [_visit((NumbaCsr.name, Castor.name), _ROUNDS)] * _PLACINGS
    first, second = (_Take(_SMALL, series, take) for take, series in enumerate(checks.TAKES, 1))
    return [
        first,
        SelfcheckPart(checks.ITSELF, twins),
        SelfcheckPart(checks.ELSEWHERE, placings),
        SelfcheckPart(checks.BESIDE, _beside(NumbaCsr(), _BATCH)),
        SelfcheckPart(checks.MKL_BESIDE, _beside(MklCsrHinted(), 1)),
        SelfcheckPart(checks.PYPERF, _pyperf()),
        *(_search(number) for number in (1, 2)),
        second,
        _SelfcheckSweep(SweepSpec(), checks.SWEEP),
    ]


def _visit(
    kernels: tuple[str, ...], rounds: int, setting: Setting | None = None, batch: int = _BATCH
) -> PlannedVisit:
    setting = setting or Setting(available_cores())
    problem = Problem(Workload(_MATRIX, "forward", batch), setting)
    return PlannedVisit(problem, kernels, (rounds, rounds))


def _beside(kernel: Kernel, batch: int) -> list[PlannedVisit]:
    """Return visits to a kernel alone and beside a dense one, under either kind of settings.

    Of one that cannot run a single visit, which says why.
    """
    settings = [Setting(available_cores(), idle_threads=idle) for idle in get_args(IdleThreads)]
    visited = [
        _visit(kernels, 20, setting, batch)
        for setting in settings
        for kernels in ((kernel.name,), (_DENSE, kernel.name))
    ]
    if kernel.unavailable():
        return visited[:1]
    orders = balanced_orders(visited, _VISITS, np.random.default_rng(0))
    return [visit for order in orders for visit in order]


def _pyperf() -> list[PlannedVisit]:
    """Return visits by our timer and by pyperf, in turn: ours before and after each of pyperf's."""
    cores = available_cores()
    theirs = Setting(cores, timer="pyperf")
    return [
        visit
        for _ in range(_VISITS)
        for name in checks.PYPERF_KERNELS
        for visit in (_visit((name,), 60), _visit((name,), 1, theirs), _visit((name,), 60))
    ]


def _search(repetition: int) -> Search:
    return _SelfcheckSearch(
        SearchSpec(layers=("fc1",), kernels=(NumbaCsr.name,), budget_s=40.0, repetition=repetition)
    )
