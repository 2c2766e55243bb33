"""The roofline: the rate of useful work over operations per byte, under measured ceilings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from crossover.bench.records.rows import KernelRecord
from crossover.reports.plots.figure import FAINT, INK, SOFT, style, svg

_PANEL, _HEIGHT = 3.3, 3.6


def draw(
    rows: pd.DataFrame,
    kernels: Mapping[str, KernelRecord],
    title: str,
    rates: Mapping[str, float],
    bandwidths: Mapping[str, float],
) -> str:
    """Return an SVG with a panel per batch size.

    ``rows`` has ``batch``, ``kernel``, ``layer``, ``intensity`` (operations a byte), and ``gflops``
    (GFLOP/s, of all work of a kernel that stores zeros). ``rates`` are ceilings in GFLOP/s by name,
    the highest first; ``bandwidths`` are in GB/s by name, the highest first.
    """
    batches = sorted(rows["batch"].unique())
    names = sorted(rows["kernel"].unique())
    layers = list(dict.fromkeys(rows["layer"]))
    above = 0.55 + 0.19 * -(-len(names) // 5)
    width, height = max(9.5, _PANEL * len(batches) + 0.8), _HEIGHT + above
    with style():
        figure, axes = plt.subplots(
            1, len(batches), squeeze=False, sharey=True, figsize=(width, height),
            gridspec_kw={"left": 0.7 / width, "right": 1 - 0.15 / width, "wspace": 0.06,
                         "bottom": 0.45 / height, "top": 1 - (above + 0.15) / height},
        )  # fmt: skip
        low, high = rows["intensity"].min() / 2, rows["intensity"].max() * 2.5
        for axis, batch in zip(axes[0], batches, strict=True):
            _ceilings(axis, (low, high), rates, bandwidths)
            _points(axis, rows[rows["batch"] == batch], kernels, layers)
            axis.set_title(f"batch {batch}", fontsize=9, loc="left")
            axis.set_xlabel("operations per byte")
            axis.grid(color=FAINT, linewidth=0.6)
            axis.set_xlim(low, high)
        axes[0, 0].set_ylim(rows["gflops"].min() / 2, max(rates.values()) * 1.8)
        axes[0, 0].set_ylabel("GFLOP/s")
        handles = [
            Line2D([], [], color=kernels[n].colour, marker=kernels[n].marker, markersize=5,
                   linestyle=kernels[n].dash, linewidth=0.8, label=n)
            for n in names
        ]  # fmt: skip
        figure.legend(
            handles=handles, loc="upper left", ncols=5, frameon=False, fontsize=8, title=title,
            alignment="left", title_fontsize=9.5,
        )  # fmt: skip
        return svg(figure)


def _ceilings(
    axis: Axes,
    span: tuple[float, float],
    rates: Mapping[str, float],
    bandwidths: Mapping[str, float],
) -> None:
    x = np.geomspace(*span, 60)
    top = max(rates.values())
    for number, (name, gbs) in enumerate(bandwidths.items()):
        y = np.minimum(x * gbs, top)
        axis.plot(x, y, color=SOFT, linewidth=0.9, linestyle=("-", "--", "-.", ":")[number % 4])
        # Beside its own line, low enough to stand clear of the points.
        at = span[0] * 1.15
        axis.text(at, at * gbs * 1.1, name, fontsize=7, color=SOFT, va="bottom")
    for number, (name, rate) in enumerate(rates.items()):
        axis.axhline(rate, color=INK, linewidth=0.9)
        side = "bottom" if number == 0 else "top"
        axis.text(span[1], rate, f"{name} ", fontsize=7, color=INK, ha="right", va=side)
    axis.set_xscale("log")
    axis.set_yscale("log")
    for each in (axis.xaxis, axis.yaxis):
        each.set_major_formatter(lambda value, _: f"{value:g}")


def _points(
    axis: Axes, rows: pd.DataFrame, kernels: Mapping[str, KernelRecord], layers: Sequence[str]
) -> None:
    sizes = np.linspace(62, 16, len(layers)) if len(layers) > 1 else np.array([40.0])
    for name, group in rows.groupby("kernel", sort=True):
        look = kernels[str(name)]
        area = [sizes[layers.index(layer)] for layer in group["layer"]]
        face = "none" if look.stores_zeros else look.colour
        # The dash tells kernels of one family apart.
        axis.plot(
            group["intensity"], group["gflops"], color=look.colour, linestyle=look.dash,
            linewidth=0.8, alpha=0.8,
        )  # fmt: skip
        axis.scatter(
            group["intensity"], group["gflops"], s=area, marker=look.marker, facecolors=face,
            edgecolors=look.colour, linewidths=1, zorder=3,
        )  # fmt: skip
