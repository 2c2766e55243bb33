"""Who may be the fastest: what races on after a first look at all kernels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from crossover.bench.statistics.comparison import (
    ROUNDING,
    Contest,
    Measurement,
    Pair,
    by_process,
    cross_fitted,
    if_enough,
    log_ratios,
)
from crossover.bench.statistics.intervals import NOTHING, Interval, VisitMedians, pooled_intervals

#: So many kernels race on.
MOST_DENSE, MOST_SPARSE = 2, 3
# A sparse kernel slower than the fastest by more than this, in logs, races for no crossover.
_BEHIND = 0.2
# A curve is judged where its speedup is closest to 1: at so many of its sparsities.
_PLACES = 2


def leaders(contest: Contest) -> tuple[str, ...]:
    """Return, by device, the fastest dense kernels and the fastest sparse ones.

    Of dense kernels two, for one look does not tell which is faster; and the fastest that rounds
    its operands. A kernel that is held against another arithmetic's dense product keeps that one
    in the race.
    """
    found: list[str] = []
    measured = list(contest.measurements.values())
    for device in dict.fromkeys(each.kernel.device for each in measured):
        sparse = [each for each in _by_time(measured, device) if each.leaves_out][:MOST_SPARSE]
        baselines = [contest.baseline(each) for each in sparse]
        baselines += _dense(measured, device)[:MOST_DENSE]
        baselines += [contest.baseline(each, ROUNDING) for each in sparse[:1]]
        for each in (*baselines, *sparse):
            if each is not None and each.kernel.name not in found:
                found.append(each.kernel.name)
    return tuple(found or contest.measurements)


def curve_contenders(points: Iterable[Contest]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the dense kernel, and the sparse ones, that may be the fastest at a crossover.

    ``points`` are the contests of one layer, batch and pass over sparsity, on the CPU. The dense
    kernel is the fastest over all of them, for its time does not depend on the zeros; the sparse
    ones are the fastest, or little slower, where the speedup is closest to 1.
    """
    curve = [each for each in points if _dense(each.measurements.values(), "cpu")]
    shared = set.intersection(*({*each.measurements} for each in curve)) if curve else set()
    dense = [
        each.kernel.name
        for point in curve[:1]
        for each in _dense(point.measurements.values(), "cpu")
        if each.kernel.name in shared
    ]
    if not dense:
        return (), ()
    fastest = min(dense, key=lambda name: sum(np.log(p.measurements[name].time_s) for p in curve))
    near = sorted(curve, key=lambda point: _distance(point, fastest))[:_PLACES]
    sparse = [
        name
        for name in set.intersection(*({*each.measurements} for each in near))
        if all(each.measurements[name].leaves_out for each in near)
        and near[0].measurements[name].kernel.device == "cpu"
    ]
    behind = {
        name: float(np.mean([np.log(each.measurements[name].time_s) for each in near]))
        for name in sparse
    }
    ranked = sorted(sparse, key=lambda name: behind[name])
    close = [name for name in ranked if behind[name] <= behind[ranked[0]] + _BEHIND]
    return (fastest,), tuple(close[:MOST_SPARSE])


def fastest_speedups(
    points: Sequence[Contest], role: str = "dense"
) -> dict[tuple[str, str], Interval]:
    """Return, by problem and device, the speedup of the fastest sparse kernel over its baseline.

    The baseline is the fastest kernel of ``role``: see :meth:`Contest.baseline`.

    Each visit states the kernel that was the fastest in the others; only kernels that share all
    visits of the fastest one are chosen from. Uncorrected for how many problems there are.
    """
    found: dict[tuple[str, str], VisitMedians] = {}
    groups, behind = [], []
    for point in points:
        measured = list(point.measurements.values())
        for device in dict.fromkeys(each.kernel.device for each in measured):
            sparse = [each for each in _by_time(measured, device) if each.leaves_out]
            pair = Pair(sparse[0], point.baseline(sparse[0], role)) if sparse else None
            if pair is None or not (visits := pair.shared_visits):
                continue
            names = [
                e.kernel.name for e in sparse if all(v.measured(e.kernel.name) for v in visits)
            ]
            assert pair.baseline is not None
            ratios = [
                (visit, log_ratios(pair.baseline.kernel.name, name, [visit])[0])
                for name, visit in zip(cross_fitted(names, visits), visits, strict=True)
            ]
            found[point.problem.problem_id, device] = by_process(ratios)
            groups.append(pair.group[1:])
            behind.append(visits)
    intervals = pooled_intervals(list(found.values()), groups)
    return {
        key: if_enough(interval, visits)
        for key, interval, visits in zip(found, intervals, behind, strict=True)
    }


def speedup_of_fastest(sparse: Sequence[Measurement], dense: Sequence[Measurement]) -> Interval:
    """Return the speedup of the fastest of ``sparse`` over that of ``dense``; NaN without both.

    All are of one contest. Each visit states those that were the fastest in the others.
    """
    if not sparse or not dense:
        return NOTHING
    ends = [min(each, key=lambda it: it.time_s) for each in (sparse, dense)]
    visits = Pair(*ends).shared_visits
    sides = [
        [it.kernel.name for it in each if all(v.measured(it.kernel.name) for v in visits)]
        for each in (sparse, dense)
    ]
    if not visits:
        return NOTHING
    chosen = zip(*(cross_fitted(names, visits) for names in sides), visits, strict=True)
    ratios = [(visit, log_ratios(slower, quicker, [visit])[0]) for quicker, slower, visit in chosen]
    (interval,) = pooled_intervals([by_process(ratios)], [Pair(*ends).group])
    return if_enough(interval, visits)


def _distance(point: Contest, dense: str) -> float:
    """Return how far the fastest sparse kernel of a contest is from ``dense``, in logs."""
    sparse = [each for each in _by_time(point.measurements.values(), "cpu") if each.leaves_out]
    if not sparse:
        return float("inf")
    return abs(float(np.log(point.measurements[dense].time_s / sparse[0].time_s)))


def _by_time(measurements: Iterable[Measurement], device: str) -> list[Measurement]:
    there = [each for each in measurements if each.kernel.device == device]
    return sorted(there, key=lambda each: each.time_s)


def _dense(measurements: Iterable[Measurement], device: str) -> list[Measurement]:
    """Return the dense kernels that round nothing, the fastest first."""
    return [
        each
        for each in _by_time(measurements, device)
        if each.kernel.role == "dense" and not each.kernel.rounds
    ]
