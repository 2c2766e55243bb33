"""Intervals from visits first, rounds second.

Rounds of one visit share where operands lie and what the machine was doing, so they say little of
what the next visit will find: an interval over rounds alone is far too narrow. The unit is the
visit. Two or three visits cannot tell how far visits to their problem differ, so that variance is
moderated: drawn towards that of similar problems, the further the more alike those turn out to be.

Source: Smyth 2004, "Linear models and empirical Bayes methods for assessing differential
expression in microarray experiments" (limma).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from crossover.bench.statistics.small import deviation, median

CONFIDENCE = 0.95
# The standard error of a median is so many times that of a mean, of normal values.
_MEDIAN_ERROR = 1.2533
# Quantities with a variance of their own from which a group tells how alike these are.
_LEAST_QUANTITIES = 8
# Of the mean variance: visits that agree to every digit say no more than that they are few.
_LEAST_VARIANCE = 1e-3
# Half the degrees of freedom beyond which variances count as equal.
_MOST_WORTH = 100.0


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
        rounds = [np.asarray(visit, float).tolist() for visit in visits]
        if not rounds or not all(each and all(map(math.isfinite, each)) for each in rounds):
            raise ValueError(f"{len(rounds)} visits, not all with finite values: need at least one")
        return cls(
            np.array([median(each) for each in rounds]),
            np.array([_median_error(each) for each in rounds]),
        )

    def folded(self, processes: Sequence[str]) -> VisitMedians:
        """Return the means over the visits of each process, which name the process of each visit.

        Visits of one process share where its code lies and much of what the machine was doing: they
        are no independent witnesses.
        """
        distinct = list(dict.fromkeys(processes))
        if len(distinct) == len(processes):
            return self
        own = [np.array([each == name for each in processes]) for name in distinct]
        return VisitMedians(
            np.array([self.medians[visits].mean() for visits in own]),
            np.array([_error_of_mean(self.errors[visits]) for visits in own]),
        )


def _error_of_mean(errors: NDArray[np.float64]) -> float:
    return float(np.sqrt((errors**2).sum()) / errors.size)


def pooled_intervals(
    quantities: Sequence[VisitMedians],
    groups: Sequence[object],
    confidence: float = CONFIDENCE,
) -> list[Interval]:
    """Return exp(mean over visits) of each log-quantity, with Student's interval.

    The variance between visits is moderated by that of the quantities of the same group, or of all
    where the group is too small; where no quantity has two visits, rounds stand in. An estimate is
    never taken for better known than its rounds allow.
    """
    by_group: dict[object, list[VisitMedians]] = {}
    for quantity, group in zip(quantities, groups, strict=True):
        by_group.setdefault(group, []).append(quantity)
    scatters = {group: _Scatter.of(members) for group, members in by_group.items()}
    together = _Scatter.of(quantities)
    for group, scatter in scatters.items():
        if scatter.quantities < _LEAST_QUANTITIES:
            scatters[group] = together
    return [
        _interval(quantity, scatters[group], confidence)
        for quantity, group in zip(quantities, groups, strict=True)
    ]


@dataclass(frozen=True)
class _Scatter:
    """How far the visits of similar quantities scatter about the mean of each."""

    #: How many of them have two visits or more, and the degrees of freedom of these.
    quantities: int
    freedom: int
    #: What a quantity's variance is likely to be, and how many degrees of freedom of its own that
    #: is worth: infinitely many where all have the same variance.
    variance: float
    worth: float

    @classmethod
    def of(cls, quantities: Sequence[VisitMedians]) -> _Scatter:
        repeated = [each.medians for each in quantities if each.medians.size > 1]
        if not repeated:
            return cls(0, 0, 0.0, float("inf"))
        freedoms = np.array([each.size - 1 for each in repeated], float)
        variances = np.array([deviation(each.tolist()) ** 2 for each in repeated])
        freedom, pooled = int(freedoms.sum()), float(np.average(variances, weights=freedoms))
        alike = cls(len(repeated), freedom, pooled, float("inf"))
        if len(repeated) < _LEAST_QUANTITIES or pooled == 0:
            return alike
        # Logs of sample variances scatter by trigamma(freedom / 2); the rest is between quantities.
        logs = np.log(np.maximum(variances, _LEAST_VARIANCE * pooled))
        logs -= special.digamma(freedoms / 2) - np.log(freedoms / 2)
        excess = float(logs.var(ddof=1) - special.polygamma(1, freedoms / 2).mean())
        if excess <= _trigamma(_MOST_WORTH):
            return alike
        half = optimize.brentq(lambda y: _trigamma(y) - excess, 1e-3, _MOST_WORTH)
        likely = float(np.exp(logs.mean() + special.digamma(half) - np.log(half)))
        return cls(len(repeated), freedom, likely, 2 * half)

    def moderated(self, quantity: VisitMedians) -> tuple[float, float]:
        """Return a quantity's variance between visits, and the degrees of freedom behind it."""
        if np.isinf(self.worth):
            return self.variance, self.freedom
        own = quantity.medians.size - 1
        squares = deviation(quantity.medians.tolist()) ** 2 * own if own else 0.0
        known = self.worth + own
        return (self.worth * self.variance + squares) / known, min(known, self.freedom)


def _trigamma(value: float) -> float:
    return float(special.polygamma(1, value))


def _interval(quantity: VisitMedians, scatter: _Scatter, confidence: float) -> Interval:
    medians, errors = quantity.medians.tolist(), quantity.errors.tolist()
    count = len(medians)
    between, freedom = scatter.moderated(quantity)
    inside = sum(error**2 for error in errors) / count
    error = math.sqrt(max(between, inside) / count)
    middle = sum(medians) / count
    half = _student((1 + confidence) / 2, freedom or max(1, 5 * count)) * error
    low, high = (math.exp(min(700.0, max(-700.0, e))) for e in (middle - half, middle + half))
    return Interval(low, math.exp(middle), high)


@lru_cache(maxsize=4096)
def _student(share: float, freedom: float) -> float:
    return float(stats.t.ppf(share, freedom))


def _median_error(values: Sequence[float]) -> float:
    if len(values) < 2:
        return float("inf")
    return _MEDIAN_ERROR * deviation(values) / math.sqrt(len(values))


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
