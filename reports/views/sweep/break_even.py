"""Break-even: how many calls repay the conversion of W, over sparsity."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from crossover.reports.plots import panels
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.panels import Lines, in_view
from crossover.reports.results import Results
from crossover.reports.sections import PASS_TITLES, Part
from crossover.reports.tables import count

_TITLE = "Break-even"
_COLUMNS = [
    "layer", "m", "k", "batch", "sparsity", "kernel", "break_even_calls", "prepare_s", "time_s",
    "baseline_s", "baseline", "warnings",
]  # fmt: skip


def part(results: Results, rows: pd.DataFrame) -> Part | None:
    """Return a plot per network and setting, forward; None where no kernel was ever faster."""
    if rows.empty:
        return None
    forward = rows[(rows["computes"] == "forward") & rows["sparse"] & rows["speedup"].notna()]
    known = forward[np.isfinite(forward["break_even_calls"].astype(float))]
    if known.empty:
        return None
    keys = ["network", "device", "threads", "caches"]
    return Part(
        _TITLE,
        [
            "Calls after which the time of converting W to the operand is repaid by faster calls. "
            "Where a kernel is not faster it never is, and has no point."
        ],
        [_plot(results, key, group) for key, group in known.groupby(keys, sort=False)],
        folded=True,
    )


def _plot(results: Results, key: tuple[object, ...], rows: pd.DataFrame) -> Plot:
    name, device, _, caches = key
    title = f"{name}, {str(device).upper()}, {PASS_TITLES['forward']}, {caches}: calls that repay"
    title += " the conversion"
    marked_by = "warnings", "baseline_warnings"
    lines = Lines(
        "break_even_calls", "calls", _write, empty="never faster", equal=None, marked_by=marked_by
    )
    return Plot(
        title,
        file_name("break-even", *key),
        partial(panels.draw, in_view(rows), results.kernels, title, lines),
        rows[_COLUMNS],
        f"{title}, over sparsity, by layer, batch and kernel.",
    )


def _write(value: float) -> str:
    return count(value) if value >= 1 else f"{value:g}"
