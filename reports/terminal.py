"""Summaries on the terminal: a few tables, then the answer; all else is on the page.

Tables keep to the width of the terminal, and to 100 columns where there is none. What all lines
have in common is said once, above them. Rich honours ``NO_COLOR``.
"""

from __future__ import annotations

import re

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from crossover.reports import conditions, page
from crossover.reports.foreign import terminal_text
from crossover.reports.results import Results

_FILE_WIDTH = 100
_MOST_LINES = 14
# Of a cell, beyond which nobody reads it there; and of a word, beyond which it is folded.
_LONGEST, _LONGEST_WORD = 120, 30
_PADDING = 3
# An estimate and its interval stay in one line.
_WORD = re.compile(r"\S+ \[[^\]]*\]|\S+")
# Columns that say of which problem a line is.
_PROBLEM = frozenset(
    {"network", "matrices", "layer", "shape (m × k)", "sparsity", "accuracy", "pattern", "weights",
     "zeros in X, dY", "batch", "pass", "optimizer", "device", "threads", "caches", "kernel",
     "against", "fastest masked dense"}
)  # fmt: skip


def summary(results: Results, study: str | None = None) -> None:
    """Print the summary of one study, or of all that the run holds; the answer comes last.

    Raises:
        InputError: if nothing of it is stored.
    """
    console = output()
    shown = page.sections(results, study)
    console.print(terminal_text(results.run.machine_title), style="bold", markup=False)
    for section in shown:
        for each in section.brief:
            if len(each.frame):
                table(each.frame, each.title)
    for made in (conditions.not_run_table, conditions.warning_table):
        each = made(results, study)
        if len(each.frame):
            table(each.frame.drop(columns="means", errors="ignore"), each.title, most=5)
    for section in shown:
        for sentence in section.sentences:
            console.print(terminal_text(sentence), style="bold", markup=False)


def table(frame: pd.DataFrame, title: str = "", most: int | None = _MOST_LINES) -> None:
    """Print the first ``most`` lines of a frame of text on stdout, under a title.

    Columns that would be torn within words are left to the report; None prints all of it.
    """
    console = output()
    columns, common = _condensed(frame)
    heading = f"{title} ({common})" if title and common else title or common
    if heading:
        console.print(terminal_text(heading), style="bold", markup=False)
    shown = columns.head(most).map(lambda cell: _shortened(str(cell)))
    widths = _widths(shown, console.width, most is None)
    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False)
    for name, width in widths.items():
        grid.add_column(escape(name), overflow="fold", width=width)
    for line in shown[list(widths)].itertuples(index=False):
        grid.add_row(*map(escape, line))
    console.print(grid)
    if len(widths) < len(columns.columns):
        left_out = ", ".join(map(str, columns.columns[len(widths) :]))
        console.print(f"in the report: {left_out}", markup=False)
    if len(columns) > len(shown):
        console.print(f"… and {len(columns) - len(shown)} more in the report", markup=False)
    console.print()


def output() -> Console:
    """Return the console on stdout."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_FILE_WIDTH)


def _condensed(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return ``frame`` without what its lines have in common of a problem; and that in words."""
    same = [name for name in frame.columns if name in _PROBLEM and frame[name].nunique() == 1]
    if len(same) == len(frame.columns):
        return frame, ""
    common = ", ".join(f"{name} {frame[name].iloc[0]}" for name in same)
    return frame.drop(columns=same), common


def _widths(frame: pd.DataFrame, width: int, whole: bool) -> dict[str, int]:
    """Return the width of each column that fits into ``width`` with its words whole.

    Where the ``whole`` table is wanted, all columns fit, and the longest words are folded.
    """
    texts = {str(name): [str(name), *frame[name]] for name in frame.columns}
    found = {
        name: min(_LONGEST_WORD, max(map(cell_len, _WORD.findall("\n".join(cells))), default=1))
        for name, cells in texts.items()
    }
    while sum(found.values()) + _PADDING * len(found) > width and max(found.values()) > 1:
        widest = max(found, key=lambda name: found[name])
        if whole or len(found) == 1:
            found[widest] -= 1
        else:
            found.popitem()
    spare = width - sum(found.values()) - _PADDING * len(found)
    wanted = {name: max(map(cell_len, texts[name])) for name in found}
    while spare > 0 and (narrow := [name for name in found if found[name] < wanted[name]]):
        for name in narrow[:spare]:
            found[name] += 1
        spare -= len(narrow[:spare])
    return found


def _shortened(foreign: str) -> str:
    text = terminal_text(foreign)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
