"""How far two versions differ, and how well that is known; pure functions of what was measured.

The round is the unit: both versions and the control once each, within tens of milliseconds. In
each round the effect is head less the mean of the two base workers, and the control one base
worker less the other: code against itself, through processes and placements of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

# The median absolute deviation of normal values, times this, is their standard deviation; and their
# midmean's standard error is 1.09 of the mean's.
_TO_DEVIATION = 1.4826
_MIDMEAN_ERROR = 1.09 * _TO_DEVIATION
# Head is compared with the mean of two processes, the control with one: (1 + 1/2) / (1 + 1).
_EFFECT_SHARE = 0.75
# For a standard error to within 5 %; and resampled values held in memory at a time.
_RESAMPLES = 200
_BATCH = 1 << 22


@dataclass
class Levels:
    """One quantity, each round: (generation, base, control, head).

    Logs of seconds, whose differences are relative; or sparsities, of a crossover. A generation
    is the rounds of the same processes.
    """

    rounds: list[tuple[int, float, float, float]] = field(default_factory=list)

    def add(self, generation: int, base: float, control: float, head: float) -> None:
        """Add a round."""
        self.rounds.append((generation, base, control, head))

    @property
    def effects(self) -> list[float]:
        """Return, per round, head less the mean of the two base workers."""
        return [head - (base + control) / 2 for _, base, control, head in self.rounds]

    @property
    def controls(self) -> list[float]:
        """Return, per round, one base worker less the other."""
        return [control - base for _, base, control, _ in self.rounds]

    @property
    def generations(self) -> list[int]:
        """Return the generation of each round."""
        return [each[0] for each in self.rounds]


@dataclass(frozen=True)
class Estimate:
    """A difference (the midmean over rounds), its standard error, and the control's difference."""

    value: float
    error: float
    control: float
    rounds: int

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the interval that holds the difference, with ``confidence`` on both sides."""
        half = float(stats.norm.ppf((1 + confidence) / 2)) * self.error
        return self.value - half, self.value + half


def estimates(levels: Sequence[Levels], least_luck: float = 0.0) -> list[Estimate]:
    """Return the estimate of each quantity; all of one metric, which share their luck.

    The error joins that of the rounds, from a bootstrap of their paired differences (SciPy's),
    and the luck of a process: the controls of all quantities say how far two processes of one
    code differ beyond that. ``least_luck`` is what was known of it before.

    Raises:
        ValueError: if a quantity has no round, or one that is not finite.
    """
    luck = max(least_luck, process_luck(levels))
    errors = _errors([each.effects for each in levels])
    found = []
    for each, error in zip(levels, errors, strict=True):
        processes = len(set(each.generations))
        joined = float(np.hypot(error, luck * np.sqrt(_EFFECT_SHARE / processes)))
        value, control = float(midmean(each.effects)), float(midmean(each.controls))
        found.append(Estimate(value, joined, control, len(each.rounds)))
    return found


def midmean(values: Sequence[float] | NDArray[np.float64], axis: int = -1) -> Any:
    """Return the mean of the middle half of ``values``: Tukey's midmean, along ``axis``.

    Outliers move it as little as they do the median, and it needs a third fewer rounds.
    """
    ordered = np.sort(np.asarray(values, float), axis)
    count = ordered.shape[axis]
    return np.take(ordered, range(count // 4, count - count // 4), axis).mean(axis)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the midmean of one version's ``values``, by their spread."""
    half = 1.96 * _MIDMEAN_ERROR * _deviation(values) / np.sqrt(len(values))
    middle = float(midmean(values))
    return middle - half, middle + half


def process_luck(levels: Sequence[Levels]) -> float:
    """Return the standard deviation between processes of one code, beyond that of their rounds.

    From the midmeans of the controls, per quantity and generation: how far they lie from zero,
    less what the spread of their rounds explains, both as the median over all of them.
    """
    groups = [inside for each in levels for inside in _by_generation(each)]
    if not groups:
        return 0.0
    middles = [abs(float(midmean(inside))) for inside in groups]
    explained = [(_MIDMEAN_ERROR * _deviation(inside)) ** 2 / len(inside) for inside in groups]
    excess = (_TO_DEVIATION * np.median(middles)) ** 2 - np.median(explained)
    return float(np.sqrt(max(0.0, excess)))


def _errors(groups: Sequence[Sequence[float]]) -> list[float]:
    """Return the standard error of each group's midmean; groups of one length go together."""
    found = [0.0] * len(groups)
    for length in {len(group) for group in groups}:
        indices = [index for index, group in enumerate(groups) if len(group) == length]
        samples = np.asarray([groups[index] for index in indices], float)
        if not length or not np.isfinite(samples).all():
            raise ValueError(f"{length} rounds, not all finite: need at least one, all finite")
        errors = np.full(len(indices), np.inf)
        if length > 1:
            errors = stats.bootstrap(
                (samples,),
                midmean,
                axis=1,
                n_resamples=_RESAMPLES,
                batch=max(1, _BATCH // samples.size),
                method="percentile",
                rng=np.random.default_rng(0),
            ).standard_error
        for index, error in zip(indices, errors, strict=True):
            found[index] = float(error)
    return found


def _by_generation(levels: Levels) -> list[NDArray[np.float64]]:
    """Return the controls of each generation."""
    generations, controls = np.asarray(levels.generations), np.asarray(levels.controls)
    return [controls[generations == each] for each in np.unique(generations)]


def _deviation(values: NDArray[np.float64]) -> float:
    return float(np.median(np.abs(values - np.median(values))))
