"""Lines over sparsity in panels: a row per layer, a column per batch size, a line per kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from crossover.bench.records.rows import KernelRecord
from crossover.reports.plots.figure import FAINT, INK, SOFT, style, svg

_TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
# Inches: of a panel, and of the legend's four columns.
_PANEL, _HEIGHT, _LEGEND_WIDTH, _LEGEND_LINE = 3.0, 1.95, 9.5, 0.19
_MARK_SIZE = 4
#: More lines in a panel nobody tells apart, and more panels nobody looks at.
MOST_SPARSE, MOST_MASKED, MOST_LAYERS, MOST_BATCHES = 6, 1, 4, 3


@dataclass(frozen=True)
class Band:
    """A range of sparsity that a panel shades, with its text."""

    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Lines:
    """What is drawn over sparsity."""

    #: The columns of the value, and of its interval's ends where they are there.
    value: str
    label: str
    #: How ticks of the value are written.
    write: Callable[[float], str]
    #: What a panel without a point says.
    empty: str = "not measured"
    #: Where a line says that both are equal; None: nowhere.
    equal: float | None = 1.0
    #: What has a sparsity: a ``layer``, of a shape, or a ``network``, of several.
    of: str = "layer"
    log: bool = True
    #: Columns with warnings: points with one are drawn hollow.
    marked_by: Sequence[str] = ()
    #: By layer and batch: where the crossover was measured, and where the ceilings put it.
    bands: Mapping[tuple[str, int], Band] = field(default_factory=dict)
    predicted: Mapping[tuple[str, int], float] = field(default_factory=dict)


def draw(rows: pd.DataFrame, kernels: Mapping[str, KernelRecord], title: str, lines: Lines) -> str:
    """Return an SVG of ``rows``.

    They have the columns ``layer``, ``layer_index``, ``m``, ``k``, ``batch``, ``sparsity``,
    ``kernel``, and those of ``lines``.
    """
    ordered = rows.sort_values(["layer_index", "m", "k"], kind="stable")
    layers, batches = list(ordered["layer"].unique()), sorted(rows["batch"].unique())
    names = list(dict.fromkeys(sorted(rows["kernel"])))
    places = [(layer, batch) for layer in layers for batch in batches]
    across = len(batches) if len(batches) > 1 else min(len(layers), 3)
    down = -(-len(places) // across)
    above = 0.62 + _LEGEND_LINE * -(-(len(names) + 2) // 4)
    width = max(_LEGEND_WIDTH, _PANEL * across + 0.7)
    height = _HEIGHT * down + 0.45 + above
    with style():
        # Margins are fixed: to have them found costs more than all else.
        figure, axes = plt.subplots(
            down, across, sharex=True, sharey="row", squeeze=False,
            figsize=(width, height), gridspec_kw={
                "left": 0.7 / width, "right": 1 - 0.1 / width, "bottom": 0.42 / height,
                "top": 1 - above / height, "wspace": 0.07, "hspace": 0.32,
            },
        )  # fmt: skip
        for axis, (layer, batch) in zip(axes.flat, places, strict=False):
            panel = rows[(rows["layer"] == layer) & (rows["batch"] == batch)]
            _panel(axis, panel, kernels, lines, (layer, batch))
        for axis in axes.flat[len(places) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel(lines.label)
        for axis in axes[-1]:
            axis.set_xlabel(f"sparsity of the {lines.of}, %")
        _limit(axes, rows)
        _legend(figure, names, kernels, title, lines)
        return svg(figure)


def in_view(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the kernels, layers and batches that a plot has room for.

    Sparse kernels and masked dense ones in the order of their highest speedup, the largest layers,
    and batches spread from the smallest to the largest.
    """
    order = rows.groupby("kernel")["speedup"].max().sort_values(ascending=False)
    masked = set(rows.loc[rows["role"] == "masked dense", "kernel"])
    sparse = [name for name in order.index if name not in masked][:MOST_SPARSE]
    kept = sparse + [name for name in order.index if name in masked][:MOST_MASKED]
    sizes = (rows["m"] * rows["k"]).groupby(rows["layer"]).max().sort_values(ascending=False)
    batches = sorted(rows["batch"].unique())
    if len(batches) > MOST_BATCHES:
        last = len(batches) - 1
        batches = [batches[round(i * last / (MOST_BATCHES - 1))] for i in range(MOST_BATCHES)]
    return rows[
        rows["kernel"].isin(kept)
        & rows["layer"].isin(sizes.index[:MOST_LAYERS])
        & rows["batch"].isin(batches)
    ]


