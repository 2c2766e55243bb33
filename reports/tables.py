"""Tables of text that every output can print, and how figures are written in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from crossover.bench.statistics.intervals import Interval
from crossover.bench.statistics.warnings import letters
from crossover.reports.foreign import markdown_text

Row = Mapping[Any, Any]
# Of a unit: three digits of it are one of the next.
_ROUNDS_UP = 0.9995
#: Stands beside a figure that there is a warning about.
MARK = "⚠"
#: Between the names of several warnings.
SEPARATOR = "; "


@dataclass(frozen=True)
class Table:
    """A table with its title; every cell is text."""

    title: str
    frame: pd.DataFrame

    @classmethod
    def of(cls, title: str, lines: Sequence[Mapping[str, str]]) -> Table:
        """Return a table with a line per mapping; columns without a text anywhere are left out."""
        frame = pd.DataFrame(list(lines)).fillna("")
        return cls(title, frame.loc[:, (frame != "").any(axis=0)])


def markdown(frame: pd.DataFrame) -> str:
    """Return a table of GitHub's Markdown, its columns aligned; of no rows the word for it."""
    if frame.empty:
        return "None."
    lines = [
        [markdown_text(str(cell)) for cell in line]
        for line in (tuple(frame.columns), *frame.itertuples(index=False))
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        f"| {' | '.join(c.ljust(w) for c, w in zip(line, widths, strict=True))} |" for line in lines
    )


def percent(share: float) -> str:
    """Return a share of 1 in percent, as short as it stays exact to a tenth; empty for NaN."""
    return "" if math.isnan(share) else f"{round(100 * share, 1):g} %"


def accuracy(value: float) -> str:
    """Return an accuracy in percent, to a hundredth; empty for none."""
    return "" if pd.isna(value) else f"{100 * value:.2f} %"


def seconds(value: float) -> str:
    """Return a time with a unit that suits it; empty for NaN."""
    if not math.isfinite(value):
        return ""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= _ROUNDS_UP:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def number(value: float) -> str:
    """Return a figure with three digits; empty for NaN."""
    return "" if math.isnan(value) else f"{value:.3g}"


def times(value: float) -> str:
    """Return a ratio with two decimals; empty for NaN."""
    return "" if math.isnan(value) else f"{value:.2f}"


def count(value: float) -> str:
    """Return a whole number with its thousands set apart; empty for NaN."""
    return "" if math.isnan(value) else f"{round(value):,}"


def share(value: float) -> str:
    """Return a share of 1 in whole percent; empty for NaN."""
    return "" if math.isnan(value) else f"{100 * value:.0f} %"


def calls(value: float) -> str:
    """Return how many calls repay something; empty for NaN."""
    return "never" if math.isinf(value) else count(value)


def scientific(value: float) -> str:
    """Return a number with its power of ten; empty for NaN."""
    return "" if math.isnan(value) else f"{value:.1e}"


def nonzero_seconds(value: float) -> str:
    """Return a time, and nothing for none at all."""
    return seconds(value) if value else ""


#: Ways to write a figure, by name: the page's script has the same.
WRITERS: Mapping[str, Callable[[Any], str]] = {
    "text": str,
    "seconds": seconds,
    "nonzero seconds": nonzero_seconds,
    "number": number,
    "count": count,
    "calls": calls,
    "percent": percent,
    "accuracy": accuracy,
    "share": share,
    "times": times,
    "scientific": scientific,
}


def interval(value: Interval, write: Callable[[float], str] = times) -> str:
    """Return an estimate with its interval, if it has one; empty for NaN."""
    if math.isnan(value.median):
        return ""
    if math.isnan(value.low):
        return write(value.median)
    return f"{write(value.median)} [{write(value.low)}, {write(value.high)}]"


def marked(text: str, *warnings: str | Sequence[str]) -> str:
    """Return a figure's text with :data:`MARK` and the letters of the ``warnings`` about it.

    They are names, or texts that hold names as a metric has them.
    """
    found = [each.split(SEPARATOR) if isinstance(each, str) else each for each in warnings]
    names = [name for each in found for name in each if name]
    return f"{text} {MARK}{letters(names)}" if text and names else text


def interval_in(row: Row, name: str, suffix: str = "") -> Interval:
    """Return the estimate whose three columns begin with ``name``."""
    return Interval(*(row[f"{name}{end}{suffix}"] for end in ("_low", "", "_high")))


def cells(row: Row, *columns: str) -> dict[str, str]:
    """Return how a table shows a problem, or a measured row of it."""
    return {name: _CELLS[name](row) if name in _CELLS else f"{row[name]}" for name in columns}


# Of columns that do not show the field of their name as it is.
_CELLS: Mapping[str, Callable[[Row], str]] = {
    "asked": lambda it: percent(it["network_sparsity"]),
    "accuracy": lambda it: accuracy(it["accuracy"]),
    "layer": lambda it: f"{it['layer']} {it['m']} × {it['k']}",
    "shape (m × k)": lambda it: f"{it['m']} × {it['k']}",
    "parameters": lambda it: f"{it['m'] * it['k']:,}",
    "nnz": lambda it: f"{it['nnz']:,}",
    "sparsity": lambda it: percent(it["sparsity"]),
    "pass": lambda it: it["computes"],
    "zeros in X, dY": lambda it: f"{percent(it['zeros_x'])}, {percent(it['zeros_dy'])}",
}
