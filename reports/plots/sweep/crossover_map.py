"""A heat map of crossovers: a row per layer, a column per batch size, one scale everywhere."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Rectangle

from crossover.reports.plots.figure import LINE, SOFT, style, svg

# Fixed, whatever the theme: the colour is the figure.
_MAP = mpl.colormaps["cividis"]
_ON_DARK, _ON_LIGHT = "#fdfdfd", "#0b0d10"
# The luminance on which black and white stand out alike.
_HALF = 0.179
_CELL, _PANEL_GAP = 0.42, 0.35


def draw(panels: Mapping[str, pd.DataFrame], title: str) -> str:
    """Return an SVG with a heat map per panel, by its title.

    A panel has a row per cell: ``layer`` (its label), ``batch``, ``kind``, ``low`` and ``high``
    (shares of 1), and ``text``. A cell's colour is the middle of its range, between 0 and 100 %;
    what was not decided has none.
    """
    layers = list(dict.fromkeys(label for each in panels.values() for label in each["layer"]))
    batches = sorted({batch for each in panels.values() for batch in each["batch"]})
    column = 1.02
    labels = 0.085 * max(map(len, layers)) + 0.35
    panel = column * len(batches)
    across = max(1, min(len(panels), int((12.2 - labels) // (panel + _PANEL_GAP))))
    down = -(-len(panels) // across)
    block = _CELL * len(layers) + 0.75
    width = max(5.5, labels + across * (panel + _PANEL_GAP))
    height = block * down + 0.75
    with style():
        figure = plt.figure(figsize=(width, height))
        figure.text(0.08 / width, 1 - 0.2 / height, title, fontsize=9.5, va="center")
        for number, (name, cells) in enumerate(panels.items()):
            i, j = divmod(number, across)
            left = labels + j * (panel + _PANEL_GAP)
            bottom = height - 0.35 - (i + 1) * block + 0.35
            box = left / width, bottom / height, panel / width, _CELL * len(layers) / height
            axis = figure.add_axes(box)
            _panel(axis, cells, layers, batches, name, first=j == 0)
        _scale(figure.add_axes((labels / width, 0.22 / height, 2.4 / width, 0.1 / height)))
        return svg(figure)


def _panel(
    axis: Axes, cells: pd.DataFrame, layers: list[str], batches: list[int], name: str, first: bool
) -> None:
    for cell in cells.to_dict("records"):
        x, y = batches.index(cell["batch"]), layers.index(cell["layer"])
        middle = _middle(cell["kind"], cell["low"], cell["high"])
        face = "none" if middle is None else to_hex(_MAP(middle))
        axis.add_patch(Rectangle((x, y), 0.97, 0.94, facecolor=face, edgecolor=LINE, linewidth=0.6))
        ink = SOFT if middle is None else _ink(face)
        text = "\n".join(textwrap.wrap(cell["text"], 17)[:2])
        axis.text(x + 0.485, y + 0.48, text, ha="center", va="center", fontsize=8, color=ink)
    axis.set_xlim(0, len(batches))
    axis.set_ylim(len(layers), 0)
    axis.set_xticks([i + 0.485 for i in range(len(batches))], [f"batch {b}" for b in batches])
    axis.xaxis.tick_top()
    shown = [i + 0.48 for i in range(len(layers))]
    axis.set_yticks(shown, layers if first else [""] * len(layers))
    axis.tick_params(length=0, pad=2)
    axis.spines[:].set_visible(False)
    axis.set_title(name, fontsize=9, loc="left", pad=16)


def _ink(face: str) -> str:
    """Return which of both inks stands out more on a colour, by its relative luminance."""
    red, green, blue = (part**2.2 for part in to_rgb(face))
    return _ON_LIGHT if 0.2126 * red + 0.7152 * green + 0.0722 * blue > _HALF else _ON_DARK


def _middle(kind: str, low: float, high: float) -> float | None:
    """Return where a crossover lies on the scale; None where it was not decided."""
    if kind == "always":
        return low
    return (low + high) / 2 if kind == "between" else None


def _scale(axis: Axes) -> None:
    steps = 24
    for step in range(steps):
        place, colour = (step / steps, 0), to_hex(_MAP(step / (steps - 1)))
        axis.add_patch(Rectangle(place, 1 / steps, 1, facecolor=colour, edgecolor=colour))
    axis.set_xticks([0, 0.5, 1], ["sparse from 0 %", "50 %", "100 %"], fontsize=7.5)
    axis.set_yticks([])
    axis.tick_params(length=0, pad=2)
    axis.spines[:].set_visible(False)
