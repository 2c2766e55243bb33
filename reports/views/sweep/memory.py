"""Memory over sparsity: bytes of each kernel's operand against those of the dense weight."""

from __future__ import annotations

from functools import partial

import pandas as pd

from crossover.bench.statistics.rates import line_through, memory_crossover
from crossover.reports.plots import panels
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.panels import MOST_LAYERS, Lines
from crossover.reports.results import Results
from crossover.reports.sections import Part
from crossover.reports.tables import Table, percent

_TITLE = "Memory"
_SAME = ["layer", "layer_index", "m", "k", "sparsity", "kernel"]


def part(results: Results, rows: pd.DataFrame) -> Part | None:
    """Return a plot per network and device, and from where on each operand is the smaller."""
    if rows.empty:
        return None
    known = rows[rows["nbytes"].notna() & (rows["computes"] == "forward") & rows["sparse"]]
    known = known.assign(share=known["nbytes"] / known["dense_bytes"])
    if known.empty:
        return None
    groups = list(known.groupby(["network", "device"], sort=False))
    return Part(
        _TITLE,
        [
            "Bytes of the operand that each kernel computes with, over the 4 bytes a weight of the "
            "dense one; below 1 it is smaller. An operand may hold more than its format needs: "
            "what makes it fast."
        ],
        [_plot(results, f"{name}", f"{device}", group) for (name, device), group in groups],
        [_table(known)],
        folded=True,
    )


def _plot(results: Results, name: str, device: str, rows: pd.DataFrame) -> Plot:
    data = rows.groupby([*_SAME, "batch"], as_index=False)[["nbytes", "dense_bytes", "share"]].max()
    sizes = (data["m"] * data["k"]).groupby(data["layer"]).max().sort_values(ascending=False)
    # An operand depends on the batch at most by a choice of the kernel's: one panel per layer.
    usual = data["batch"] == sorted(data["batch"].unique())[data["batch"].nunique() // 2]
    shown = data[usual & data["layer"].isin(sizes.index[:MOST_LAYERS])]
    title = f"{name}, {device.upper()}: bytes of the operand over those of the dense weight"
    lines = Lines("share", "bytes, of dense", panels.as_factor)
    return Plot(
        title,
        file_name("memory", name, device),
        partial(panels.draw, shown, results.kernels, title, lines),
        data,
        f"{title}, over sparsity, by layer and kernel.",
    )


def _table(rows: pd.DataFrame) -> Table:
    """Return the memory crossover of each kernel, on the line through its extreme sparsities."""
    lines: dict[str, dict[str, str]] = {}
    narrow = rows[["kernel", "layer_index", "layer", "sparsity", "nbytes", "dense_bytes"]]
    by_layer = narrow.drop_duplicates().groupby(["kernel", "layer_index", "layer"], sort=True)
    for (kernel, _, layer), group in by_layer:
        ends = group.sort_values("sparsity").iloc[[0, -1]]
        (low, at_low), (high, at_high) = (
            (float(row.sparsity), float(row.nbytes)) for row in ends.itertuples()
        )
        if low == high:
            continue
        line = line_through((low, at_low), (high, at_high))
        at = memory_crossover(line, float(ends["dense_bytes"].iloc[0]))
        line_of = lines.setdefault(f"{kernel}", {"kernel": f"{kernel}"})
        line_of[f"{layer}"] = "never" if at is None else f"from {percent(at)}"
    return Table.of("Smaller than dense", list(lines.values()))
