"""What all plots share: their style, their legend, and how they become SVG text."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Of lines and text; a page may put its own in their place, by theme.
INK, SOFT, LINE, FAINT = "#20262d", "#3a4450", "#9aa3ad", "#e3e7eb"
_LONGEST_NAME = 100
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "crossover",
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    # A dollar in a name begins no formula.
    "text.parse_math": False,
}


@dataclass(frozen=True, eq=False)
class Plot:
    """A plot with its title, the name of its file, and what it shows."""

    title: str
    #: Ends in ``.svg``; that of its data in ``.csv``.
    file: str
    draw: Callable[[], str]
    #: A row per point.
    data: pd.DataFrame
    #: What a reader who does not see it has to know.
    alt: str

    @cached_property
    def svg(self) -> str:
        """Return it as an ``<svg>`` element: drawn when it is asked for, once."""
        return self.draw()

    @property
    def csv(self) -> str:
        """Return its data as CSV."""
        return str(self.data.to_csv(index=False))


def file_name(*parts: object) -> str:
    """Return the name of an SVG file made of ``parts``, another one for other parts."""
    text = "-".join(map(str, parts))
    words = re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-")
    # What a file name cannot hold must not make two of them one.
    if len(words) > _LONGEST_NAME or not re.fullmatch(r"[A-Za-z0-9._ -]*", text):
        words = f"{words[:_LONGEST_NAME]}-{zlib.crc32(text.encode()):08x}".lstrip("-")
    return f"{words}.svg"


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of all plots."""
    with plt.rc_context(_STYLE):
        yield


def legend(figure: Figure, axes: list[Axes], title: str) -> None:
    """Name every line of ``axes`` once, above them."""
    found: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    figure.legend(
        list(found.values()), list(found), loc="upper left", ncols=4, frameon=False, fontsize=8.5,
        title=title, alignment="left",
    )  # fmt: skip


def svg(figure: Figure) -> str:
    """Return the figure as an ``<svg>`` element, and close it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, facecolor="white")
    plt.close(figure)
    return re.sub(r"^.*?(?=<svg)", "", buffer.getvalue(), flags=re.DOTALL)
