"""What a headline sparsity leaves: nonzeros by layer, and each layer's own sparsity."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from crossover.reports.plots.figure import FAINT, INK, LINE, style, svg
from crossover.reports.plots.sweep.breakdown import LAYERS
from crossover.reports.tables import percent

_WIDTH, _HEIGHT = 9.5, 3.2
_MARKERS = "osD^vPX*"


def draw(layers: pd.DataFrame, title: str) -> str:
    """Return an SVG of two panels over the sparsity of the network.

    ``layers`` has a row per sparsity and layer: ``network_sparsity``, ``layer``, ``parameters``,
    ``nnz`` and ``sparsity`` (shares of 1).
    """
    names = list(dict.fromkeys(layers["layer"]))
    with style():
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(_WIDTH, _HEIGHT),
            gridspec_kw={"left": 0.8 / _WIDTH, "right": 1 - 0.2 / _WIDTH, "wspace": 0.22,
                         "bottom": 0.5 / _HEIGHT, "top": 1 - 0.85 / _HEIGHT},
        )  # fmt: skip
        _nonzeros(left, layers, names)
        _sparsities(right, layers, names)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="upper left", ncols=6, frameon=False, fontsize=8.5,
            title=title, alignment="left",
        )  # fmt: skip
        return svg(figure)


def _nonzeros(axis: Axes, layers: pd.DataFrame, names: list[str]) -> None:
    shares = sorted(layers["network_sparsity"].unique())
    bottom = dict.fromkeys(shares, 0.0)
    for name in names:
        part = layers[layers["layer"] == name].set_index("network_sparsity")["nnz"]
        heights = [float(part.get(share, 0)) for share in shares]
        colour, hatch = LAYERS[names.index(name) % len(LAYERS)]
        axis.bar(
            range(len(shares)), heights, 0.7, bottom=list(bottom.values()), color=colour,
            hatch=hatch, edgecolor="#f4f4f4", linewidth=0.5, label=name,
        )  # fmt: skip
        bottom = {s: bottom[s] + h for s, h in zip(shares, heights, strict=True)}
    whole = layers.groupby("network_sparsity")["parameters"].sum()
    for x, share in enumerate(shares):
        fewer = whole[share] / bottom[share] if bottom[share] else float("inf")
        text = f"{bottom[share]:,.0f}\n{fewer:.1f} × fewer" if share else f"{bottom[share]:,.0f}"
        axis.text(x, bottom[share], text, ha="center", va="bottom", fontsize=7, color=INK)
    axis.set_xticks(range(len(shares)), [percent(share) for share in shares])
    axis.set_ylim(0, max(bottom.values()) * 1.15)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value / 1000:,.0f} k")
    axis.set_xlabel("sparsity of the network")
    axis.set_ylabel("nonzero weights")
    axis.grid(axis="y", color=FAINT, linewidth=0.7)
    axis.set_axisbelow(True)


def _sparsities(axis: Axes, layers: pd.DataFrame, names: list[str]) -> None:
    axis.plot([0, 100], [0, 100], color=LINE, linewidth=0.9, linestyle="--")
    axis.text(60, 54, "the headline", color=INK, fontsize=7.5, va="top")
    for number, name in enumerate(names):
        part = layers[layers["layer"] == name].sort_values("network_sparsity")
        colour, _ = LAYERS[number % len(LAYERS)]
        axis.plot(
            100 * part["network_sparsity"], 100 * part["sparsity"], color=colour,
            marker=_MARKERS[number % len(_MARKERS)], markersize=4.5, linewidth=1.2,
            markeredgecolor=INK, markeredgewidth=0.4,
        )  # fmt: skip
        last = part.iloc[-1]
        axis.annotate(
            name, (100 * last.network_sparsity, 100 * last.sparsity), xytext=(6, -2),
            textcoords="offset points", fontsize=7.5, color=INK,
        )  # fmt: skip
    axis.set_xlim(0, 112)
    axis.set_ylim(0, 104)
    axis.set_xlabel("sparsity of the network, %")
    axis.set_ylabel("of each layer, %")
    axis.grid(color=FAINT, linewidth=0.7)
