"""Hot against cold: two different measurements of the same problem, side by side."""

from __future__ import annotations

import pandas as pd

from crossover.reports.grids import Column, Grid
from crossover.reports.sections import Part
from crossover.reports.tables import times

_TITLE = "Hot against cold"
_SAME = ["workload_id", "threads", "kernel"]


def part(rows: pd.DataFrame) -> Part | None:
    """Return what emptied caches cost each kernel; None where not both were measured."""
    if rows.empty:
        return None
    hot, cold = (rows[rows["caches"] == caches] for caches in ("hot", "cold"))
    figures = [*_SAME, "time_s", "speedup", "speedup_low", "speedup_high", "warnings"]
    both = hot.merge(cold[figures], on=_SAME, suffixes=("", "_cold"))
    if both.empty:
        return None
    both = both.assign(slower=both["time_s_cold"] / both["time_s"])
    middle = times(both["slower"].median())
    return Part(
        _TITLE,
        [
            "Hot: operands stay in the caches between calls. Cold: the caches of all cores are "
            f"emptied before each call, which takes {middle} times as long in the median of "
            f"{len(both)} kernels and problems. They are two measurements, and never mixed."
        ],
        grids=[Grid("Hot against cold", both, _COLUMNS, order="-slower")],
        folded=True,
    )


_COLUMNS = [
    Column("layer", "layer", filtered=True),
    Column("kernel", "kernel", filtered=True),
    Column("network", "network", filtered=True),
    Column("computes", "pass", filtered=True),
    Column("batch", "batch", "count", filtered=True),
    Column("sparsity", "sparsity", "percent"),
    Column("time_s", "hot", "seconds", "time of a call, hot", ("warnings",)),
    Column("time_s_cold", "cold", "seconds", "time of a call, cold", ("warnings_cold",)),
    Column("slower", "cold over hot", "times", "", ("warnings", "warnings_cold")),
    Column("speedup", "speedup, hot", "times", "over the fastest dense kernel", ("warnings",)),
    Column("speedup_cold", "speedup, cold", "times", "", ("warnings_cold",)),
]
