"""What every view returns, and what a page consists of; every output is made of these."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from crossover.reports.grids import Grid
from crossover.reports.plots.figure import Plot
from crossover.reports.results import Results
from crossover.reports.tables import Table

PASS_TITLES = {
    "forward": "forward (Y = W X)",
    "backward_input": "backward, input (dX = Wᵀ dY)",
    "backward_weight": "backward, weight (dW = dY Xᵀ at the nonzeros)",
    "step": "training step",
    "network": "whole network",
    "serving": "whole network, several callers",
    "training": "training",
    "epoch": "epoch of training",
    "first steps": "first steps of training",
}


@dataclass(frozen=True)
class Part:
    """One thing that is shown of a section, in one look: words, pictures, then tables."""

    title: str
    sentences: Sequence[str] = ()
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    grids: Sequence[Grid] = ()
    #: Shown when it is asked for: the title alone stands on the page until then.
    folded: bool = False

    @property
    def empty(self) -> bool:
        """Return whether it has nothing to show."""
        whole = [each for each in self.tables if len(each.frame)]
        return not (self.sentences or self.plots or whole or self.grids)


@dataclass(frozen=True)
class Bar:
    """A bar of a chart: its label, its value, and the value as text."""

    label: str
    value: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A small chart for a terminal; a line marks ``unit`` where it is not 0."""

    title: str
    bars: Sequence[Bar]
    unit: float = 0.0


@dataclass(frozen=True)
class Section:
    """What is shown of a study."""

    study: str
    title: str
    #: The answer in words, the most important first.
    sentences: list[str]
    #: What the page shows, in this order.
    parts: list[Part]
    #: Small tables for a terminal and for a comment on a pull request.
    brief: list[Table]
    #: For JSON. ``title``; ``asked``: each time it was asked, with its ``series``, ``spec``,
    #: ``command`` and ``asked_at``; ``sentences``; ``answers``: one object per answer, whose fields
    #: the view of the study documents. What is not known is None.
    record: dict[str, Any]
    chart: Chart | None = None

    @classmethod
    def of(
        cls,
        results: Results,
        study: str,
        title: str,
        sentences: Sequence[str],
        parts: Sequence[Part],
        answers: Sequence[dict[str, Any]],
        brief: Sequence[Table] = (),
        chart: Chart | None = None,
    ) -> Section:
        """Return a section with its record, whose frame all studies share."""
        asked = [
            {"series": e.series, "spec": e.spec, "command": e.command, "asked_at": e.asked_at}
            for e in results.asked(study)
        ]
        record = {"title": title, "asked": asked, "sentences": sentences, "answers": answers}
        shown = [part for part in parts if not part.empty]
        return cls(study, title, list(sentences), shown, list(brief), plain(record), chart)

    @property
    def tables(self) -> list[Table]:
        """Return every table of it, the brief ones last."""
        found = [*(table for part in self.parts for table in part.tables), *self.brief]
        return list({id(table): table for table in found}.values())

    @property
    def grids(self) -> list[Grid]:
        """Return every grid of it."""
        return [grid for part in self.parts for grid in part.grids]

    @property
    def plots(self) -> list[Plot]:
        """Return every plot of it."""
        return [plot for part in self.parts for plot in part.plots]


@dataclass(frozen=True)
class Document:
    """A whole page: of a run, of a comparison, or of a history."""

    title: str
    #: Of what and when: a line under the title.
    about: str
    #: The answers, the most important first: they stand on top.
    answers: Sequence[str]
    sections: Sequence[Section]
    #: What a reader needs to judge it: warnings, what did not run, conditions.
    closing: Sequence[Part] = ()
    footer: str = ""

    @property
    def plots(self) -> Iterator[Plot]:
        """Yield every plot of it."""
        for section in self.sections:
            yield from section.plots


def plain(value: Any) -> Any:
    """Return ``value`` as JSON has it: NaN and infinity as None, NumPy's numbers as Python's."""
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
