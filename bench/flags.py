"""Doubts about a measurement, each with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from crossover.bench.intervals import order_half_width
from crossover.bench.timing import LEAST_ROUNDS, SAMPLE_S

_NOISY = 0.10
# Of halves that differ by chance alone, so many are taken for a drift.
_DRIFT_ERROR = 0.01
_DRIFT = 0.10
_THROTTLE = 0.15


@dataclass(frozen=True)
class Evidence:
    """What is known of how one kernel was timed in one cell."""

    #: Seconds per call, one value a round; rounds of each visit; calls per sample.
    samples: Sequence[float]
    visits: Sequence[int]
    loops: int
    #: Seconds of the fixed canary in the same rounds, and its best median in the run so far.
    canary: Sequence[float]
    best_canary_s: float
    #: Processes that wanted to run (1-minute load average) before the cell began; cores there are.
    load: float
    cores: int
    #: Numba's, where the kernel runs in it.
    threading_layer: str = ""
    #: Whether the time of a GPU kernel holds the host's delay.
    exposed: bool = False


@dataclass(frozen=True)
class Flag:
    """A doubt: what it says, what to do, and when it is raised."""

    name: str
    means: str
    remedy: str
    raised: Callable[[Evidence], bool]


FLAGS = (
    Flag(
        "noisy",
        f"the median is known to worse than ± {_NOISY:.0%}",
        "close other programs, or give more --budget",
        lambda e: order_half_width(np.log(e.samples)) > _NOISY,
    ),
    Flag(
        "drifting",
        f"the second half of a visit's rounds differs from the first by over {_DRIFT:.0%}",
        "let the machine settle and measure --again; if it stays, the kernel itself slows down",
        lambda e: _drifts(e.samples, e.visits),
    ),
    Flag(
        "too short",
        "fewer rounds or shorter samples than a median can rest on",
        "give more --budget",
        lambda e: (
            len(e.samples) < LEAST_ROUNDS or float(np.median(e.samples)) * e.loops < SAMPLE_S / 2
        ),
    ),
    Flag(
        "throttled",
        f"a fixed canary ran over {_THROTTLE:.0%} slower than at its best in this run",
        "improve the cooling, set the governor to performance, or use a machine of your own",
        lambda e: bool(np.median(e.canary) > (1 + _THROTTLE) * e.best_canary_s),
    ),
    Flag(
        "oversubscribed",
        "more processes wanted to run than there are cores",
        "stop other work, or give fewer --threads",
        lambda e: e.load > e.cores + 1,
    ),
    Flag(
        "slow threading layer",
        "Numba starts its threads through its work queue: 100 µs a call instead of 1",
        "install libgomp (OpenMP) or the package tbb",
        lambda e: e.threading_layer == "workqueue",
    ),
    Flag(
        "host delay",
        "the host could not queue the calls ahead of the GPU, so the time holds its delay",
        "none for a kernel that waits for the GPU itself; else compare the graph replay",
        lambda e: e.exposed,
    ),
)


def raised(evidence: Evidence) -> list[str]:
    """Return the names of the flags that ``evidence`` raises; none without samples."""
    return [flag.name for flag in FLAGS if flag.raised(evidence)] if evidence.samples else []


def _drifts(samples: Sequence[float], visits: Sequence[int]) -> bool:
    """Return whether the halves of the visits differ, by much and by more than chance.

    Each visit counts in units of its own median: between visits the operands move in memory, and
    a kernel that slows down starts afresh.
    """
    before: list[float] = []
    after: list[float] = []
    start = 0
    for rounds in visits:
        half, end = rounds // 2, start + rounds
        if half >= LEAST_ROUNDS // 2:
            visit = np.asarray(samples[start:end]) / np.median(samples[start:end])
            before.extend(visit[:half])
            after.extend(visit[-half:])
        start = end
    if not before:
        return False
    change = abs(float(np.median(after) / np.median(before)) - 1)
    return change > _DRIFT and stats.mannwhitneyu(before, after).pvalue < _DRIFT_ERROR
