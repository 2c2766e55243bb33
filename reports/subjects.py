"""Kernels in problems, each with its baseline: what every figure is computed from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from crossover.bench.records.rows import ProblemRecord, Row
from crossover.bench.statistics import comparison, rates, warnings
from crossover.bench.statistics.comparison import Contest, Measurement, Pair
from crossover.bench.statistics.intervals import NOTHING, Interval
from crossover.reports.results import Results


@dataclass(frozen=True)
class Subject:
    """One kernel in one problem, with what its figures are computed from."""

    measurement: Measurement
    #: What it is held against; None where nothing of that role was measured.
    baseline: Measurement | None
    time: Interval
    speedup: Interval
    #: Of a training step: of its passes and updates alone.
    inside: Interval
    limits: rates.Limits | None
    warnings: tuple[str, ...]
    #: Of the baseline's own times, on which the speedup rests, too.
    baseline_warnings: tuple[str, ...]
    #: What share of its bound the baseline reaches, an empty call being part of that.
    baseline_of_bound: float

    @property
    def problem(self) -> ProblemRecord:
        return self.measurement.problem

    def over(self, values: Callable[[Row], Any]) -> list[Any]:
        """Return what its rows have of something, visit by visit."""
        return [v for row in self.measurement.rows if (v := values(row)) not in (None, [])]


def subjects(results: Results, found: Sequence[Contest], role: str | None = None) -> list[Subject]:
    """Return each measured kernel of each contest, held against the fastest kernel of ``role``.

    By default that is the fastest dense kernel, and of a training step the fastest masked dense
    one.
    """
    pairs = [
        Pair(each, contest.baseline(each, role or _usual_role(contest)))
        for contest in found
        for each in contest.measurements.values()
    ]
    measurements = [pair.candidate for pair in pairs]
    # A kernel is the baseline of many: what is said of it is found once.
    warned = {id(each): results.warnings_of(each) for each in measurements}
    baselines = {id(pair.baseline): pair for pair in pairs if pair.baseline}
    weak = {
        key: (tuple(warnings.of_comparison(pair, _limits(results, pair))), _of_bound(results, pair))
        for key, pair in baselines.items()
    }
    return [
        Subject(
            pair.candidate,
            pair.baseline,
            time,
            speedup,
            within,
            _limits(results, pair),
            warned[id(pair.candidate)],
            warned[id(pair.baseline)] + weak[id(pair.baseline)][0] if pair.baseline else (),
            weak[id(pair.baseline)][1] if pair.baseline else float("nan"),
        )
        for pair, time, speedup, within in zip(
            pairs,
            comparison.times(measurements),
            _speedups(pairs),
            _inside(pairs),
            strict=True,
        )
    ]


def _inside(pairs: Sequence[Pair]) -> list[Interval]:
    """Return each speedup of passes and updates alone, of training steps."""
    if not any(row.inside_samples for pair in pairs for row in pair.candidate.rows):
        return [NOTHING] * len(pairs)
    return _speedups(pairs, lambda row: row.inside_samples)


def _speedups(
    pairs: Sequence[Pair], samples: Callable[[Row], Sequence[float]] = lambda row: row.samples
) -> list[Interval]:
    """Return each speedup; of a baseline over itself it is 1, and says nothing of any variance."""
    itself = [each.baseline is each.candidate for each in pairs]
    others = [
        Pair(each.candidate, None) if same else each
        for each, same in zip(pairs, itself, strict=True)
    ]
    return [
        Interval(1.0, 1.0, 1.0) if same and any(map(samples, pair.candidate.rows)) else speedup
        for pair, same, speedup in zip(
            pairs, itself, comparison.speedups(others, samples), strict=True
        )
    ]


def _limits(results: Results, pair: Pair) -> rates.Limits | None:
    return results.limits(pair.candidate.kernel.device, pair.candidate.problem.threads)


def _of_bound(results: Results, pair: Pair) -> float:
    assert pair.baseline is not None
    return pair.baseline.call_fraction(_limits(results, pair))


def _usual_role(contest: Contest) -> str:
    return "masked dense" if contest.problem.computes == "step" else "dense"
