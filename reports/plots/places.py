"""Networks as points, each with its name, and the spread over seeds as a cross."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import LogLocator, NullLocator

from crossover.reports.plots.figure import FAINT, SOFT, style, svg
from crossover.reports.plots.labels import annotate

_WIDTH, _HEIGHT = 9.5, 4.4
_LOOKS = (
    ("#1a6fe6", "o"), ("#cf2a1a", "s"), ("#4d8f3f", "^"), ("#ba2f9f", "D"), ("#d3850f", "v"),
    ("#70655f", "P"),
)  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """What an axis shows."""

    label: str
    write: Callable[[float], str]
    log: bool = False


def draw(points: pd.DataFrame, title: str, across: Axis, up: Axis) -> str:
    """Return an SVG of ``points``.

    They have ``x`` and ``y`` with ``x_low`` to ``y_high`` (NaN where there is no spread), a
    ``label``, and ``kind``, which the legend names. Points of a kind are joined where ``joined``
    is true.
    """
    kinds = list(dict.fromkeys(points["kind"]))
    with style():
        figure, axis = plt.subplots(
            figsize=(_WIDTH, _HEIGHT),
            gridspec_kw={"left": 0.75 / _WIDTH, "right": 1 - 0.3 / _WIDTH,
                         "bottom": 0.5 / _HEIGHT, "top": 1 - 0.75 / _HEIGHT},
        )  # fmt: skip
        for number, kind in enumerate(kinds):
            colour, marker = _LOOKS[number % len(_LOOKS)]
            there = points[points["kind"] == kind]
            joined = there[there["joined"].astype(bool)].sort_values("x")
            axis.plot(joined["x"], joined["y"], color=colour, linewidth=0.9)
            axis.scatter(there["x"], there["y"], color=colour, marker=marker, s=26, label=kind,
                         zorder=3)  # fmt: skip
            for row in there.to_dict("records"):
                axis.plot([row["x_low"], row["x_high"]], [row["y"]] * 2, color=colour, linewidth=1)
                axis.plot([row["x"]] * 2, [row["y_low"], row["y_high"]], color=colour, linewidth=1)
        axis.set_xscale("log" if across.log else "linear")
        axis.set_yscale("log" if up.log else "linear")
        for scale, shown in ((axis.xaxis, across), (axis.yaxis, up)):
            if shown.log:
                scale.set_major_locator(LogLocator(subs=(1, 2, 5)))
                scale.set_minor_locator(NullLocator())
            scale.set_major_formatter(lambda value, _, shown=shown: shown.write(value))
        axis.margins(x=0.12, y=0.1)
        annotate(axis, list(zip(points["label"], points["x"], points["y"], strict=True)))
        axis.set_xlabel(across.label, color=SOFT)
        axis.set_ylabel(up.label, color=SOFT)
        axis.grid(color=FAINT, linewidth=0.7)
        figure.legend(loc="upper left", ncols=6, frameon=False, fontsize=8, title=title,
                      alignment="left", title_fontsize=9.5)  # fmt: skip
        return svg(figure)
