"""Test error against a network's time: a line per batch size, a point per sparsity."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd

from crossover.reports.plots.figure import FAINT, SOFT, style, svg
from crossover.reports.plots.labels import annotate
from crossover.reports.tables import percent, seconds

# Of batch sizes, in their order.
_LOOKS = (
    ("#1a6fe6", "o", "-"), ("#cf2a1a", "s", "--"), ("#4d8f3f", "^", "-."), ("#ba2f9f", "D", ":"),
    ("#d3850f", "v", "-"), ("#70655f", "P", "--"),
)  # fmt: skip
_PANEL, _HEIGHT = 3.3, 3.0


def draw(points: pd.DataFrame, title: str) -> str:
    """Return an SVG with a panel per batch size: error in percent over time, lower left is better.

    ``points`` has a row per batch and sparsity: ``batch``, ``network_sparsity``, ``time_s``,
    ``error`` (share of 1), and ``dense`` (whether nothing was pruned).
    """
    batches = sorted(points["batch"].unique())
    width = max(6.5, _PANEL * len(batches) + 0.7)
    with style():
        figure, axes = plt.subplots(
            1, len(batches), squeeze=False, sharey=True, figsize=(width, _HEIGHT),
            gridspec_kw={"left": 0.65 / width, "right": 1 - 0.15 / width, "bottom": 0.5 / _HEIGHT,
                         "top": 1 - 0.65 / _HEIGHT, "wspace": 0.08},
        )  # fmt: skip
        figure.text(0.1 / width, 1 - 0.2 / _HEIGHT, title, fontsize=9.5, va="center")
        for number, (axis, batch) in enumerate(zip(axes[0], batches, strict=True)):
            colour, marker, dash = _LOOKS[number % len(_LOOKS)]
            there = points[points["batch"] == batch].sort_values("network_sparsity")
            axis.plot(
                there["time_s"], 100 * there["error"], color=colour, marker=marker,
                linestyle=dash, linewidth=1, markersize=5,
            )  # fmt: skip
            axis.set_xscale("log")
            low, high = there["time_s"].min(), there["time_s"].max()
            axis.set_xlim(low / 1.25, high * 1.7)
            axis.set_xticks(_ticks(low, high), minor=False)
            axis.set_xticks([], minor=True)
            axis.xaxis.set_major_formatter(lambda value, _: seconds(value))
            axis.margins(y=0.18)
            annotate(
                axis,
                [
                    ("dense" if row["dense"] else percent(row["network_sparsity"]), row["time_s"],
                     100 * row["error"])
                    for row in there.to_dict("records")
                ],
            )  # fmt: skip
            axis.grid(color=FAINT, linewidth=0.7)
            axis.set_title(f"batch {batch}", fontsize=9, loc="left")
            axis.set_xlabel("all layers, fastest kernels", color=SOFT)
        axes[0, 0].set_ylabel("test error, %")
        return svg(figure)


def _ticks(low: float, high: float) -> list[float]:
    """Return round times between ``low`` and ``high``, at most about four."""
    steps = [m * 10.0**p for p in range(-9, 3) for m in (1, 2, 5)]
    inside = [step for step in steps if low / 1.2 <= step <= high * 1.5]
    return inside[:: max(1, -(-len(inside) // 4))]
