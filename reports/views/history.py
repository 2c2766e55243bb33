"""Trends over commits: the newest figure, its course, and where it changed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crossover.bench.gate.verdicts import POLICIES, Finding
from crossover.reports.grids import Column, Grid
from crossover.reports.plots import course
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.sections import Document, Part, Section
from crossover.reports.tables import Table
from crossover.reports.views.gate import level

if TYPE_CHECKING:
    from crossover.bench.gate.history import Trend

_TITLE = "The trend over commits"
_BARS = "▁▂▃▄▅▆▇█"
_WIDEST = 24


def table(trends: Sequence[Trend]) -> pd.DataFrame:
    """Return a line per trend, those that changed first."""
    ordered = sorted(trends, key=lambda each: (not each.changes, each.metric, each.name))
    return pd.DataFrame([_line(each) for each in ordered])


def document(trends: Sequence[Trend]) -> Document:
    """Return the page of a history: what changed as pictures, then every quantity."""
    changed = [each for each in trends if each.changes]
    part = Part(
        "Where trends change",
        ["A change point is a hint where to look: figures of different days differ by what the "
         "machine was doing. The gate measures both sides at once, and decides."],
        plots=_plots(changed),
    )  # fmt: skip
    section = Section(
        "history", _TITLE, [_sentence(trends, changed)],
        [part, Part("Every quantity", grids=[_grid(trends)])], [Table(_TITLE, table(trends))],
        {"trends": len(trends)},
    )  # fmt: skip
    commits = max((len(each.values) for each in trends), default=0)
    about = f"{len(trends)} quantities over up to {commits} commits"
    return Document(_TITLE, about, section.sentences, [section])


def _sentence(trends: Sequence[Trend], changed: Sequence[Trend]) -> str:
    if not changed:
        return f"None of {len(trends)} quantities changed from commit to commit."
    largest = max(changed, key=lambda each: abs(each.changes[-1].change))
    change = largest.changes[-1]
    what = f"{POLICIES[largest.metric].title} of {largest.name}"  # type: ignore[index]
    return (
        f"{len(changed)} of {len(trends)} quantities changed; the most, {what} at "
        f"{change.revision[:10]}, by {_change(largest, change.change)}."
    )


def _plots(changed: Sequence[Trend]) -> list[Plot]:
    """Return one plot of the quantities that changed, those that changed most first."""
    if not changed:
        return []
    order = sorted(changed, key=lambda each: -abs(each.changes[-1].change))
    data = pd.DataFrame(
        [
            {"what": f"{POLICIES[each.metric].title}: {each.name}",  # type: ignore[index]
             "commit": revision[:10], "number": number, "value": value,
             "change": any(revision == change.revision for change in each.changes)}
            for each in order
            for number, (revision, value) in enumerate(
                zip(each.revisions, each.values, strict=True))
        ]
    )  # fmt: skip
    title = "Quantities that changed, commit by commit"
    drawn = partial(course.draw, data, title)
    said = _sentence(changed, changed)
    return [Plot(title, file_name("history"), drawn, data, f"{title}. {said}")]


def _grid(trends: Sequence[Trend]) -> Grid:
    frame = pd.DataFrame(
        [
            {"what": POLICIES[each.metric].title, "of": each.name,  # type: ignore[index]
             "threads": each.threads, "commits": len(each.values),
             "newest": level(Finding(each.metric, each.name, each.digest, "same"),  # type: ignore[arg-type]
                             each.values[-1]),
             "course": bars(each.values), "changes": len(each.changes),
             "changed": ", ".join(f"{c.revision[:10]} {_change(each, c.change)}"
                                  for c in each.changes)}
            for each in trends
        ]
    )  # fmt: skip
    columns = [
        Column("of", "of"), Column("what", "what", filtered=True), Column("newest", "newest"),
        Column("course", "course", meaning="the last values, the lowest ▁ and the highest █"),
        Column("changes", "changes", "count"), Column("changed", "changed at"),
        Column("commits", "commits", "count"), Column("threads", "threads", "count"),
    ]  # fmt: skip
    return Grid("Every quantity", frame, columns, order="-changes")


def _change(trend: Trend, change: float) -> str:
    unit = "%" if POLICIES[trend.metric].relative else "points"  # type: ignore[index]
    return f"{100 * change:+.1f} {unit}"


def _line(trend: Trend) -> dict[str, str]:
    finding = Finding(trend.metric, trend.name, trend.digest, "same")  # type: ignore[arg-type]
    changes = [
        f"{each.revision[:10]} {100 * each.change:+.1f} "
        f"{'%' if POLICIES[finding.metric].relative else 'points'}"
        for each in trend.changes
    ]
    roofline = trend.rooflines[-1]
    return {
        "what": POLICIES[finding.metric].title,
        "of": trend.name,
        "commits": str(len(trend.values)),
        "newest": level(finding, trend.values[-1]),
        "course": bars(trend.values),
        "changed at": ", ".join(changes),
        "of the ceilings": "" if roofline is None else f"{100 * roofline:.0f} %",
    }


def bars(values: Sequence[float]) -> str:
    """Return the last values as bars, the lowest of them ▁ and the highest █."""
    shown = np.asarray(values[-_WIDEST:], float)
    low, high = shown.min(), shown.max()
    if high <= low:
        return _BARS[0] * len(shown)
    steps = np.round((shown - low) / (high - low) * (len(_BARS) - 1)).astype(int)
    return "".join(_BARS[step] for step in steps)
