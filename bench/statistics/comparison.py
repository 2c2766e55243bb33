"""Kernels compared in a problem: over the visits that hold both, and over no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crossover.bench.records.rows import KernelRecord, ProblemRecord, Row, Visit
from crossover.bench.statistics import rates
from crossover.bench.statistics.intervals import (
    NOTHING,
    Interval,
    VisitMedians,
    pooled_intervals,
)
from crossover.bench.statistics.small import median

#: An interval rests on so many visits at least, by more than one process.
LEAST_VISITS = 3
#: The role of a dense kernel whose arithmetic has fewer bits than the candidate's.
ROUNDING = "rounding dense"
NAN = float("nan")
# What is computed by a whole network, product after product.
_OF_NETWORKS = "step", "network", "serving", "training", "epoch", "first steps"


@dataclass(frozen=True)
class Measurement:
    """What was measured of one kernel in one problem, over all its visits."""

    problem: ProblemRecord
    kernel: KernelRecord
    #: The visits in which it was measured; the last of its rows says what it is now.
    visits: tuple[Visit, ...]

    @cached_property
    def rows(self) -> list[Row]:
        """Return its rows, one a visit."""
        return [visit.rows[self.kernel.name] for visit in self.visits]

    @cached_property
    def time_s(self) -> float:
        """Return the median over visits of the median time per call."""
        return median([median(row.samples) for row in self.rows])

    @property
    def last(self) -> Row:
        """Return its row of the last visit."""
        return self.rows[-1]

    @property
    def leaves_out(self) -> bool:
        """Return whether it is sparse: its operand leaves zeros of W out."""
        entries, stored = self.problem.m * self.problem.k, self.last.stored_entries or 0
        if self.problem.computes in _OF_NETWORKS:
            return not self.kernel.stores_zeros
        return rates.leaves_out(self.kernel.stores_zeros, stored, self.problem.nnz, entries)

    @property
    def work(self) -> tuple[float, float]:
        """Return its operations, on zeros too where it stores them, and its compulsory bytes."""
        stores, it = self.kernel.stores_zeros, self.problem
        flops = it.executed_flops if stores else it.useful_flops
        return flops, (self.last.nbytes or 0) + it.side_bytes

    def call_fraction(self, limits: rates.Limits | None) -> float:
        """Return what share of its bound it reaches, an empty call being part of the bound.

        NaN of a whole network, which is many products, and of numbers that the limits are not of.
        """
        if self.problem.computes in _OF_NETWORKS or self.problem.dtype != "float32":
            return float("nan")
        return rates.call_fraction(limits, *self.work, self.time_s, self.problem.caches == "cold")

    def log_times(self) -> list[NDArray[np.float64]]:
        """Return the logs of its times, visit by visit."""
        return [np.log(row.samples) for row in self.rows]


@dataclass(frozen=True)
class Contest:
    """All kernels of a problem that were measured, by name."""

    problem: ProblemRecord
    measurements: Mapping[str, Measurement]

    def baseline(self, candidate: Measurement, role: str = "dense") -> Measurement | None:
        """Return the fastest kernel of ``role`` that ``candidate`` is held against, or None.

        It is of the same device, and of the same arithmetic where there is one: who may round to
        16 bits has a dense product that rounds, too. :data:`ROUNDING` asks for the dense kernels
        that round where ``candidate`` does not.
        """
        device = candidate.kernel.device
        if role == ROUNDING:
            return self._rounding(candidate)
        there = [
            each
            for each in self.measurements.values()
            if each.kernel.role == role and each.kernel.device == device
        ]
        same = [each for each in there if each.kernel.arithmetic == candidate.kernel.arithmetic]
        return fastest(same or [each for each in there if each.kernel.arithmetic == "fp32"])

    def _rounding(self, candidate: Measurement) -> Measurement | None:
        if candidate.kernel.rounds:
            return None
        return fastest(
            each
            for each in self.measurements.values()
            if each.kernel.role == "dense"
            and each.kernel.device == candidate.kernel.device
            and each.kernel.rounds
        )


def contests(visits: Iterable[Visit], kernels: Mapping[str, KernelRecord]) -> list[Contest]:
    """Return the contest of each problem, in the order of their first visits.

    A kernel that was wrong or failed in its last visit is not part of it.
    """
    by_problem: dict[str, list[Visit]] = {}
    for visit in visits:
        by_problem.setdefault(visit.problem.problem_id, []).append(visit)
    return [_contest(group, kernels) for group in by_problem.values()]


def _contest(visits: Sequence[Visit], kernels: Mapping[str, KernelRecord]) -> Contest:
    problem = visits[-1].problem
    latest = {name: row for visit in visits for name, row in visit.rows.items()}
    found = {
        name: Measurement(problem, kernels[name], tuple(v for v in visits if v.measured(name)))
        for name, row in latest.items()
        if row.status == "measured" and name in kernels
    }
    return Contest(problem, found)


def fastest(measurements: Iterable[Measurement]) -> Measurement | None:
    """Return the one with the shortest median time, or None of none."""
    return min(measurements, key=lambda each: each.time_s, default=None)


def fastest_over(names: Sequence[str], visits: Sequence[Visit]) -> str:
    """Return which of the kernels that ``visits`` measured was the fastest over all of them."""
    return min(names, key=lambda name: float(np.mean([_log_time(name, v) for v in visits])))


def cross_fitted(names: Sequence[str], visits: Sequence[Visit]) -> list[str]:
    """Return for each visit the kernel that was the fastest in the others; of one visit, in it.

    A kernel that is chosen for having been quick in a visit, and judged by the same visit, looks
    quicker than it is.
    """
    others = [[each for each in visits if each is not visit] for visit in visits]
    return [fastest_over(names, rest or visits) for rest in others]


def _log_time(name: str, visit: Visit) -> float:
    return float(np.log(median(visit.rows[name].samples)))


def log_ratios(
    baseline: str,
    candidate: str,
    visits: Iterable[Visit],
    samples: Callable[[Row], Sequence[float]] = lambda row: row.samples,
) -> list[NDArray[np.float64]]:
    """Return log(baseline time / candidate time) by rounds, of each visit that measured both.

    A kernel that dropped out of a race has fewer rounds than the others, which count as far as
    they pair.
    """
    found = []
    for visit in visits:
        if visit.measured(baseline, candidate):
            one, two = samples(visit.rows[baseline]), samples(visit.rows[candidate])
            rounds = min(len(one), len(two))
            if rounds:
                found.append(np.log(one[:rounds]) - np.log(two[:rounds]))
    return found


@dataclass(frozen=True)
class Pair:
    """A candidate and what it is held against."""

    candidate: Measurement
    baseline: Measurement | None

    @property
    def group(self) -> tuple[str, str, str, int]:
        """Return what pairs of a similar variance between visits share."""
        problem = self.candidate.problem
        return self.candidate.kernel.name, problem.computes, problem.caches, problem.threads

    @property
    def shared_visits(self) -> list[Visit]:
        """Return the visits that measured both."""
        if self.baseline is None:
            return []
        names = self.baseline.kernel.name, self.candidate.kernel.name
        return [visit for visit in self.candidate.visits if visit.measured(*names)]

    def ratios(
        self, samples: Callable[[Row], Sequence[float]] = lambda row: row.samples
    ) -> list[tuple[Visit, NDArray[np.float64]]]:
        """Return each visit that measured both, with its paired log-ratios."""
        if self.baseline is None:
            return []
        names = self.baseline.kernel.name, self.candidate.kernel.name
        return [
            (visit, ratios)
            for visit in self.shared_visits
            for ratios in log_ratios(*names, [visit], samples)
        ]


def speedups(
    pairs: Sequence[Pair],
    samples: Callable[[Row], Sequence[float]] = lambda row: row.samples,
) -> list[Interval]:
    """Return each candidate's speedup over its baseline; NaN where they never met.

    Without enough visits behind it, a speedup is its median alone: its interval's ends are NaN.
    """
    ratios = {index: found for index, pair in enumerate(pairs) if (found := pair.ratios(samples))}
    intervals = pooled_intervals(
        [by_process(each) for each in ratios.values()], [pairs[index].group for index in ratios]
    )
    known = {
        index: if_enough(interval, [visit for visit, _ in ratios[index]])
        for index, interval in zip(ratios, intervals, strict=True)
    }
    return [known.get(index, NOTHING) for index in range(len(pairs))]


def by_process(logs: Sequence[tuple[Visit, NDArray[np.float64]]]) -> VisitMedians:
    """Return the medians of visits, each with its logs, folded by the process that made them."""
    processes = [visit.record.process for visit, _ in logs]
    return VisitMedians.of([values for _, values in logs]).folded(processes)


def times(measurements: Sequence[Measurement]) -> list[Interval]:
    """Return each kernel's seconds per call, :attr:`Measurement.time_s`, with its interval.

    The interval is of the visits' mean log-time, if there are visits enough. It is widened to the
    median where that falls outside.
    """
    groups = [Pair(each, None).group for each in measurements]
    medians = [
        by_process(list(zip(each.visits, each.log_times(), strict=True))) for each in measurements
    ]
    return [
        if_enough(
            Interval(min(found.low, each.time_s), each.time_s, max(found.high, each.time_s)),
            each.visits,
        )
        for each, found in zip(measurements, pooled_intervals(medians, groups), strict=True)
    ]


def enough(visits: Sequence[Visit]) -> bool:
    """Return whether an interval may rest on ``visits``: three at least, by two processes."""
    return len(visits) >= LEAST_VISITS and len({each.record.process for each in visits}) > 1


def sole_process(visits: Sequence[Visit]) -> str:
    """Return the process that made all of two or more visits, in which no third should be made."""
    processes = {each.record.process for each in visits}
    return processes.pop() if len(visits) > 1 and len(processes) == 1 else ""


def last_process(visits: Sequence[Visit]) -> str:
    """Return the process of the last of too few visits, in which no further one should be made."""
    return visits[-1].record.process if 0 < len(visits) < LEAST_VISITS else ""


def if_enough(interval: Interval, visits: Sequence[Visit]) -> Interval:
    """Return an interval as it is if ``visits`` are enough for it, else its median alone."""
    return interval if enough(visits) else Interval(NAN, interval.median, NAN)


def open_width(contest: Contest) -> float:
    """Return how well a problem's answer is known: half the width of a log-ratio's interval.

    The ratio is that of the fastest dense and the fastest sparse kernel; without such a pair of
    any two, and 0 where there are none. Infinite before there are visits enough.
    """
    by_time = sorted(contest.measurements.values(), key=lambda each: each.time_s)
    if len(by_time) < 2:
        return 0.0
    usual = (e for e in by_time if e.kernel.role == "dense" and not e.kernel.rounds)
    dense = next(usual, by_time[0])
    others = [each for each in by_time if each is not dense]
    other = next((each for each in others if each.leaves_out), others[0])
    pair = Pair(other, dense)
    if not pair.ratios():
        return 0.0
    (interval,) = speedups([pair])
    return float(np.log(interval.high / interval.low)) / 2 if enough(pair.shared_visits) else np.inf
