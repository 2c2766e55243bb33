"""How far two versions differ, and how well that is known; pure functions of what was measured.

The round is the unit: both versions and the control once each, within tens of milliseconds. In
each round the effect is head less the mean of the two base workers, and the control one base
worker less the other: code against itself, through processes and placements of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from bench.intervals import CONFIDENCE, median_intervals

# The median of normal values has 1.2533 of the mean's standard error; 1.4826 scales the median
# absolute deviation to a standard deviation.
_MEDIAN_ERROR = 1.2533 * 1.4826
# Head is compared with the mean of two processes, the control with one: (1 + 1/2) / (1 + 1).
_EFFECT_SHARE = 0.75


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
    """A median difference with its standard error, and the control's beside it."""

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

    The error joins that of the rounds, from a bootstrap of their paired differences, and the
    luck of a process: the controls of all quantities say how far two processes of one code
    differ beyond that. ``least_luck`` is what was known of it before.

    Raises:
        ValueError: if a quantity has no round, or one that is not finite.
    """
    intervals = median_intervals([each.effects for each in levels], CONFIDENCE)
    luck = max(least_luck, process_luck(levels))
    width = 2 * float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    found = []
    for each, interval in zip(levels, intervals, strict=True):
        processes = len(set(each.generations))
        error = np.hypot(
            (interval.high - interval.low) / width, luck * np.sqrt(_EFFECT_SHARE / processes)
        )
        control = float(np.median(each.controls))
        found.append(Estimate(interval.median, float(error), control, len(each.rounds)))
    return found


def process_luck(levels: Sequence[Levels]) -> float:
    """Return the standard deviation between processes of one code, beyond that of their rounds.

    From the medians of the controls, per quantity and generation: their mean square, less what
    the spread of their rounds explains; 0 where that is all of it.
    """
    excess = [
        np.median(inside) ** 2 - (_MEDIAN_ERROR * _deviation(inside)) ** 2 / len(inside)
        for each in levels
        for inside in _by_generation(each)
    ]
    return float(np.sqrt(max(0.0, np.mean(excess)))) if excess else 0.0


def _by_generation(levels: Levels) -> list[np.ndarray]:
    """Return the controls of each generation."""
    generations, controls = np.asarray(levels.generations), np.asarray(levels.controls)
    return [controls[generations == each] for each in np.unique(generations)]


def _deviation(values: np.ndarray) -> float:
    return float(np.median(np.abs(values - np.median(values))))
