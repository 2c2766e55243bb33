"""Medians and paired speedups with their intervals; the round is the statistical unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
_RESAMPLES = 999


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
    samples: NDArray[np.float64] = np.asarray(values, float)
    if not samples.size or not np.isfinite(samples).all():
        raise ValueError(f"{samples.size} values, not all finite: need at least one, all finite")
    median = float(np.median(samples))
    if np.ptp(samples) == 0:
        return Interval(median, median, median)
    found = stats.bootstrap(
        (samples,),
        np.median,
        n_resamples=_RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(float(found.low), median, float(found.high))


def order_half_width(
    values: Sequence[float] | NDArray[np.float64], confidence: float = CONFIDENCE
) -> float:
    """Return half the width of the median's interval between order statistics.

    Exact whatever the distribution, and cheap enough to ask while measuring; ``inf`` for fewer
    values than the confidence needs (six for 95 %).
    """
    ordered = np.sort(np.asarray(values, float))
    outside = int(stats.binom.ppf((1 - confidence) / 2, ordered.size, 0.5)) - 1
    if outside < 0:
        return float("inf")
    return float(ordered[ordered.size - 1 - outside] - ordered[outside]) / 2


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
    return median_interval(np.asarray(baseline) / np.asarray(candidate), confidence)
