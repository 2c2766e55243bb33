"""Speedup over sparsity: a panel per layer and batch size, a line per kernel."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from crossover.bench.records.rows import KernelRecord
from crossover.reports.plots.figure import FAINT, INK, legend, style, svg

_TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
# Inches that four kernels beside each other take in a legend.
_LEGEND_WIDTH = 9.0


def draw(rows: pd.DataFrame, kernels: Mapping[str, KernelRecord], title: str) -> str:
    """Return an SVG of speedup over sparsity: a row a layer, a column a batch size.

    ``rows`` are measured rows of one network, pass, device and number of threads, those with a
    speedup. Bands are the intervals; the line at 1 is the fastest dense kernel of the device.
    """
    layers = rows.sort_values("layer_index")["layer"].unique()
    batches = sorted(rows["batch"].unique())
    with style():
        # Margins are fixed: to have them found costs more than all else.
        width, height = max(_LEGEND_WIDTH, 3.3 * len(batches) + 0.6), 2.3 * len(layers) + 1.1
        figure, axes = plt.subplots(
            len(layers), len(batches), sharex=True, sharey="row", squeeze=False,
            figsize=(width, height), gridspec_kw={
                "left": 0.75 / width, "right": 1 - 0.1 / width, "bottom": 0.45 / height,
                "top": 1 - 1.15 / height, "wspace": 0.08, "hspace": 0.3,
            },
        )  # fmt: skip
        for i, layer in enumerate(layers):
            for j, batch in enumerate(batches):
                part = rows[(rows["layer"] == layer) & (rows["batch"] == batch)]
                _draw(axes[i][j], part, kernels)
                shape = f" {part.iloc[0].m} × {part.iloc[0].k}" if len(part) else ""
                axes[i][j].set_title(f"{layer}{shape}, batch {batch}", fontsize=9, loc="left")
            axes[i][0].set_ylabel("speedup")
        for axis in axes[-1]:
            axis.set_xlabel("sparsity of the layer, %")
        legend(figure, [axis for line in axes for axis in line], title)
        return svg(figure)


def _draw(axis: Axes, rows: pd.DataFrame, kernels: Mapping[str, KernelRecord]) -> None:
    axis.axhline(1.0, color=INK, linewidth=0.9)
    axis.set_yscale("log", base=2)
    for name, group in rows.groupby("kernel", sort=True):
        line, look = group.sort_values("sparsity"), kernels[str(name)]
        x = _stretched(line["sparsity"].to_numpy(float))
        axis.plot(
            x, line["speedup"], color=look.colour, marker=look.marker, linestyle=look.dash,
            markersize=2.5, linewidth=1.3, label=look.title,
        )  # fmt: skip
        axis.fill_between(
            x, line["speedup_low"], line["speedup_high"], color=look.colour, alpha=0.18
        )
    axis.set_xticks(_stretched(np.array(_TICKS)), [f"{100 * tick:g}" for tick in _TICKS])
    axis.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(_as_factor))
    axis.grid(axis="y", color=FAINT, linewidth=0.7)


def _as_factor(value: float, _: int) -> str:
    """Return a speedup as a tick shows it: 4×, or 1/4×."""
    return f"{value:g}×" if value >= 1 else f"1/{1 / value:g}×"


def _stretched(sparsity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where sparsities lie on an axis on which each halving of the density is a step."""
    return np.asarray(-np.log2(1.0 - np.minimum(sparsity, 0.9999)))
