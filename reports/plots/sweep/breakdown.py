"""Time per layer as stacked bars: the fastest dense kernels beside the fastest of all."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from crossover.reports.plots.figure import INK, SOFT, style, svg
from crossover.reports.tables import seconds

# Of layers, in their order: lightness and hatch tell them apart without colour.
LAYERS = (
    ("#1b4f86", ""), ("#7aa6d6", "///"), ("#d9a441", ""), ("#8c5a1e", "\\\\\\"),
    ("#9aa0a6", ""), ("#5f7f5f", "..."), ("#c9b7d6", "xxx"), ("#5b3a66", ""),
)  # fmt: skip
_PANEL, _WIDTH = 1.25, 9.5


def draw(bars: pd.DataFrame, title: str) -> str:
    """Return an SVG with a panel per batch size, and in it a bar per choice of kernels.

    ``bars`` has a row per batch, choice and layer, in the order of layers: ``batch``, ``choice``,
    ``layer``, ``time_s``, and ``total`` (what stands behind the bar).
    """
    batches = sorted(bars["batch"].unique())
    layers = list(dict.fromkeys(bars["layer"]))
    height = _PANEL * len(batches) + 0.95
    with style():
        figure, axes = plt.subplots(
            len(batches), 1, squeeze=False, figsize=(_WIDTH, height),
            gridspec_kw={"left": 1.45 / _WIDTH, "right": 1 - 1.75 / _WIDTH, "hspace": 0.75,
                         "bottom": 0.35 / height, "top": 1 - 0.95 / height},
        )  # fmt: skip
        for axis, batch in zip(axes[:, 0], batches, strict=True):
            _panel(axis, bars[bars["batch"] == batch], layers)
            axis.set_title(f"batch {batch}", fontsize=9, loc="left", pad=3)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        known = dict(zip(labels, handles, strict=True))
        figure.legend(
            known.values(), known, loc="upper left", ncols=6, frameon=False, title=title,
            alignment="left", fontsize=8.5,
        )  # fmt: skip
        return svg(figure)


def _panel(axis: Axes, bars: pd.DataFrame, layers: Sequence[str]) -> None:
    choices = list(dict.fromkeys(bars["choice"]))
    for y, choice in enumerate(choices):
        left = 0.0
        of_choice = bars[bars["choice"] == choice]
        for row in of_choice.to_dict("records"):
            colour, hatch = LAYERS[layers.index(row["layer"]) % len(LAYERS)]
            axis.barh(
                y, row["time_s"], left=left, height=0.66, color=colour, hatch=hatch,
                edgecolor="#f4f4f4", linewidth=0.6, label=row["layer"],
            )  # fmt: skip
            left += row["time_s"]
        axis.text(left, y, f"  {of_choice['total'].iloc[0]}", va="center", color=INK, fontsize=8.5)
    axis.set_yticks(range(len(choices)), choices)
    axis.set_ylim(len(choices) - 0.5, -0.5)
    axis.xaxis.set_major_formatter(lambda value, _: seconds(value) if value else "0")
    axis.locator_params(axis="x", nbins=5)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=8, labelcolor=SOFT)
