"""How far two versions differ, and how well that is known; pure functions of what was measured.

The visit is the unit: a race in which base, its control and head had their operands placed anew. In
each visit the effect is head less the mean of base and control, and the control one copy of base
less the other: code against itself, compiled and placed on its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from crossover.bench.gate.quantities import CROSSOVER_SPARSITIES

# The midmean's standard error, of normal values, is so many times that of the mean.
_MIDMEAN_ERROR = 1.09
# Head is compared with the mean of two copies, the control with one: (1 + 1/2) / (1 + 1).
_EFFECT_SHARE = 0.75
# For a standard error to within 5 %; and resampled values held in memory at a time.
_RESAMPLES = 200
_BATCH = 1 << 22
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

    @property
    def processes(self) -> list[str]:
        """Return the process of each visit."""
        return [process for process, *_ in self.visits]


@dataclass(frozen=True)
class Estimate:
    """A difference (the midmean over visits), its standard error, and the control's difference."""

    value: float
    error: float
    control: float
    visits: int

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the interval that holds the difference, with ``confidence`` on both sides."""
        half = float(stats.norm.ppf((1 + confidence) / 2)) * self.error
        return self.value - half, self.value + half


def estimates(levels: Sequence[Levels], least_between_std: float = 0.0) -> list[Estimate]:
    """Return the estimate of each quantity of one metric; their between-process std is pooled.

    The error joins that of the visits, from a bootstrap of their paired differences (SciPy's), and
    how far processes differ beyond that, which the controls of all quantities say.
    ``least_between_std`` is what was known of it before.

    Raises:
        ValueError: if a quantity has no visit, or one that is not finite.
    """
    between = max(least_between_std, between_process_std(levels))
    errors = _errors([each.effects for each in levels])
    found = []
    for each, error in zip(levels, errors, strict=True):
        processes = len(set(each.processes))
        joined = float(np.hypot(error, between * np.sqrt(_EFFECT_SHARE / processes)))
        value, control = float(midmean(each.effects)), float(midmean(each.controls))
        found.append(Estimate(value, joined, control, len(each.visits)))
    return found


def midmean(values: Sequence[float] | NDArray[np.float64], axis: int = -1) -> Any:
    """Return the mean of the middle half of ``values``: Tukey's midmean, along ``axis``.

    Outliers move it as little as they do the median, and it needs a third fewer visits.
    """
    ordered = np.sort(np.asarray(values, float), axis)
    count = ordered.shape[axis]
    return np.take(ordered, range(count // 4, count - count // 4), axis).mean(axis)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the midmean of one version's ``values``, by their spread."""
    half = float(stats.norm.ppf(0.975)) * _midmean_error(values)
    middle = float(midmean(values))
    return middle - half, middle + half


def between_process_std(levels: Sequence[Levels]) -> float:
    """Return the standard deviation between processes of one code, beyond that of their visits.

    From the midmeans of the controls, per quantity and process: how far they lie from zero, less
    what the spread of their visits explains, both as the median over all of them.
    """
    groups = [inside for each in levels for inside in _by_process(each)]
    if not groups:
        return 0.0
    distances = [abs(float(midmean(inside))) for inside in groups]
    seen = float(np.median(distances) / stats.norm.ppf(0.75))
    explained = float(np.median([_midmean_error(inside) ** 2 for inside in groups]))
    return float(np.sqrt(max(0.0, seen**2 - explained)))


def _errors(groups: Sequence[Sequence[float]]) -> list[float]:
    """Return the standard error of each group's midmean; groups of one length go together."""
    found = [0.0] * len(groups)
    for length in {len(group) for group in groups}:
        indices = [index for index, group in enumerate(groups) if len(group) == length]
        samples = np.asarray([groups[index] for index in indices], float)
        if not length or not np.isfinite(samples).all():
            raise ValueError(f"{length} visits, not all finite: need at least one, all finite")
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


def _by_process(levels: Levels) -> list[NDArray[np.float64]]:
    """Return the controls of each process."""
    processes, controls = np.asarray(levels.processes), np.asarray(levels.controls)
    return [controls[processes == each] for each in np.unique(processes)]


def _midmean_error(values: NDArray[np.float64]) -> float:
    """Return the standard error of the midmean, by the median absolute deviation."""
    spread = float(stats.median_abs_deviation(values, scale="normal"))
    return _MIDMEAN_ERROR * spread / float(np.sqrt(len(values)))


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
