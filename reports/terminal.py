"""Summaries on the terminal: one screen, on which the answer is the last thing.

Tables keep to the width of the terminal, and to 100 columns where there is none. What all lines
have in common is said once, above them. Rich honours ``NO_COLOR``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from crossover.reports import conditions, page
from crossover.reports.foreign import terminal_text
from crossover.reports.results import Results
from crossover.reports.sections import Chart, Document, Section

_FILE_WIDTH = 100
#: Of a summary; half of them at most are the answer.
SCREEN = 40
_MOST_LINES = 14
_BRIEF_LINES = 9
# Of a cell, beyond which nobody reads it there; and of a word, beyond which it is folded.
_LONGEST, _LONGEST_WORD = 120, 30
_PADDING = 3
# An estimate and its interval stay in one line.
_WORD = re.compile(r"\S+ \[[^\]]*\]|\S+")
_BAR = 36
# Columns that say of which problem a line is.
_PROBLEM = frozenset(
    {"network", "matrices", "layer", "shape (m × k)", "sparsity", "accuracy", "pattern", "weights",
     "zeros in X, dY", "batch", "pass", "optimizer", "device", "threads", "caches", "kernel",
     "against", "fastest masked dense"}
)  # fmt: skip


def summary(results: Results, study: str | None = None) -> None:
    """Print the summary of one study, or of all that the run holds; the answer comes last.

    What one screen has no room for is on the page.

    Raises:
        InputError: if nothing of it is stored.
    """
    console = output()
    shown = page.sections(results, study)
    ends = [
        _captured(console, partial(_say, console, note))
        for note in conditions.notes(results, study)
    ]
    ends += _answer(console, shown)
    room = SCREEN - sum(text.count("\n") for text in ends)
    printed = []
    for sizes in _blocks(console, results, shown):
        texts = (_captured(console, block) for block in sizes)
        if fitting := next((text for text in texts if text.count("\n") <= room), ""):
            room -= fitting.count("\n")
            printed.append(fitting)
    console.file.write("".join([*printed, *ends]))


def comparison(document: Document) -> None:
    """Print a comparison's table, then its answers."""
    console = output()
    for section in document.sections:
        for each in section.brief:
            _print_table(console, each.frame, each.title, _MOST_LINES)
    for answer in document.answers:
        _say(console, answer, bold=True)


def table(frame: pd.DataFrame, title: str = "", most: int | None = _MOST_LINES) -> None:
    """Print the first ``most`` lines of a frame of text on stdout, under a title.

    Columns that would be torn within words are left to the report; None prints all of it.
    """
    _print_table(output(), frame, title, most)


def output() -> Console:
    """Return the console on stdout."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_FILE_WIDTH)


def _blocks(
    console: Console, results: Results, shown: Sequence[Section]
) -> Iterator[list[Callable[[], None]]]:
    """Yield what stands above the answer, the most important first, each in ever smaller sizes."""
    yield [partial(_say, console, results.run.machine_title, bold=True)]
    for section in shown[:1]:
        if section.chart and section.chart.bars:
            yield [partial(_print_chart, console, section.chart)]
    for section in shown:
        for each in section.brief:
            if len(each.frame):
                draw = partial(_print_table, console, each.frame, each.title)
                yield [partial(draw, lines) for lines in (_BRIEF_LINES, _BRIEF_LINES // 2, 2)]


def _answer(console: Console, shown: Sequence[Section]) -> list[str]:
    """Return the sentences of every study, those of the first one last, on half a screen."""
    own = [
        _captured(console, partial(_say, console, each, bold=True)) for each in shown[0].sentences
    ]
    lines = 0
    kept: list[str] = []
    for text in own:
        lines += text.count("\n")
        if kept and lines > SCREEN // 2:
            break
        kept.append(text)
    others = []
    for section in shown[1:]:
        text = _captured(console, partial(_say, console, section.sentences[0]))
        lines += text.count("\n")
        if lines <= SCREEN // 2:
            others.append(text)
    return [*others, *kept]


def _captured(console: Console, block: Callable[[], None]) -> str:
    with console.capture() as captured:
        block()
    return captured.get()


def _say(console: Console, text: str, bold: bool = False) -> None:
    console.print(terminal_text(text), style="bold" if bold else "", markup=False)


def _print_chart(console: Console, chart: Chart) -> None:
    """Print bars, with a line where they reach the chart's unit."""
    unicode = (console.encoding or "").lower().startswith("utf")
    block, line = ("█", "┊") if unicode else ("#", "|")
    top = max([chart.unit, *(bar.value for bar in chart.bars)])
    label = max(cell_len(terminal_text(bar.label)) for bar in chart.bars)
    _say(console, chart.title, bold=True)
    at = round(_BAR * chart.unit / top) if chart.unit and top else 0
    for bar in chart.bars[:_BRIEF_LINES]:
        filled = max(0, round(_BAR * bar.value / top)) if top else 0
        drawn = (block * filled).ljust(_BAR)
        if 0 < at < _BAR and filled <= at:
            drawn = drawn[:at] + line + drawn[at + 1 :]
        name = terminal_text(bar.label).rjust(label)
        console.print(f" {name} {drawn} {terminal_text(bar.text)}", markup=False, no_wrap=True)
    console.print()


def _print_table(console: Console, frame: pd.DataFrame, title: str, most: int | None) -> None:
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