def stretched(sparsity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where sparsities lie on an axis on which each halving of the density is a step."""
    return np.asarray(-np.log2(1.0 - np.minimum(sparsity, 0.9999)))


def as_factor(value: float) -> str:
    """Return a ratio as a tick shows it: 4×, or 1/4×."""
    return f"{value:g}×" if value >= 1 else f"1/{1 / value:g}×"


def _panel(
    axis: Axes,
    rows: pd.DataFrame,
    kernels: Mapping[str, KernelRecord],
    lines: Lines,
    place: tuple[str, int],
) -> None:
    if lines.log:
        axis.set_yscale("log", base=2 if lines.equal == 1.0 else 10)
    if lines.equal is not None:
        axis.axhline(lines.equal, color=INK, linewidth=0.9)
    for name, group in rows.groupby("kernel", sort=True):
        _line(axis, group.sort_values("sparsity"), kernels[str(name)], lines)
    _crossing(axis, place, lines)
    axis.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: lines.write(value)))
    axis.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    axis.grid(axis="y", color=FAINT, linewidth=0.7)
    layer, batch = place
    has_shape = len(rows) and lines.of == "layer"
    shape = f" {rows.iloc[0].m} × {rows.iloc[0].k}" if has_shape else ""
    named = "" if layer == shape.replace(" ", "").replace("×", "x") else layer
    axis.set_title(f"{named}{shape}, batch {batch}".strip(), fontsize=8.5, loc="left", pad=3)
    if rows.empty:
        axis.text(0.5, 0.5, lines.empty, transform=axis.transAxes, ha="center", color=SOFT)


def _line(axis: Axes, rows: pd.DataFrame, look: KernelRecord, lines: Lines) -> None:
    x, y = stretched(rows["sparsity"].to_numpy(float)), rows[lines.value].to_numpy(float)
    axis.plot(x, y, color=look.colour, linestyle=look.dash, linewidth=1.2)
    low, high = f"{lines.value}_low", f"{lines.value}_high"
    if low in rows and rows[low].notna().any():
        bounds = rows[low].to_numpy(float), rows[high].to_numpy(float)
        axis.fill_between(x, *bounds, color=look.colour, alpha=0.16, linewidth=0)
    marked = np.zeros(len(rows), bool)
    for column in lines.marked_by:
        marked |= (rows[column].fillna("") != "").to_numpy()
    for shown, face in ((~marked, look.colour), (marked, "none")):
        if shown.any():
            axis.plot(
                x[shown], y[shown], linestyle="none", marker=look.marker, markersize=_MARK_SIZE,
                markerfacecolor=face, color=look.colour, markeredgewidth=0.9,
            )  # fmt: skip


def _crossing(axis: Axes, place: tuple[str, int], lines: Lines) -> None:
    if band := lines.bands.get(place):
        low, high = stretched(np.array([band.low, band.high]))
        axis.axvspan(low, max(high, low + 0.02), color=SOFT, alpha=0.2, linewidth=0)
        axis.text(
            high, 0.985, f" {band.text}", transform=axis.get_xaxis_transform(), fontsize=7.5,
            va="top", color=INK,
        )  # fmt: skip
    if (at := lines.predicted.get(place)) is not None:
        axis.axvline(float(stretched(np.array([at]))[0]), color=SOFT, linewidth=1, linestyle=":")


def _limit(axes: NDArray[Any], rows: pd.DataFrame) -> None:
    """Put ticks where sparsities are, and no further than they go."""
    top = rows["sparsity"].max()
    ticks = [tick for tick in _TICKS if tick <= max(top, 0.5) + 0.003]
    for axis in axes.flat:
        axis.set_xticks(stretched(np.array(ticks)), [f"{100 * tick:g}" for tick in ticks])
        low, high = stretched(np.array([rows["sparsity"].min(), max(top, 0.5)]))
        axis.set_xlim(low - 0.15, high + 0.25)


def _legend(
    figure: Figure,
    names: Sequence[str],
    kernels: Mapping[str, KernelRecord],
    title: str,
    lines: Lines,
) -> None:
    handles = [
        Line2D([], [], color=kernels[name].colour, marker=kernels[name].marker, markersize=4,
               linestyle=kernels[name].dash, linewidth=1.2, label=name)
        for name in names
    ]  # fmt: skip
    if lines.marked_by:
        handles.append(
            Line2D(
                [],
                [],
                color=SOFT,
                marker="o",
                markersize=4,
                linestyle="none",
                markerfacecolor="none",
                label="hollow: there is a warning",
            )
        )
    if lines.predicted:
        handles.append(Line2D([], [], color=SOFT, linestyle=":", label="crossover at the ceilings"))
    figure.legend(
        handles=handles, loc="upper left", ncols=4, frameon=False, fontsize=8, title=title,
        alignment="left", title_fontsize=9.5,
    )  # fmt: skip
