"""Warnings about a measurement, each with what to do about it.

Most follow from the rows; what only the worker could see (``host delay``,
``slower on fresh X``) it wrote into the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from crossover.bench.records.rows import Visit
from crossover.bench.statistics.comparison import Measurement
from crossover.bench.statistics.intervals import order_half_width

_NOISY = 0.10
# Of halves that differ by chance alone, so many are taken for a drift.
_DRIFT_ERROR = 0.01
_DRIFT = 0.10
_THROTTLE = 0.15
_LEAST_ROUNDS, _SHORTEST_SAMPLE_S = 6, 1e-3


@dataclass(frozen=True)
class Evidence:
    """What is known of how one kernel was timed in one problem."""

    #: Seconds per call, one value a round, visit by visit; calls per sample.
    samples: Sequence[Sequence[float]]
    loops: int
    #: Seconds of the fixed canary in the same rounds, and its best median in the run.
    canary: Sequence[float]
    best_canary_s: float
    #: Processes that wanted to run (1-minute load average) before a visit; cores there are.
    load: float
    cores: int
    #: Numba's, where the kernel runs in it.
    threading_layer: str = ""

    @property
    def together(self) -> Sequence[float]:
        """Return all samples."""
        return [value for visit in self.samples for value in visit]


@dataclass(frozen=True)
class MeasurementWarning:
    """What it says, what to do, and when it holds; None where the worker says it."""

    name: str
    means: str
    remedy: str
    holds: Callable[[Evidence], bool] | None


WARNINGS = (
    MeasurementWarning(
        "noisy",
        f"the median is known to worse than ± {_NOISY:.0%}",
        "close other programs, or give more --budget",
        lambda e: order_half_width(np.log(e.together)) > _NOISY,
    ),
    MeasurementWarning(
        "drifting",
        f"the second half of a visit's rounds differs from the first by over {_DRIFT:.0%}",
        "let the machine settle and measure --again; if it stays, the kernel itself slows down",
        lambda e: _drifts(e.samples),
    ),
    MeasurementWarning(
        "too short",
        "fewer rounds or shorter samples than a median can rest on",
        "give more --budget",
        lambda e: (
            len(e.together) < _LEAST_ROUNDS
            or float(np.median(e.together)) * e.loops < _SHORTEST_SAMPLE_S
        ),
    ),
    MeasurementWarning(
        "throttled",
        f"a fixed canary ran over {_THROTTLE:.0%} slower than at its best in this run",
        "improve the cooling, set the governor to performance, or use a machine of your own",
        lambda e: bool(e.canary) and float(np.median(e.canary)) > (1 + _THROTTLE) * e.best_canary_s,
    ),
    MeasurementWarning(
        "oversubscribed",
        "more processes wanted to run than there are cores",
        "stop other work, or give fewer --threads",
        lambda e: e.load > e.cores + 1,
    ),
    MeasurementWarning(
        "slow threading layer",
        "Numba starts its threads through its work queue: 100 µs a call instead of 1",
        "install libgomp (OpenMP) or the package tbb",
        lambda e: e.threading_layer == "workqueue",
    ),
    MeasurementWarning(
        "host delay",
        "the host could not queue the calls ahead of the GPU, so the time holds its delay",
        "none for a kernel that waits for the GPU itself; else compare the graph replay",
        None,
    ),
    MeasurementWarning(
        "slower on fresh X",
        "a call takes longer on an X that the kernel has not seen than on one that it has",
        "read the kernel: its times hold only for an X that stays; over 25 % counts as wrong",
        None,
    ),
    MeasurementWarning(
        "blocks fill W",
        "the blocks of a sparse format hold all of W, zeros included: it counts as dense",
        "prune in blocks, or use a format of single entries",
        None,
    ),
)


def of_measurement(measurement: Measurement, best_canary_s: float, cores: int) -> list[str]:
    """Return the names of the warnings about a kernel's times in a problem."""
    rows, last = measurement.rows, measurement.last
    evidence = Evidence(
        [row.samples for row in rows],
        min(row.loops for row in rows),
        [value for visit in measurement.visits for value in visit.record.canary],
        best_canary_s,
        max(visit.record.load for visit in measurement.visits),
        cores,
        last.threading_layer,
    )
    found = [each.name for each in WARNINGS if each.holds and each.holds(evidence)]
    if not measurement.leaves_out and not measurement.kernel.stores_zeros:
        found.append("blocks fill W")
    return found + list(dict.fromkeys(text for row in rows for text in row.warnings))


def best_canary_s(visits: Iterable[Visit]) -> float:
    """Return the best median of the canary in a run; infinite without one."""
    medians = [float(np.median(v.record.canary)) for v in visits if v.record.canary]
    return min(medians, default=float("inf"))


def _drifts(visits: Sequence[Sequence[float]]) -> bool:
    """Return whether the halves of the visits differ, by much and by more than chance.

    Each visit counts in units of its own median: between visits the operands move in memory, and
    a kernel that slows down starts afresh.
    """
    before: list[float] = []
    after: list[float] = []
    for samples in visits:
        half = len(samples) // 2
        if half >= _LEAST_ROUNDS // 2:
            visit = np.asarray(samples) / np.median(samples)
            before.extend(visit[:half])
            after.extend(visit[-half:])
    if not before:
        return False
    change = abs(float(np.median(after) / np.median(before)) - 1)
    return change > _DRIFT and stats.mannwhitneyu(before, after).pvalue < _DRIFT_ERROR
