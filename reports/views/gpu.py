"""On a GPU a call has three times: the device's own, as the host sees it, and in a graph."""

from __future__ import annotations

import pandas as pd

from crossover.reports.grids import Column, Grid
from crossover.reports.sections import Part
from crossover.reports.tables import times

_TITLE = "On the GPU"


def part(rows: pd.DataFrame) -> Part | None:
    """Return what the host adds to each call; None where nothing was measured on a GPU."""
    if rows.empty or not rows["call_s"].notna().any():
        return None
    known = rows[rows["call_s"].notna()]
    known = known.assign(host=known["call_s"] / known["time_s"])
    small = known.loc[known["time_s"].idxmin()]
    return Part(
        _TITLE,
        [
            "Speedups are of the device's own time. A host that launches each call by itself waits "
            f"{times(known['host'].median())} times as long in the median; a replayed CUDA graph "
            f"saves the launches. The shortest kernel ({small['kernel']} on {small['layer']}) is "
            f"{times(small['host'])} times as long for the host."
        ],
        grids=[Grid("Times on a GPU", known, _COLUMNS)],
        folded=True,
    )


_COLUMNS = [
    Column("layer", "layer", filtered=True),
    Column("kernel", "kernel", filtered=True),
    Column("network", "network", filtered=True),
    Column("computes", "pass", filtered=True),
    Column("batch", "batch", "count", filtered=True),
    Column("sparsity", "sparsity", "percent"),
    Column("caches", "caches", filtered=True),
    Column("time_s", "on the device", "seconds", "the device's own time", ("warnings",)),
    Column("call_s", "call from the host", "seconds", "time of a call as the host sees it"),
    Column("replay_s", "in a CUDA graph", "seconds", "time of a call in a replayed graph"),
    Column("host", "host over device", "times"),
    Column("speedup", "speedup", "times", "of the device's time", ("warnings",)),
]
