"""Whether intervals hold what they claim: the same sweep measured twice, the runs held together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crossover.bench.records.rows import KernelRecord, Visit
from crossover.bench.statistics.comparison import Pair, contests, speedups
from crossover.bench.statistics.intervals import CONFIDENCE, Interval

#: The least share of rows whose second median lies in the first interval, and whose intervals
#: overlap. Of intervals of a known, equal variance 83 % and 99.4 % do.
INSIDE, OVERLAPPING = 0.80, 0.97
#: Problems from which resampling them says how well a share is known.
_LEAST_PROBLEMS = 10
_RESAMPLES = 2000


@dataclass(frozen=True)
class Repeat:
    """A speedup that was measured in two runs."""

    problem_id: str
    kernel: str
    first: Interval
    second: Interval

    @property
    def inside(self) -> bool:
        """Return whether the second median lies in the first interval."""
        return self.first.low <= self.second.median <= self.first.high

    @property
    def overlapping(self) -> bool:
        """Return whether the two intervals have anything in common."""
        return self.first.low <= self.second.high and self.second.low <= self.first.high

    @property
    def difference(self) -> float:
        """Return by what the larger median exceeds the smaller one, as a share of it."""
        return float(np.expm1(abs(np.log(self.second.median / self.first.median))))


@dataclass(frozen=True)
class Share:
    """A share of rows, what it is to be, and how far the problems at hand let it be known."""

    value: float
    least: float
    #: One-sided, at 95 %; NaN where there are too few problems to say.
    at_most: float

    @property
    def holds(self) -> bool | None:
        """Return whether it is what it is to be; None where that is not known."""
        if self.at_most < self.least:
            return False
        return True if self.value >= self.least and np.isfinite(self.at_most) else None


@dataclass(frozen=True)
class Calibration:
    """What two runs of one sweep say of its intervals; at least one row."""

    repeats: tuple[Repeat, ...]
    inside: Share
    overlapping: Share

    @classmethod
    def of(cls, repeats: Sequence[Repeat]) -> Calibration:
        """Return what the rows that were measured twice say.

        Raises:
            ValueError: if there are none.
        """
        if not repeats:
            raise ValueError("0 rows were measured twice: need at least one")
        problems = [each.problem_id for each in repeats]
        return cls(
            tuple(repeats),
            share_by_problem([each.inside for each in repeats], problems, INSIDE),
            share_by_problem([each.overlapping for each in repeats], problems, OVERLAPPING),
        )

    @property
    def problems(self) -> int:
        """Return how many problems the rows are of."""
        return len({each.problem_id for each in self.repeats})

    @property
    def median_difference(self) -> float:
        """Return the median over rows of how far the two runs differ."""
        return float(np.median([each.difference for each in self.repeats]))

    @property
    def widest_difference(self) -> float:
        """Return what one row in twenty differs by, or more."""
        return float(np.quantile([each.difference for each in self.repeats], 0.95))

    @property
    def median_width(self) -> float:
        """Return the median over rows of the first interval's width, as a share of its low end."""
        return float(np.median([each.first.high / each.first.low - 1 for each in self.repeats]))

    @property
    def decided(self) -> tuple[int, int]:
        """Return how many rows are decided, faster or slower than 1, in each run."""
        first = sum(each.first.decided is not None for each in self.repeats)
        return first, sum(each.second.decided is not None for each in self.repeats)


def repeats(
    first: Sequence[Visit], second: Sequence[Visit], kernels: Mapping[str, KernelRecord]
) -> list[Repeat]:
    """Return the speedups over the fastest dense kernel that both runs have an interval of.

    Each run is taken alone, its baselines included, as its own report shows it.
    """
    one, other = (_speedups_shown(visits, kernels) for visits in (first, second))
    return [
        Repeat(*key, interval, other[key])
        for key, interval in one.items()
        if key in other and all(map(_has_interval, (interval, other[key])))
    ]


def share_by_problem(held: Sequence[bool], problems: Sequence[str], least: float) -> Share:
    """Return the share of rows that ``held``, with its bound by resampling ``problems``.

    Rows of one problem share its baseline and its visits: they are no independent evidence.
    """
    _, index = np.unique(problems, return_inverse=True)
    hits, rows = np.bincount(index, np.asarray(held, float)), np.bincount(index)
    value = float(hits.sum() / rows.sum())
    if rows.size < _LEAST_PROBLEMS:
        return Share(value, least, float("nan"))
    drawn = np.random.default_rng(0).integers(0, rows.size, (_RESAMPLES, rows.size))
    shares = hits[drawn].sum(axis=1) / rows[drawn].sum(axis=1)
    return Share(value, least, float(np.quantile(shares, CONFIDENCE)))


def _speedups_shown(
    visits: Sequence[Visit], kernels: Mapping[str, KernelRecord]
) -> dict[tuple[str, str], Interval]:
    """Return speedups by problem and kernel; of a baseline over itself there is none."""
    pairs = [
        Pair(each, baseline)
        for contest in contests(visits, kernels)
        for each in contest.measurements.values()
        if (baseline := contest.baseline(each)) is not None and baseline is not each
    ]
    names = [(pair.candidate.problem.problem_id, pair.candidate.kernel.name) for pair in pairs]
    return dict(zip(names, speedups(pairs), strict=True))


def _has_interval(speedup: Interval) -> bool:
    return bool(np.isfinite([speedup.low, speedup.median, speedup.high]).all())
