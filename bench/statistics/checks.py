"""What the visits of the self-check show, each held to a figure that is stated with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from crossover.bench.records.rows import KernelRecord, Visit
from crossover.bench.statistics.calibration import (
    INSIDE,
    OVERLAPPING,
    Calibration,
    Share,
    repeats,
)
from crossover.bench.statistics.comparison import log_ratios
from crossover.bench.statistics.intervals import Interval, VisitMedians, pooled_intervals
from crossover.bench.statistics.search_answers import search_answers

Verdict = Literal["passed", "failed", "not decided", "not run"]
#: The series that the parts are kept under.
ITSELF, ELSEWHERE = "selfcheck itself", "selfcheck elsewhere"
#: A kernel alone and beside a dense one; MKL's, too, whose threads are of another pool.
BESIDE, MKL_BESIDE = "selfcheck beside", "selfcheck mkl beside"
PYPERF, SWEEP = "selfcheck pyperf", "selfcheck sweep"
SEARCHES = "search 1", "search 2"
TAKES = "selfcheck first take", "selfcheck second take"
TWINS = "selfcheck-castor", "selfcheck-pollux"
PYPERF_KERNELS = "numpy-dense", "scipy-csr", "numba-csr"
_CONTAINING, _BIAS, _AGREEMENT, _OVERHEAD, _BESIDE = 0.93, 0.005, 0.05, 0.3, 0.15
_KERNEL, MKL_KERNEL = "numba-csr", "mkl-csr-hinted"
_RESTING = "rest"

Series = Mapping[str, Sequence[Visit]]


@dataclass(frozen=True)
class Check:
    """One thing that the harness is held to."""

    name: str
    holds_to: str
    found: str
    verdict: Verdict


def checks(series: Series, kernels: Mapping[str, KernelRecord]) -> list[Check]:
    """Return what each part of the self-check shows, as far as it was measured."""
    return [
        against_itself(series.get(ITSELF, ()), series.get(ELSEWHERE, ())),
        beside_others("a kernel beside dense products", _KERNEL, series.get(BESIDE, ())),
        beside_others("MKL beside dense products", MKL_KERNEL, series.get(MKL_BESIDE, ())),
        pyperf(series.get(PYPERF, ())),
        two_searches([series.get(name, ()) for name in SEARCHES], kernels),
        *taken_twice([series.get(name, ()) for name in TAKES], kernels),
        overhead(series.get(SWEEP, ())),
    ]


def against_itself(twins: Sequence[Visit], placings: Sequence[Visit]) -> Check:
    """Return whether intervals of a kernel against itself contain 1, and none is preferred."""
    name = "a kernel against itself (A/A)"
    holds_to = f"1 in at least {_CONTAINING:.0%} of the intervals; a bias under {_BIAS:.1%}"
    ratios = log_ratios(*TWINS, twins)
    if not ratios:
        return Check(name, holds_to, "not measured", "not run")
    # Of one visit each: between visits nothing moves, for twins share their operand.
    intervals = [pooled_intervals([VisitMedians.of([each])], [None])[0] for each in ratios]
    containing = sum(each.decided is None for each in intervals)
    bias = abs(float(np.expm1(np.median([np.median(each) for each in ratios]))))
    moved = [np.median(each) for each in log_ratios(_KERNEL, TWINS[0], placings)]
    found = f"1 in {containing} of {len(ratios)}; a bias of {bias:.2%}"
    if moved:
        found += (
            ". Where its operand lies elsewhere in memory, a kernel differs from itself by "
            f"{float(np.std(moved)):.1%} (standard deviation)"
        )
    passed = containing >= _CONTAINING * len(ratios) and bias < _BIAS
    return Check(name, holds_to, found, _verdict(passed))


def beside_others(name: str, kernel: str, visits: Sequence[Visit]) -> Check:
    """Return whether a kernel takes as long beside dense products, whose threads idle, as alone.

    Its own threads idle, too, and may have gone to sleep before its next call: alone it is not
    slower under our settings for them than under the libraries' own.
    """
    holds_to = f"within {_BESIDE:.0%} of its time alone, there or under the libraries' own settings"
    skipped = [row.reason for v in visits for row in v.rows.values() if row.status == "skipped"]
    if skipped or not visits:
        return Check(name, holds_to, skipped[0] if skipped else "not measured", "not run")

    def seconds(resting: bool, alone: bool) -> list[float]:
        return [
            float(np.median(visit.rows[kernel].samples))
            for visit in visits
            if visit.measured(kernel)
            and (visit.problem.idle_threads == _RESTING) == resting
            and (len(visit.rows) == 1) == alone
        ]

    alone, own_alone = seconds(True, True), seconds(False, True)
    beside = _in_turn(seconds(True, False), alone)
    own = _in_turn(alone, own_alone)
    own_beside = _in_turn(seconds(False, False), own_alone)
    found = (
        f"{_shown(beside)} of its time alone ({np.median(alone) * 1e6:.0f} µs), which is "
        f"{_shown(own)} of that under the libraries' own settings for idle and bound threads; "
        f"beside dense products those give {own_beside.median:.2f}"
    )
    slower = Interval(max(1.0, own.low), max(1.0, own.median), max(1.0, own.high))
    return Check(
        name, holds_to, found, _worst(_agreement(each, _BESIDE) for each in (beside, slower))
    )


def _in_turn(times: Sequence[float], others: Sequence[float]) -> Interval:
    """Return the ratio of times that were taken in turn, with its interval."""
    count = min(len(times), len(others))
    logs = np.log(times[:count]) - np.log(others[:count])
    # Of visits, which scatter as visits do, and have no rounds.
    return pooled_intervals([VisitMedians(logs, np.zeros(count))], [None])[0]


def pyperf(visits: Sequence[Visit]) -> Check:
    """Return whether medians agree with pyperf's, which times in processes of its own."""
    name, holds_to = "medians against pyperf", f"within {_AGREEMENT:.0%}"
    skipped = [row.reason for v in visits for row in v.rows.values() if row.status != "measured"]
    if skipped or not visits:
        return Check(name, holds_to, skipped[0] if skipped else "not measured", "not run")
    found: dict[str, Interval] = {}
    for kernel in PYPERF_KERNELS:
        times = [
            (v.record.process == "pyperf", float(np.median(v.rows[kernel].samples)))
            for v in visits
            if v.measured(kernel)
        ]
        logs = [
            (np.log(times[i - 1][1]) + np.log(times[i + 1][1])) / 2 - np.log(times[i][1])
            for i in range(1, len(times) - 1)
            if times[i][0]
        ]
        if logs:
            # Each is a visit by each timer.
            found[kernel] = pooled_intervals(
                [VisitMedians(np.array(logs), np.zeros(len(logs)))], [None]
            )[0]
    verdict = _worst(_agreement(each, _AGREEMENT) for each in found.values())
    shown = ", ".join(f"{k} {i.median:.3f} [{i.low:.2f}, {i.high:.2f}]" for k, i in found.items())
    return Check(name, holds_to, f"ours / theirs, in turn: {shown}", verdict)


