"""Differences between two runs: of their crossovers, and of speedups at equal workloads.

Runs are independent, so the half-widths of logarithms add as squares. What has no interval, or was
not decided, is no difference; it is said to be neither.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from crossover.bench.statistics.crossover import CrossoverEstimate
from crossover.bench.statistics.intervals import Interval
from crossover.reports.compare.machines import Machine
from crossover.reports.crossovers import Crossover

Verdict = Literal["differs", "same within noise", "not decided"]
#: What a place is told by; threads are a setting, and named.
PLACE = ("network", "layer", "m", "k", "batch", "computes", "dtype", "caches", "device")
_PATTERN = "pattern", "scope"
# Within this factor a ratio whose interval holds 1 is called the same.
_SAME_WITHIN = 1.25


@dataclass(frozen=True)
class CrossoverDifference:
    """A place in two runs: where it crosses over in each, and how far apart that is."""

    place: dict[str, Any]
    first: Crossover
    second: Crossover
    #: Of the second less the first, shares of 1; None where one was not decided.
    low: float | None
    high: float | None
    verdict: Verdict
    #: What else differs: threads, weights, how it was found.
    notes: tuple[str, ...]


def crossover_differences(first: Machine, second: Machine) -> list[CrossoverDifference]:
    """Return the difference of every place that both runs measured with the same zeros in W."""
    found = []
    theirs, their_grid = _by_place(second.crossovers), _by_place(second.of_the_grid)
    own_grid = _by_place(first.of_the_grid)
    for place, own in _by_place(first.crossovers).items():
        if place not in theirs:
            continue
        pair = own, theirs[place]
        if _zeros(pair[0]) != _zeros(pair[1]):
            # One was searched on its own weights, the other was not: the grids are alike.
            pair = own_grid[place], their_grid[place]
            grids = ["between sparsities of the grid: not both were searched"]
        else:
            grids = []
        if _zeros(pair[0]) == _zeros(pair[1]):
            notes = _notes(first, second, *pair)
            if notes is not None:
                found.append(_difference(*pair, [*notes, *grids]))
    return found


def only_in(first: Machine, second: Machine) -> list[dict[str, Any]]:
    """Return the places of the first run that the second did not measure, or not alike."""
    compared = {tuple(each.place.values()) for each in crossover_differences(first, second)}
    return [
        dict(zip(PLACE, place, strict=True))
        for place in _by_place(first.crossovers)
        if place not in compared
    ]


def span(estimate: CrossoverEstimate) -> tuple[float, float] | None:
    """Return where a crossover lies; beyond what was measured where it was always or never met."""
    return {
        "between": (estimate.low, estimate.high),
        "always": (0.0, estimate.low),
        "never": (estimate.high, 1.0),
    }.get(estimate.kind)


def speedup_differences(first: Machine, second: Machine) -> pd.DataFrame:
    """Return a row per kernel in a problem that both runs measured.

    Columns are those of the first run's rows; ``time_s_b``, ``speedup_b``, ... of the second's;
    ``faster``, how many times as fast the second is; ``ratio`` of the speedups (second over first)
    with ``ratio_low`` and ``ratio_high``; ``verdict``; and ``weights`` (equal, or other).
    """
    if first.rows.empty or second.rows.empty:
        return pd.DataFrame()
    keys = ["recipe", "caches", "device", "kernel"]
    figures = [*keys, "workload_id", "threads", "time_s", "speedup", "speedup_low", "speedup_high",
               "baseline", "baseline_s", "warnings", "baseline_warnings"]  # fmt: skip
    one, other = (
        each.rows.assign(recipe=each.rows["workload_id"].map(each.recipes))
        for each in (first, second)
    )
    both = one.merge(other[figures], on=keys, suffixes=("", "_b"))
    if both.empty:
        return both
    ratios = [_ratio(row) for row in both.to_dict("records")]
    return both.assign(
        faster=both["time_s"] / both["time_s_b"],
        ratio=[each.median for each in ratios],
        ratio_low=[each.low for each in ratios],
        ratio_high=[each.high for each in ratios],
        verdict=[ratio_verdict(each) for each in ratios],
        weights=(both["workload_id"] == both["workload_id_b"]).map({True: "equal", False: "other"}),
    )


def ratio_verdict(ratio: Interval) -> Verdict:
    """Return whether a ratio of two runs is more than noise."""
    if not ratio.low < ratio.high:
        return "not decided"
    if ratio.low > 1 or ratio.high < 1:
        return "differs"
    narrow = ratio.high < _SAME_WITHIN and ratio.low > 1 / _SAME_WITHIN
    return "same within noise" if narrow else "not decided"


def _ratio(row: dict[Any, Any]) -> Interval:
    """Return the second run's speedup over the first's; of a baseline itself there is none."""
    median = row["speedup_b"] / row["speedup"]
    half = math.hypot(_half_width(row, ""), _half_width(row, "_b"))
    return Interval(median * math.exp(-half), median, median * math.exp(half))


def _half_width(row: dict[Any, Any], suffix: str) -> float:
    low, high = row[f"speedup_low{suffix}"], row[f"speedup_high{suffix}"]
    return math.log(high / low) / 2 if low > 0 else math.nan


def _by_place(found: Iterable[Crossover]) -> dict[tuple[Any, ...], Crossover]:
    return {tuple(each.place[name] for name in PLACE): each for each in found}


def _zeros(found: Crossover) -> tuple[Any, ...]:
    return (*(found.place[name] for name in _PATTERN), found.searched)


def _difference(first: Crossover, second: Crossover, notes: Sequence[str]) -> CrossoverDifference:
    place = {name: first.place[name] for name in PLACE}
    one, other = span(first.estimate), span(second.estimate)
    if one is None or other is None:
        return CrossoverDifference(place, first, second, None, None, "not decided", tuple(notes))
    low, high = other[0] - one[1], other[1] - one[0]
    apart = low > 0 or high < 0
    verdict: Verdict = "differs" if apart else "same within noise"
    return CrossoverDifference(place, first, second, low, high, verdict, tuple(notes))


def _notes(first: Machine, second: Machine, one: Crossover, other: Crossover) -> list[str] | None:
    """Return what differs but for the machine; None where the workloads are not alike."""
    mine, theirs = _workloads(first, one), _workloads(second, other)
    if not mine.keys() & theirs.keys():
        return None
    notes = []
    if any(mine[recipe] != theirs[recipe] for recipe in mine.keys() & theirs.keys()):
        notes.append("same recipe, other weights")
    if one.place["threads"] != other.place["threads"]:
        notes.append(f"{one.place['threads']} threads against {other.place['threads']}")
    if one.searched and not (one.confirmed and other.confirmed):
        notes.append("not confirmed by later visits")
    return notes


def _workloads(machine: Machine, found: Crossover) -> dict[str, str]:
    """Return the workloads of a place by their recipe, at every sparsity of the sweep."""
    rows = machine.rows
    for name in (*PLACE, "threads"):
        rows = rows[rows[name] == found.place[name]]
    return {machine.recipes[each]: each for each in rows["workload_id"].unique()}
