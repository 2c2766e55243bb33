"""Accuracy against latency: which pruned network is the fastest within a loss of accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import pandas as pd

from crossover.reports import networks
from crossover.reports.networks import NetworkPoint
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.sweep import accuracy as plot
from crossover.reports.sections import Part
from crossover.reports.tables import Table, accuracy, interval, marked, percent, seconds

_TITLE = "Accuracy against latency"
#: Of the test set, as shares of 1.
_LOSSES = (0.0, 0.001, 0.0025, 0.005, 0.01)
_TOLD = 0.005
_SAME = "network", "threads", "caches", "device"


def part(points: Sequence[NetworkPoint]) -> Part | None:
    """Return a plot per network, and the fastest point within each loss; None without a total."""
    forward = [e for e in points if e.place["computes"] == "forward" and not math.isnan(e.error)]
    places = dict.fromkeys(tuple(each.place[n] for n in _SAME) for each in forward)
    groups = [networks.at(forward, **dict(zip(_SAME, p, strict=True))) for p in places]
    known = [group for group in groups if len({e.place["network_sparsity"] for e in group}) > 1]
    if not known:
        return None
    return Part(
        _TITLE,
        [sentence for group in known for sentence in _sentences(group)],
        [_plot(group) for group in known],
        [_table(group) for group in known],
    )


def _batches(group: Sequence[NetworkPoint]) -> list[int]:
    return sorted({each.place["batch"] for each in group})


def _best(group: Sequence[NetworkPoint], batch: int, loss: float) -> NetworkPoint | None:
    """Return the fastest point whose error exceeds that of the dense network by ``loss`` at most.

    A loss of what was not measured is unknown: then there is none.
    """
    dense = networks.unpruned_error(group, group[0].place["network"])
    if dense is None:
        return None
    # One image more or less is rounding of the stored share, not a loss.
    there = [e for e in networks.at(group, batch=batch) if e.error <= dense + loss + 1e-9]
    return min(there, key=lambda each: each.time_s, default=None)


def _says(found: NetworkPoint | None) -> str:
    if found is None:
        return ""
    to = f"pruned to {percent(found.place['network_sparsity'])}"
    return f"{to if found.pruned_here else 'not pruned'}, {seconds(found.time_s)}"


def _sentences(group: Sequence[NetworkPoint]) -> list[str]:
    name = group[0].place["network"]
    found = [(batch, _best(group, batch, _TOLD)) for batch in _batches(group)]
    told = [
        f"batch {batch}: {_says(each)} with {accuracy(each.error)} error, "
        f"{marked(f'{interval(each.speedup)} ×', each.warnings)} as fast as dense"
        for batch, each in found
        if each is not None
    ]
    if not told:
        return [f"{name} was not measured dense: what pruning costs is not known."]
    return [f"{name}, the fastest within {100 * _TOLD:g} points of the dense error: "
            f"{'; '.join(told)}."]  # fmt: skip


def _table(group: Sequence[NetworkPoint]) -> Table:
    lines = [
        {"loss, at most": f"{100 * loss:g} points"}
        | {f"batch {b}": _says(_best(group, b, loss)) for b in _batches(group)}
        for loss in _LOSSES
    ]
    return Table.of("The fastest within a loss of accuracy", lines)


def _plot(group: Sequence[NetworkPoint]) -> Plot:
    it = group[0].place
    data = pd.DataFrame(
        [
            {
                "batch": each.place["batch"],
                "network_sparsity": each.place["network_sparsity"],
                "time_s": each.time_s,
                "error": each.error,
                "dense": not each.pruned_here,
                "speedup": each.speedup.median,
                "speedup_low": each.speedup.low,
                "speedup_high": each.speedup.high,
            }
            for each in group
        ]
    )
    title = f"{it['network']}: test error against time, lower left is better"
    said = " ".join(_sentences(group))
    file = file_name("accuracy", *(it[name] for name in _SAME))
    return Plot(title, file, partial(plot.draw, data, title), data, f"{title}. {said}")
