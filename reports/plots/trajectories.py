"""How far weights are from exact ones, over steps: a panel per optimizer, a line per kernel."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd

from crossover.reports.plots.figure import FAINT, SOFT, legend, style, svg

_WIDTH, _HEIGHT = 9.5, 3.6
_TITLES = {"sgd": "gradient descent", "adam": "Adam"}


def draw(rows: pd.DataFrame, title: str) -> str:
    """Return an SVG of ``rows``: ``kernel``, ``optimizer``, ``steps``, ``value``, and its look."""
    optimizers = list(dict.fromkeys(rows["optimizer"]))
    names = rows["kernel"].nunique()
    above = 0.6 + 0.19 * -(-names // 4)
    height = _HEIGHT + above
    with style():
        figure, axes = plt.subplots(
            1, len(optimizers), squeeze=False, sharey=True, figsize=(_WIDTH, height),
            gridspec_kw={"left": 0.75 / _WIDTH, "right": 1 - 0.15 / _WIDTH, "wspace": 0.06,
                         "bottom": 0.45 / height, "top": 1 - (above + 0.15) / height},
        )  # fmt: skip
        for axis, optimizer in zip(axes[0], optimizers, strict=True):
            there = rows[rows["optimizer"] == optimizer]
            for name, line in there.groupby("kernel", sort=True):
                look = line.iloc[0]
                axis.plot(line["steps"], line["value"], color=look["colour"],
                          linestyle=look["dash"], marker="o", markersize=3, linewidth=1.1,
                          label=name)  # fmt: skip
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}")
            axis.set_title(_TITLES.get(optimizer, optimizer), fontsize=9, loc="left")
            axis.set_xlabel("steps", color=SOFT)
            axis.grid(color=FAINT, linewidth=0.7)
        axes[0, 0].set_ylabel("largest difference, in largest weights", color=SOFT)
        legend(figure, list(axes[0]), title)
        return svg(figure)
