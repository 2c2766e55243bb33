"""Estimates with their intervals below each other: one line per thing, one mark per kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from crossover.reports.plots.figure import FAINT, INK, SOFT, style, svg

#: More lines nobody reads as a picture.
MOST = 40
_LINE, _WIDTH = 0.235, 9.5
_LONGEST_LABEL = 60


@dataclass(frozen=True)
class Scale:
    """The axis of a forest."""

    label: str
    write: Callable[[float], str]
    log: bool = False
    #: Where lines stand, and what each says.
    marks: Sequence[tuple[float, str]] = ()


def draw(rows: pd.DataFrame, title: str, scale: Scale) -> str:
    """Return an SVG with a line per row, in their order.

    ``rows`` has ``label``, ``value``, ``low`` and ``high`` (NaN where there is no interval),
    ``kind`` (what the legend names), and its ``colour`` and ``marker``.
    """
    shown = rows.head(MOST)
    labels = [_shortened(text) for text in shown["label"]]
    left = 0.072 * max(map(len, labels)) + 0.35
    kinds = shown.drop_duplicates("kind")
    above = 0.5 + 0.19 * -(-len(kinds) // 5)
    height = _LINE * len(shown) + above + 0.5
    with style():
        figure, axis = plt.subplots(
            figsize=(_WIDTH, height),
            gridspec_kw={"left": left / _WIDTH, "right": 1 - 0.25 / _WIDTH,
                         "bottom": 0.45 / height, "top": 1 - above / height},
        )  # fmt: skip
        _marks(axis, scale)
        for y, row in enumerate(shown.to_dict("records")):
            if np.isfinite(row["low"]) and np.isfinite(row["high"]):
                axis.plot([row["low"], row["high"]], [y, y], color=row["colour"], linewidth=1.6)
            axis.scatter([row["value"]], [y], s=26, marker=row["marker"], color=row["colour"],
                         zorder=3)  # fmt: skip
        if scale.log:
            axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda value, _: scale.write(value))
        axis.xaxis.set_minor_locator(plt.NullLocator())
        axis.set_yticks(range(len(shown)), labels, fontsize=8)
        axis.set_ylim(len(shown) - 0.4, -0.6)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel(scale.label)
        axis.grid(axis="x", color=FAINT, linewidth=0.7)
        handles = [
            Line2D([], [], color=row.colour, marker=row.marker, markersize=5, linewidth=1.4,
                   label=row.kind)
            for row in kinds.itertuples()
        ]  # fmt: skip
        figure.legend(
            handles=handles, loc="upper left", ncols=5, frameon=False, fontsize=8, title=title,
            alignment="left", title_fontsize=9.5,
        )  # fmt: skip
        return svg(figure)


def _marks(axis: Axes, scale: Scale) -> None:
    for at, says in scale.marks:
        axis.axvline(at, color=INK if says == "" else SOFT, linewidth=0.9,
                     linestyle="-" if says == "" else ":")  # fmt: skip
        if says:
            axis.text(at, 1.0, f" {says}", transform=axis.get_xaxis_transform(), fontsize=7.5,
                      color=SOFT, va="bottom", ha="center")  # fmt: skip


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"
