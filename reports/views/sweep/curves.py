"""Speedup over sparsity, kernel by kernel, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd

from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.sweep import speedup
from crossover.reports.results import Results
from crossover.reports.sections import PASS_TITLES, Part

# What a plot of speedups shows, as its data.
_PLOTTED = [
    "layer", "m", "k", "batch", "sparsity", "nnz", "kernel", "speedup", "speedup_low",
    "speedup_high", "baseline", "warnings", "baseline_warnings",
]  # fmt: skip


def part(results: Results, rows: pd.DataFrame) -> Part | None:
    """Return the speedups of the pass that is asked for most."""
    return Part("Speedup over sparsity", plots=list(_plots(results, _of(rows, forward=True))))


def other_passes(results: Results, rows: pd.DataFrame) -> Part | None:
    """Return those of the other passes, folded."""
    plots = list(_plots(results, _of(rows, forward=False)))
    return Part("Speedup over sparsity, other passes", plots=plots, folded=True)


def _of(rows: pd.DataFrame, forward: bool) -> pd.DataFrame:
    return rows[(rows["computes"] == "forward") == forward] if len(rows) else rows


def _plots(results: Results, rows: pd.DataFrame) -> Iterator[Plot]:
    """Yield a plot per network, pass, device, number of threads, and caches."""
    if rows.empty:
        return
    shown = rows[(rows["role"] != "dense") & rows["speedup"].notna()]
    keys = ["network", "device", "threads", "caches", "computes"]
    for (name, device, threads, caches, computes), group in shown.groupby(keys, sort=False):
        where = f"CPU, {threads} threads" if device == "cpu" else "GPU"
        title = f"{name}, {PASS_TITLES[computes]}, {where}, {caches}"
        yield Plot(
            title,
            file_name("speedup", name, device, threads, caches, computes),
            partial(speedup.draw, group, results.kernels, title),
            group[_PLOTTED],
            f"{title}: speedup of each kernel over the fastest dense one, over sparsity, "
            "with intervals.",
        )
