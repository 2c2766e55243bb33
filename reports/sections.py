"""What every view returns: sentences, tables, plots, and the same as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crossover.reports.plots import Plot
from crossover.reports.results import Results
from crossover.reports.tables import Table

PASS_TITLES = {
    "forward": "forward (Y = W X)",
    "backward_input": "backward, input (dX = Wᵀ dY)",
    "backward_weight": "backward, weight (dW = dY Xᵀ at the nonzeros)",
    "step": "training step",
}


@dataclass(frozen=True)
class Section:
    """What is shown of a study."""

    study: str
    title: str
    #: The answer in words, the most important first.
    sentences: list[str]
    tables: list[Table]
    plots: list[Plot]
    #: For JSON. ``title``; ``asked``: each time it was asked, with its ``series``, ``spec``,
    #: ``command`` and ``asked_at``; ``sentences``; ``answers``: one object per answer, whose fields
    #: the view of the study documents. What is not known is None.
    record: dict[str, Any]

    @classmethod
    def of(
        cls,
        results: Results,
        study: str,
        title: str,
        sentences: Sequence[str],
        tables: Sequence[Table],
        answers: Sequence[dict[str, Any]],
        plots: Sequence[Plot] = (),
    ) -> Section:
        """Return a section with its record, whose frame all studies share."""
        asked = [
            {"series": e.series, "spec": e.spec, "command": e.command, "asked_at": e.asked_at}
            for e in results.asked(study)
        ]
        record = {"title": title, "asked": asked, "sentences": sentences, "answers": answers}
        return cls(study, title, list(sentences), list(tables), list(plots), plain(record))


def plain(value: Any) -> Any:
    """Return ``value`` as JSON has it: NaN and infinity as None, NumPy's numbers as Python's."""
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