def two_searches(searches: Sequence[Sequence[Visit]], kernels: Mapping[str, KernelRecord]) -> Check:
    """Return whether two searches for one crossover agree."""
    name = "two searches for one crossover"
    holds_to = "the same kind of answer, and ranges that overlap"
    answers = [search_answers(visits, kernels) for visits in searches]
    if not all(each and each[0].begun for each in answers):
        return Check(name, holds_to, "not measured", "not run")
    first, second = (each[0].search.estimate() for each in answers)
    # At a sparsity where two ranges only touch, the searches contradict each other.
    overlap = first.low < second.high and second.low < first.high
    found = f"{first}, then {second} (lenet-300-100 fc1, batch 64, forward, {_KERNEL})"
    return Check(name, holds_to, found, _verdict(first.kind == second.kind and overlap))


def taken_twice(
    takes: Sequence[Sequence[Visit]], kernels: Mapping[str, KernelRecord]
) -> list[Check]:
    """Return whether the intervals of one sweep hold what the same sweep finds later."""
    first, second = takes
    found = repeats(first, second, kernels)
    return calibration(Calibration.of(found) if found else None)


def calibration(found: Calibration | None) -> list[Check]:
    """Return what two takes of a sweep say of its intervals, or that there are none."""
    names = [
        f"a sweep taken twice: {what}"
        for what in ("second median in the first interval", "intervals that overlap")
    ]
    helds = [
        f"at least {least:.0%} of the speedups, their bound resampled by problem"
        for least in (INSIDE, OVERLAPPING)
    ]
    if found is None:
        return [
            Check(name, held, "not measured", "not run")
            for name, held in zip(names, helds, strict=True)
        ]
    rows = len(found.repeats)
    one, other = found.decided
    texts = (
        f" of {rows} speedups in {found.problems} problems; median difference "
        f"{found.median_difference:.1%}, of one in twenty over {found.widest_difference:.0%}",
        f"; median width {found.median_width:.1%}; {one}, then {other} of {rows} decided",
    )
    shares = found.inside, found.overlapping
    return [
        Check(name, held, f"{_bounded(share)}{text}", _verdict(share.holds))
        for name, held, share, text in zip(names, helds, shares, texts, strict=True)
    ]


def overhead(visits: Sequence[Visit]) -> Check:
    """Return how much of a default sweep did not go into kernels."""
    name = "overhead of a default sweep"
    holds_to = f"under {_OVERHEAD:.0%} outside conversions, warm-up, flushes and timed calls"
    if not visits:
        return Check(name, holds_to, "not measured", "not run")
    wall_s = sum(visit.record.wall_s for visit in visits)
    busy_s = sum(row.busy_s for visit in visits for row in visit.rows.values())
    share = 1 - busy_s / wall_s
    found = f"{share:.1%} of {wall_s:.0f} s of measuring"
    return Check(name, holds_to, found, _verdict(share < _OVERHEAD))


def _shown(ratio: Interval) -> str:
    return f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _agreement(ratio: Interval, within: float) -> Verdict:
    """Return whether a ratio is 1, as far as the noise lets it be known."""
    if abs(ratio.median - 1) < within:
        return "passed"
    known = ratio.low > 1 + within or ratio.high < 1 - within
    return "failed" if known else "not decided"


def _bounded(share: Share) -> str:
    bound = "" if np.isnan(share.at_most) else f" (at most {share.at_most:.1%})"
    return f"{share.value:.1%}{bound}"


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of several verdicts; of none that nothing was run."""
    order: Sequence[Verdict] = ("not run", "passed", "not decided", "failed")
    return max(verdicts, key=order.index, default="not run")


def _verdict(passed: bool | None) -> Verdict:
    if passed is None:
        return "not decided"
    return "passed" if passed else "failed"
