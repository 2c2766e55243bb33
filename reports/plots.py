"""The plots of a report, as SVG text."""

from __future__ import annotations

import io
import re

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from crossover.reports import metrics

_TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
# Okabe and Ito's colours, which stay apart for colour-blind readers.
_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#000000")
# For kernels beyond the colours there are.
_MARKERS = ("o", "^", "s")
_MASKED_COLOUR = "#8a929b"
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "crossover",
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa3ad",
    "axes.labelcolor": "#3a4450",
    "xtick.color": "#3a4450",
    "ytick.color": "#3a4450",
}


def kernel_looks(kernels: list[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a marker per kernel, the same in every plot of a report."""
    looks = [(colour, marker) for marker in _MARKERS for colour in _PALETTE]
    return {name: looks[i % len(looks)] for i, name in enumerate(sorted(kernels))}


def speedup_over_sparsity(rows: pd.DataFrame, title: str) -> str:
    """Return an SVG of speedup over sparsity: a row a layer, a column a batch size.

    ``rows`` are measured rows of one network, pass, device and number of threads. Bands are the
    intervals; the line at 1 is the fastest dense kernel of the device.
    """
    shown = rows[(rows["format"] != metrics.DENSE) & rows["speedup"].notna()]
    layers = shown.sort_values("layer_index")["layer"].unique()
    batches = sorted(shown["batch"].unique())
    sparse = shown[~shown["format"].isin(metrics.DENSE_FORMATS)]
    looks = kernel_looks(list(sparse["kernel"].unique()))
    with plt.rc_context(_STYLE):
        # Margins are fixed: to have them found costs more than all else.
        width, height = 3.3 * len(batches) + 0.6, 2.3 * len(layers) + 1.1
        figure, axes = plt.subplots(
            len(layers), len(batches), sharex=True, sharey="row", squeeze=False,
            figsize=(width, height), gridspec_kw={
                "left": 0.75 / width, "right": 1 - 0.1 / width, "bottom": 0.45 / height,
                "top": 1 - 1.15 / height, "wspace": 0.08, "hspace": 0.3,
            },
        )  # fmt: skip
        for i, layer in enumerate(layers):
            for j, batch in enumerate(batches):
                part = shown[(shown["layer"] == layer) & (shown["batch"] == batch)]
                _draw(axes[i][j], part, looks)
                first = part.iloc[0] if len(part) else None
                shape = "" if first is None else f" {first.m} × {first.k}"
                axes[i][j].set_title(f"{layer}{shape}, batch {batch}", fontsize=9, loc="left")
            axes[i][0].set_ylabel("speedup")
        for axis in axes[-1]:
            axis.set_xlabel("sparsity of the layer, %")
        _legend(figure, axes[0][0], title)
        return _svg(figure)


def _draw(axis: Axes, rows: pd.DataFrame, looks: dict[str, tuple[str, str]]) -> None:
    axis.axhline(1.0, color="#20262d", linewidth=0.9)
    axis.set_yscale("log", base=2)
    for kernel, group in rows.groupby("kernel", sort=True):
        line = group.sort_values("sparsity")
        x = _stretched(line["sparsity"].to_numpy(float))
        masked = line["format"].iloc[0] == "masked dense"
        colour, marker = (_MASKED_COLOUR, "o") if masked else looks[str(kernel)]
        style = "-" if not masked else "--" if str(kernel).endswith("call") else ":"
        axis.plot(
            x, line["speedup"], color=colour, marker=marker, markersize=2.5, linewidth=1.3,
            label=line["title"].iloc[0], linestyle=style,
        )  # fmt: skip
        axis.fill_between(x, line["speedup_low"], line["speedup_high"], color=colour, alpha=0.18)
    axis.set_xticks(_stretched(np.array(_TICKS)), [f"{100 * tick:g}" for tick in _TICKS])
    axis.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(_as_factor))
    axis.grid(axis="y", color="#e3e7eb", linewidth=0.7)


def _as_factor(value: float, _: int) -> str:
    """Return a speedup as a tick shows it: 4×, or 1/4×."""
    return f"{value:g}×" if value >= 1 else f"1/{1 / value:g}×"


def _stretched(sparsity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where sparsities lie on an axis on which each halving of the density is a step."""
    return np.asarray(-np.log2(1.0 - np.minimum(sparsity, 0.9999)))


def _legend(figure: Figure, axis: Axes, title: str) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="upper left", ncols=4, frameon=False, fontsize=8.5,
        title=title, alignment="left",
    )  # fmt: skip


def _svg(figure: Figure) -> str:
    """Return the figure as an ``<svg>`` element, and close it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, facecolor="white")
    plt.close(figure)
    return re.sub(r"^.*?(?=<svg)", "", buffer.getvalue(), flags=re.DOTALL)
