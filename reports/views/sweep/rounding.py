"""What whoever may round should know: crossovers over dense products of fewer bits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import pandas as pd

from crossover.bench.statistics.comparison import ROUNDING
from crossover.bench.statistics.search_answers import FASTEST
from crossover.reports import metrics
from crossover.reports.crossovers import AXES, Crossover, crossovers
from crossover.reports.grids import Column, Grid
from crossover.reports.results import Results
from crossover.reports.sections import Part
from crossover.reports.tables import marked, times

_TITLE = "For whoever may round"


@lru_cache(maxsize=16)
def over_rounding(results: Results) -> list[Crossover]:
    """Return the crossovers of the fastest fp32 sparse kernel over dense ones that round."""
    rows = metrics.of_study(results, "sweep", ROUNDING)
    return [each for each in crossovers(rows) if each.kernel == FASTEST]


def part(results: Results, best: Sequence[Crossover]) -> Part | None:
    """Return both crossovers side by side; None where no dense kernel that rounds was measured.

    ``best`` are those over the dense kernels that do not.
    """
    found = over_rounding(results)
    if not found:
        return None
    usual = {_place(each): each for each in best}
    lines = [_line(each, usual.get(_place(each))) for each in found]
    names = sorted({name for each in found for name in each.baselines})
    return Part(
        _TITLE,
        [
            f"Of dense products some read fp32 with fewer bits: {', '.join(names)}. Whoever may "
            "round can choose them, and sparse products in fp32 then pay from a higher sparsity. "
            "All speedups elsewhere are over products of the same arithmetic."
        ],
        grids=[Grid(_TITLE, pd.DataFrame(lines), _COLUMNS)],
        folded=True,
    )


def sentence(results: Results, told: Crossover | None) -> list[str]:
    """Return what the headline is for whoever may round; nothing where that was not measured."""
    if told is None:
        return []
    place = _place(told)
    return [
        f"Whoever may round ({' or '.join(each.baselines)}): {each.place['layer']} "
        f"{marked(_says(each), each.warnings)}, where {told.estimate} holds in fp32."
        for each in over_rounding(results)
        if _place(each) == place
    ]


def _says(found: Crossover) -> str:
    medians = found.by_medians
    if found.estimate.kind == "open" and medians.kind == "between":
        return f"{found.estimate}, by medians alone {medians}"
    return f"{found.estimate}"


def _place(found: Crossover) -> tuple[object, ...]:
    # A search has a pattern of its own, so that is left out.
    return tuple(found.place[name] for name in AXES)


def _line(found: Crossover, usual: Crossover | None) -> dict[str, object]:
    names = "network", "layer", "batch", "computes", "pattern", "device"
    return {name: found.place[name] for name in names} | {
        "fp32": usual.text if usual else "",
        "fp32_warnings": "; ".join(usual.warnings) if usual else "",
        "rounding": found.text,
        "rounding_warnings": "; ".join(found.warnings),
        "over": " or ".join(found.baselines),
        "top_speedup": times(found.top_speedup),
        "top_warnings": "; ".join(found.top_warnings),
    }


_COLUMNS = [
    Column("layer", "layer", filtered=True),
    Column("network", "network", filtered=True),
    Column("batch", "batch", "count", filtered=True),
    Column("computes", "pass", filtered=True),
    Column("fp32", "crossover in fp32", marked_by=("fp32_warnings",)),
    Column("rounding", "crossover over the rounding product", marked_by=("rounding_warnings",)),
    Column("over", "over"),
    Column("top_speedup", "speedup at the highest sparsity", marked_by=("top_warnings",)),
]
