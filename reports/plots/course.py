"""Quantities over commits: a small panel each, with the places where they change."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd

from crossover.reports.plots.figure import FAINT, SOFT, style, svg

#: More panels nobody looks at.
MOST = 18
_ACROSS, _PANEL, _WIDTH = 3, 1.35, 9.5
_LONGEST = 46


def draw(values: pd.DataFrame, title: str) -> str:
    """Return an SVG with a panel per quantity.

    ``values`` has a row per quantity and commit, the oldest first: ``what``, ``number`` of the
    commit, ``value``, and ``change`` (whether the trend changes at it).
    """
    names = list(dict.fromkeys(values["what"]))[:MOST]
    down = -(-len(names) // _ACROSS)
    height = _PANEL * down + 0.75
    with style():
        figure, axes = plt.subplots(
            down, _ACROSS, squeeze=False, figsize=(_WIDTH, height),
            gridspec_kw={"left": 0.08, "right": 0.985, "wspace": 0.26, "hspace": 0.75,
                         "bottom": 0.42 / height, "top": 1 - 0.6 / height},
        )  # fmt: skip
        figure.text(0.1 / _WIDTH, 1 - 0.2 / height, title, fontsize=9.5, va="center")
        for axis, name in zip(axes.flat, names, strict=False):
            rows = values[values["what"] == name]
            axis.plot(rows["number"], rows["value"], color="#1a6fe6", linewidth=1.1, marker="o",
                      markersize=2.5)  # fmt: skip
            for at in rows.loc[rows["change"], "number"]:
                axis.axvline(at - 0.5, color="#cf2a1a", linewidth=1, linestyle="--")
            short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
            axis.set_title(short, fontsize=7.5, loc="left", pad=3)
            axis.tick_params(labelsize=7, labelcolor=SOFT)
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
            axis.locator_params(nbins=4)
            axis.grid(axis="y", color=FAINT, linewidth=0.6)
        for axis in axes.flat[len(names) :]:
            axis.set_visible(False)
        for axis in axes[-1]:
            axis.set_xlabel("commit", fontsize=7.5)
        return svg(figure)
