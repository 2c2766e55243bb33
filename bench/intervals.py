"""Medians and paired speedups with their intervals; the round is the statistical unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
_RESAMPLES = 999
# Resampled values held in memory at a time.
_BATCH = 1 << 22


@dataclass(frozen=True)
class Interval:
    """A median and the bootstrap interval around it."""

    low: float
    median: float
    high: float


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return the median of ``values`` with its percentile bootstrap interval (SciPy's).

    Raises:
        ValueError: if there is no value, or one is not finite.
    """
    return median_intervals([values], confidence)[0]


def median_intervals(
    groups: Sequence[Sequence[float]], confidence: float = CONFIDENCE
) -> list[Interval]:
    """Return :func:`median_interval` of each group; groups of one length are resampled together.

    Raises:
        ValueError: if a group has no value, or one is not finite.
    """
    found: dict[int, Interval] = {}
    for length in {len(group) for group in groups}:
        indices = [index for index, group in enumerate(groups) if len(group) == length]
        samples = np.asarray([groups[index] for index in indices], float)
        if not length or not np.isfinite(samples).all():
            raise ValueError(f"{length} values, not all finite: need at least one, all finite")
        low, high = _bootstrap(samples, confidence)
        medians = np.median(samples, axis=1)
        for index, *interval in zip(indices, low, medians, high, strict=True):
            found[index] = Interval(*map(float, interval))
    return [found[index] for index in range(len(groups))]


def _bootstrap(samples: NDArray[np.float64], confidence: float) -> tuple[Any, Any]:
    """Return the lower and upper ends of the intervals of the rows of ``samples``."""
    if samples.shape[1] == 1:
        return samples[:, 0], samples[:, 0]
    found = stats.bootstrap(
        (samples,),
        np.median,
        axis=1,
        n_resamples=_RESAMPLES,
        batch=max(1, _BATCH // samples.size),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return found.low, found.high


def order_half_width(
    values: Sequence[float] | NDArray[np.float64], confidence: float = CONFIDENCE
) -> float:
    """Return half the width of the median's interval between order statistics.

    Exact whatever the distribution, and cheap enough to ask while measuring; ``inf`` for fewer
    values than the confidence needs (six for 95 %).
    """
    ordered = np.sort(np.asarray(values, float))
    outside = _outside(ordered.size, confidence)
    if outside < 0:
        return float("inf")
    return float(ordered[ordered.size - 1 - outside] - ordered[outside]) / 2


@lru_cache(maxsize=4096)
def _outside(size: int, confidence: float) -> int:
    """Return how many of ``size`` values lie outside the interval on each side, below 0 if none."""
    return int(stats.binom.ppf((1 - confidence) / 2, size, 0.5)) - 1


def paired_speedup(
    baseline: Sequence[float], candidate: Sequence[float], confidence: float = CONFIDENCE
) -> Interval:
    """Return the median over rounds of baseline time / candidate time, with its interval.

    Both sequences hold seconds per call, one a round, of the same rounds.

    Raises:
        ValueError: if the rounds do not pair.
    """
    if len(baseline) != len(candidate):
        raise ValueError(f"{len(baseline)} rounds against {len(candidate)}: must be the same")
    return median_interval(list(np.asarray(baseline) / np.asarray(candidate)), confidence)
