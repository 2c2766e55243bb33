"""Intervals from visits first, rounds second.

Rounds of one visit share where operands lie and what the machine was doing, so they say little of
what the next visit will find: an interval over rounds alone is far too narrow. The unit is the
visit; how far visits to one problem differ is pooled over similar problems, since two or three
visits cannot tell it themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE = 0.95
# The standard error of a median is so many times that of a mean, of normal values.
_MEDIAN_ERROR = 1.2533
# Degrees of freedom from which a group of problems knows its own variance between visits.
_LEAST_FREEDOM = 8


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval, at :data:`CONFIDENCE` unless said otherwise."""

    low: float
    median: float
    high: float

    @property
    def decided(self) -> bool | None:
        """Return whether a ratio is above 1; None where the interval holds 1."""
        return True if self.low > 1 else False if self.high < 1 else None


NOTHING = Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class VisitMedians:
    """One log-quantity over visits: the median of each visit, and how well its rounds know it."""

    medians: NDArray[np.float64]
    #: Standard error of each median from its rounds; infinite for a single round.
    errors: NDArray[np.float64]

    @classmethod
    def of(cls, visits: Sequence[ArrayLike]) -> VisitMedians:
        """Return the medians of ``visits``, each a sequence of logs, a value a round.

        Raises:
            ValueError: if there is no visit, or a value is not finite.
        """
        rounds = [np.asarray(visit, float) for visit in visits]
        if not rounds or not all(each.size and np.isfinite(each).all() for each in rounds):
            raise ValueError(f"{len(rounds)} visits, not all with finite values: need at least one")
        return cls(
            np.array([np.median(each) for each in rounds]),
            np.array([_median_error(each) for each in rounds]),
        )


def pooled_intervals(
    quantities: Sequence[VisitMedians],
    groups: Sequence[object],
    confidence: float = CONFIDENCE,
) -> list[Interval]:
    """Return exp(mean over visits) of each log-quantity, with Student's interval.

    The variance between visits is pooled over the quantities of one group, or over all where the
    group is too small; where no quantity has two visits, rounds stand in. An estimate is never
    taken for better known than its rounds allow.
    """
    by_group: dict[object, _Scatter] = {}
    for quantity, group in zip(quantities, groups, strict=True):
        by_group.setdefault(group, _Scatter()).add(quantity.medians)
    together = _Scatter(
        sum(each.squares for each in by_group.values()),
        sum(each.freedom for each in by_group.values()),
    )
    return [
        _interval(quantity, own if own.freedom >= _LEAST_FREEDOM else together, confidence)
        for quantity, own in zip(quantities, (by_group[each] for each in groups), strict=True)
    ]


@dataclass
class _Scatter:
    """How visits scatter about the mean of their quantity: squares, and degrees of freedom."""

    squares: float = 0.0
    freedom: int = 0

    def add(self, medians: NDArray[np.float64]) -> None:
        self.squares += float(((medians - medians.mean()) ** 2).sum())
        self.freedom += medians.size - 1


def _interval(quantity: VisitMedians, scatter: _Scatter, confidence: float) -> Interval:
    count, freedom = quantity.medians.size, scatter.freedom
    inside = float(np.mean(quantity.errors**2))
    between = scatter.squares / freedom if freedom else 0.0
    error = float(np.sqrt(max(between, inside) / count))
    middle = float(quantity.medians.mean())
    half = _student((1 + confidence) / 2, freedom or max(1, 5 * count)) * error
    low, high = (float(np.exp(np.clip(end, -700, 700))) for end in (middle - half, middle + half))
    return Interval(low, float(np.exp(middle)), high)


@lru_cache(maxsize=4096)
def _student(share: float, freedom: float) -> float:
    return float(stats.t.ppf(share, freedom))


def _median_error(values: NDArray[np.float64]) -> float:
    if values.size < 2:
        return float("inf")
    return float(_MEDIAN_ERROR * values.std(ddof=1) / np.sqrt(values.size))


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
