"""Crossovers of base, control and head with the fastest dense kernel, from the gate's visits.

A crossover is what it is everywhere (:mod:`bench.statistics.crossover`): bracketed by sparsities at
which the speedup is decided. Too coarse to compare two versions by, so a line through the same
speedups says where in the bracket it lies, a value of each side per round of visits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from crossover.bench.gate.quantities import (
    BASE,
    CROSSOVER_GROUP,
    SIDES,
    Crossover,
    by_kernel,
    kernel_name,
)
from crossover.bench.gate.statistics import Levels, around, line_crossing, place
from crossover.bench.records.rows import KernelRecord, Visit
from crossover.bench.statistics.comparison import log_ratios
from crossover.bench.statistics.crossover import CrossoverEstimate, bracket
from crossover.bench.statistics.intervals import VisitMedians, pooled_intervals


@dataclass(frozen=True)
class Bracket:
    """One side's crossover between measured sparsities, and what it was held against."""

    estimate: CrossoverEstimate
    #: The dense kernel that was fastest, at one sparsity or another.
    baselines: tuple[str, ...]

    def holds(self, crossing: float, slack: float) -> bool:
        """Return whether a ``crossing`` lies inside, or nothing contradicts it."""
        if self.estimate.kind == "several":
            return False
        inside = self.estimate.low - slack <= crossing <= self.estimate.high + slack
        return inside or self.estimate.kind != "between"


@dataclass
class Crossing:
    """A crossover in both versions: where a line puts it, visit by visit, and its brackets."""

    levels: Levels = field(default_factory=Levels)
    brackets: dict[str, Bracket] = field(default_factory=dict)


def is_scan(visit: Visit) -> bool:
    """Return whether a visit only looked where base's crossovers lie."""
    scans = visit.problem.network == CROSSOVER_GROUP
    return scans and all(name.startswith(f"{BASE}:") for name in visit.rows)


def grids(visits: Iterable[Visit], kernels: Mapping[str, KernelRecord]) -> dict[str, list[float]]:
    """Return, by kernel, the sparsities around its crossover in base; none where it has none."""
    scanned: dict[str, dict[float, float]] = defaultdict(dict)
    for visit in visits:
        dense = fastest_dense([visit], BASE, kernels) if is_scan(visit) else None
        if dense is None:
            continue
        for kernel in sparse_kernels(visit, BASE, kernels):
            (ratios,) = log_ratios(kernel_name(BASE, dense), kernel_name(BASE, kernel), [visit])
            scanned[kernel][visit.problem.network_sparsity] = float(np.mean(ratios))
    places = {kernel: place(at) for kernel, at in scanned.items()}
    return {k: [] if at is None else around(at) for k, at in places.items()}


def crossings(
    visits: Sequence[Visit], kernels: Mapping[str, KernelRecord]
) -> dict[Crossover, Crossing]:
    """Return each crossover of both versions; one that base does not have has no levels."""
    by_problem: dict[str, list[Visit]] = {}
    for visit in visits:
        by_problem.setdefault(visit.problem.problem_id, []).append(visit)
    found: dict[Crossover, Crossing] = {}
    logs: dict[Crossover, dict[float, _Speedups]] = defaultdict(dict)
    for group in by_problem.values():
        problem = group[0].problem
        dense = {side: fastest_dense(group, side, kernels) for side in SIDES}
        for kernel in sorted({k for v in group for k in sparse_kernels(v, BASE, kernels)}):
            crossover = Crossover.recorded(kernel, problem)
            found.setdefault(crossover, Crossing())
            speedups = _Speedups.of(kernel, dense, group)
            if speedups.by_process:
                logs[crossover][problem.network_sparsity] = speedups
    for crossover, at in logs.items():
        found[crossover] = Crossing(_levels(at), {side: _bracket(at, side) for side in SIDES})
    return found


def sparse_kernels(visit: Visit, side: str, kernels: Mapping[str, KernelRecord]) -> list[str]:
    """Return the kernels of a side that were measured against the dense ones."""
    return [kernel for kernel in _measured(visit, side) if not _is_dense(kernel, side, kernels)]


def fastest_dense(
    visits: Sequence[Visit], side: str, kernels: Mapping[str, KernelRecord]
) -> str | None:
    """Return the dense kernel of a side with the shortest median time over all ``visits``."""
    times: dict[str, list[float]] = {}
    for visit in visits:
        for kernel in _measured(visit, side):
            if _is_dense(kernel, side, kernels):
                row = visit.rows[kernel_name(side, kernel)]
                times.setdefault(kernel, []).append(float(np.median(row.samples)))
    return min(times, key=lambda name: np.median(times[name]), default=None)


def _measured(visit: Visit, side: str) -> list[str]:
    return [k for k, _ in by_kernel(visit) if visit.measured(kernel_name(side, k))]


def _is_dense(kernel: str, side: str, kernels: Mapping[str, KernelRecord]) -> bool:
    return kernels[kernel_name(side, kernel)].role == "dense"


@dataclass
class _Speedups:
    """A kernel's log-speedups at one sparsity."""

    #: The fastest dense kernel of each side.
    dense: Mapping[str, str]
    #: Per side the rounds of each visit; and per process the means of each visit, side by side.
    rounds: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    by_process: dict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, kernel: str, dense: Mapping[str, str | None], visits: Iterable[Visit]) -> _Speedups:
        """Return the speedups in the ``visits`` in which all sides were measured."""
        found = cls({side: name for side, name in dense.items() if name is not None})
        for visit in visits:
            ratios = [
                each
                for side, name in found.dense.items()
                for each in log_ratios(kernel_name(side, name), kernel_name(side, kernel), [visit])
            ]
            if len(ratios) == len(SIDES):
                means = [float(np.mean(each)) for each in ratios]
                found.by_process[visit.record.process].append(means)
                for side, each in zip(SIDES, ratios, strict=True):
                    found.rounds[side].append(each)
        return found


def _levels(at: Mapping[float, _Speedups]) -> Levels:
    """Return where a line through all sparsities crosses, once per round of visits to them."""
    levels, sparsities = Levels(), sorted(at)
    for process in dict.fromkeys(name for each in at.values() for name in each.by_process):
        visits = (at[sparsity].by_process.get(process, []) for sparsity in sparsities)
        for sides in zip(*visits, strict=False):
            crossed = [line_crossing(sparsities, logs) for logs in np.transpose(sides)]
            if np.isfinite(crossed).all():
                levels.add(process, *crossed)
    return levels


def _bracket(at: Mapping[float, _Speedups], side: str) -> Bracket:
    medians = [VisitMedians.of(each.rounds[side]) for each in at.values()]
    # Similar problems: neighbours in sparsity.
    intervals = pooled_intervals(medians, [None] * len(medians))
    names = sorted({each.dense[side] for each in at.values()})
    return Bracket(bracket(list(zip(at, intervals, strict=True))), tuple(names))
