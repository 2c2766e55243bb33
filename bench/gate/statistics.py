"""How far two versions differ, and how well that is known; pure functions of what was measured.

The process is the unit: the visits of one share where its code and its threads lie, and follow each
other, so that their errors do, too. In each visit the effect is head less the mean of base and
control, and the control one copy of base less the other: code against itself, compiled and placed
on its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from crossover.bench.gate.quantities import CROSSOVER_SPARSITIES

# Head is compared with the mean of two copies, the control with one: (1 + 1/2) / (1 + 1).
_EFFECT_SHARE = 0.75
# With less freedom than this a quantity says nothing of how alike the variances are.
_LEAST_FREEDOM = 0.5
# Sparsities around a crossover that a line is laid through.
_AROUND = 5


@dataclass
class Levels:
    """One quantity, each visit: (process, base, control, head).

    Logs of seconds, whose differences are relative; or sparsities, of a crossover.
    """

    visits: list[tuple[str, float, float, float]] = field(default_factory=list)

    def add(self, process: str, base: float, control: float, head: float) -> None:
        """Add a visit."""
        self.visits.append((process, base, control, head))

    @property
    def effects(self) -> list[float]:
        """Return, per visit, head less the mean of base and control."""
        return [head - (base + control) / 2 for _, base, control, head in self.visits]

    @property
    def controls(self) -> list[float]:
        """Return, per visit, control less base."""
        return [control - base for _, base, control, _ in self.visits]


@dataclass(frozen=True)
class Estimate:
    """A difference (the midmean over visits), its standard error, and the control's difference."""

    value: float
    error: float
    control: float
    visits: int
    #: Degrees of freedom that the error is known with; 0 where there was a single process.
    freedom: float

    def half_width(self, outside: float) -> float:
        """Return half the width of Student's interval that leaves ``outside`` out on each side."""
        return _student(1 - outside, self.freedom) * self.error if self.freedom else float("inf")

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the interval that holds the difference, with ``confidence`` on both sides."""
        half = self.half_width((1 - confidence) / 2)
        return self.value - half, self.value + half


@dataclass(frozen=True)
class Scatter:
    """How the effects of processes scatter about their mean, each weighed by its visits."""

    variance: float
    freedom: float

    @classmethod
    def of(cls, levels: Levels) -> Scatter:
        """Return the scatter of one quantity; of a single process it has no freedom."""
        weights, effects = _by_process(levels)
        share = float((weights**2).sum())
        if share >= 1:
            return cls(0.0, 0.0)
        squares = float((weights * (effects - weights @ effects) ** 2).sum())
        return cls(squares / (1 - share), 1 / share - 1)

    def joined(self, other: Scatter) -> Scatter:
        """Return the scatter of two looks at one quantity."""
        freedom = self.freedom + other.freedom
        squares = self.variance * self.freedom + other.variance * other.freedom
        return Scatter(squares / freedom if freedom else 0.0, freedom)


@dataclass(frozen=True)
class PooledVariance:
    """The variance between processes that quantities of one metric share, and how alike it is.

    Freedom is infinite where nothing speaks against one variance for all.
    """

    variance: float
    freedom: float
    #: Degrees of freedom of all quantities together.
    total: float

    def moderated(self, own: Scatter) -> Scatter:
        """Return a quantity's variance as it and the others know it (Smyth 2004).

        Four or six processes alone would know it too badly for any claim; a noisy quantity among
        quiet ones keeps most of its own.
        """
        if not self.total:
            return Scatter(0.0, 0.0)
        if np.isinf(self.freedom):
            return Scatter(self.variance, self.total)
        joined = own.joined(Scatter(self.variance, self.freedom))
        return Scatter(joined.variance, min(joined.freedom, self.total))


def pooled_variance(scatters: Iterable[Scatter], least: float = 1e-12) -> PooledVariance:
    """Return what ``scatters`` of one metric share; no variance counts as less than ``least``.

    Their logs scatter more than those of equal variances would: from the excess follows how many
    processes the others' word is worth (Smyth 2004, section 6.2).
    """
    known = [each for each in scatters if each.freedom >= _LEAST_FREEDOM]
    freedom = np.array([each.freedom for each in known])
    if not known:
        return PooledVariance(0.0, 0.0, 0.0)
    variances = np.maximum([each.variance for each in known], least)
    together, total = float(freedom @ variances / freedom.sum()), float(freedom.sum())
    if len(known) < 2:
        return PooledVariance(together, float("inf"), total)
    logs = np.log(variances) - special.digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(logs.var(ddof=1) - special.polygamma(1, freedom / 2).mean())
    if excess <= 0:
        return PooledVariance(together, float("inf"), total)
    prior = 2 * _trigamma_inverse(excess)
    shared = float(np.exp(logs.mean() + special.digamma(prior / 2) - np.log(prior / 2)))
    return PooledVariance(shared, prior, total)


def estimates(
    levels: Mapping[Any, Levels],
    least_between_std: float = 0.0,
    before: Mapping[Any, Levels] | None = None,
) -> dict[Any, Estimate]:
    """Return the estimate of each quantity of one metric, by its key.

    The variance between processes is pooled over all of them, and over what an earlier look
    ``before`` showed. ``least_between_std`` is what processes of one code differ by at least.

    Raises:
        ValueError: if a quantity has no visit, or one that is not finite.
    """
    earlier = {key: Scatter.of(each) for key, each in (before or {}).items()}
    scatters = earlier | {
        key: Scatter.of(each).joined(earlier.get(key, Scatter(0.0, 0.0)))
        for key, each in levels.items()
    }
    least = _EFFECT_SHARE * least_between_std**2
    pooled = pooled_variance(scatters.values(), max(least, 1e-12))
    found = {}
    for key, each in levels.items():
        weights, _ = _by_process(each)
        scatter = pooled.moderated(scatters[key])
        error = np.sqrt(max(scatter.variance, least) * (weights**2).sum())
        value, control = float(midmean(each.effects)), float(midmean(each.controls))
        found[key] = Estimate(value, float(error), control, len(each.visits), scatter.freedom)
    return found


def midmean(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the mean of the middle half of ``values``: Tukey's midmean.

    Outliers move it as little as they do the median, and it needs a third fewer visits.
    """
    ordered = np.sort(np.asarray(values, float))
    return float(ordered[ordered.size // 4 : ordered.size - ordered.size // 4].mean())


def _by_process(levels: Levels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of each process in the visits, and the midmean of its effects."""
    groups: dict[str, list[float]] = {}
    for (process, *_), effect in zip(levels.visits, levels.effects, strict=True):
        groups.setdefault(process, []).append(effect)
    effects = np.array([midmean(group) for group in groups.values()])
    if not effects.size or not np.isfinite(effects).all():
        count = len(levels.visits)
        raise ValueError(f"{count} visits, not all finite: need at least one, all finite")
    return np.array([len(group) for group in groups.values()]) / len(levels.visits), effects


def _trigamma_inverse(value: float) -> float:
    """Return where the trigamma function has a ``value`` above 0."""
    if value > 1e7:
        return 1 / float(np.sqrt(value))
    if value < 1e-6:
        return 1 / value
    return float(optimize.brentq(lambda at: special.polygamma(1, at) - value, 1e-4, 1e7))


@lru_cache(maxsize=4096)
def _student(share: float, freedom: float) -> float:
    return float(stats.t.ppf(share, freedom))


def line_crossing(sparsities: Sequence[float], speedups: Sequence[float]) -> float:
    """Return where a line through the logs of ``speedups`` is zero; NaN if it does not rise.

    A line over the log of the density: a sparse kernel's time is close to a power of it. Held to
    sparsities from 0 to 1, beyond which it says nothing.
    """
    slope, height = np.polyfit(-np.log1p(-np.asarray(sparsities)), speedups, 1)
    if slope <= 0:
        return float("nan")
    return float(np.clip(-np.expm1(height / slope), 0.0, 1.0))


def place(scanned: Mapping[float, float]) -> float | None:
    """Return roughly where the log of the speedup rises through 0; None where it does not."""
    for low, high in pairwise(sorted(scanned)):
        if scanned[low] <= 0 < scanned[high]:
            return line_crossing((low, high), (scanned[low], scanned[high]))
    return None


def around(at: float, known: Iterable[float] = CROSSOVER_SPARSITIES) -> list[float]:
    """Return the sparsities to measure at, wide enough for a slope."""
    return sorted(sorted(known, key=lambda each: abs(each - at))[:_AROUND])
