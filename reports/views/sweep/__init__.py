"""The sweep: the answer, then what it rests on, part by part.

An answer in JSON is a crossover: the axes (``network``, ``layer``, ``batch``, ``computes``,
``threads``, ``caches``, ``device``, ...), ``kernel`` (or ``fastest sparse``), ``estimate``
(``kind``, ``low``, ``high``, ``confidence``, ``text``) with the ``warnings`` about the times that
decide it, whether it was ``searched`` for between the sparsities of the grid and then
``confirmed``, and the speedup and kernel at the highest sparsity with their ``top_warnings``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import pandas as pd

from crossover.bench.statistics.search_answers import FASTEST, FASTEST_SERIES
from crossover.reports import metrics, networks
from crossover.reports.crossovers import Crossover, crossovers, narrowed
from crossover.reports.grids import Column, Grid
from crossover.reports.results import Results
from crossover.reports.sections import Bar, Chart, Part, Section
from crossover.reports.tables import Table, percent, times
from crossover.reports.views import gpu
from crossover.reports.views.search import answers_with_warnings
from crossover.reports.views.sweep import (
    accuracy,
    answer,
    break_even,
    breakdown,
    caches,
    crossover_map,
    curves,
    headline,
    memory,
    roofline,
    rounding,
)

_TITLE = "From which sparsity does a sparse kernel pay?"


def section(results: Results) -> Section | None:
    """Return what a sweep found."""
    if not results.visits_of("sweep"):
        return None
    rows = metrics.of_study(results, "sweep")
    best, each_kernel = found(results)
    points = networks.points(rows)
    parts = [
        crossover_map.part(best),
        breakdown.part(rows, points),
        accuracy.part(points),
        curves.part(results, rows, best),
        curves.other_passes(results, rows, best),
        headline.part(results),
        roofline.part(results, rows),
        memory.part(results, rows),
        break_even.part(results, rows),
        rounding.part(results, best),
        caches.part(rows),
        gpu.part(rows),
        Part("Crossovers kernel by kernel", grids=_crossover_grids([*best, *each_kernel]),
             folded=True),
    ]  # fmt: skip
    told = answer.headline(best)
    return Section.of(
        results,
        "sweep",
        _TITLE,
        [*answer.sentences(best, points), *rounding.sentence(results, told)],
        [each for each in parts if each is not None],
        [each.record() for each in (*best, *each_kernel)],
        _brief(best, points, told) if told else [],
        _chart(rows, told) if told else None,
    )


@lru_cache(maxsize=16)
def found(results: Results) -> tuple[list[Crossover], list[Crossover]]:
    """Return the crossovers of the fastest sparse kernels, as searched, and those of each."""
    of_all = crossovers(metrics.of_study(results, "sweep"))
    searched = answers_with_warnings(results, FASTEST_SERIES)
    best = narrowed([each for each in of_all if each.kernel == FASTEST], searched)
    return best, [each for each in of_all if each.kernel != FASTEST]


def of_the_grid(results: Results) -> list[Crossover]:
    """Return the crossovers of the fastest sparse kernels between sparsities of the grid."""
    rows = metrics.of_study(results, "sweep")
    return [each for each in crossovers(rows) if each.kernel == FASTEST]


def _brief(
    best: Sequence[Crossover], points: Sequence[networks.NetworkPoint], told: Crossover
) -> list[Table]:
    """Return the crossovers of the headline's pass, and the breakdown of its network."""
    same = "network", "computes", "threads", "caches", "device"
    others = [each for each in best if all(each.place[n] == told.place[n] for n in same)]
    title = f"Crossovers of {told.place['network']}, {told.place['computes']}"
    return [crossover_map.pivot(others, title), *breakdown.brief(points, told.place)]


def _chart(rows: pd.DataFrame, told: Crossover) -> Chart:
    """Return the speedup of the headline's layer over sparsity."""
    same = "network", "layer", "batch", "computes", "threads", "caches", "device"
    chosen = metrics.fastest_sparse(rows)
    for name in same:
        chosen = chosen[chosen[name] == told.place[name]]
    bars = [
        Bar(percent(row["sparsity"]), row["speedup"], f"{times(row['speedup'])} × {row['kernel']}")
        for row in chosen.sort_values("sparsity").to_dict("records")
    ]
    place = told.place
    return Chart(f"Speedup of {place['layer']}, batch {place['batch']}, over sparsity", bars, 1.0)


def _crossover_grids(found: Sequence[Crossover]) -> list[Grid]:
    """Return every crossover, of the fastest sparse kernel and of each."""
    if not found:
        return []
    lines = [
        {
            **{name: each.place[name] for name in
               ("network", "layer", "batch", "computes", "pattern", "device", "threads", "caches")},
            "kernel": each.kernel,
            "crossover": each.text,
            "low": each.estimate.low,
            "high": each.estimate.high,
            "by": "search" if each.searched else "the grid",
            "top_sparsity": each.top_sparsity,
            "top_speedup": each.top_speedup,
            "top_kernel": each.top_kernel,
            "over": " or ".join(each.baselines),
            "warnings": "; ".join(each.warnings),
            "top_warnings": "; ".join(each.top_warnings),
        }
        for each in found
    ]  # fmt: skip
    columns = [
        Column("layer", "layer", filtered=True),
        Column("kernel", "kernel", filtered=True),
        Column("crossover", "crossover (95 %)", meaning="range of sparsity in which the speedup "
               "passes 1", marked_by=("warnings",)),
        Column("network", "network", filtered=True),
        Column("batch", "batch", "count", filtered=True),
        Column("computes", "pass", filtered=True),
        Column("low", "from", "percent", "lower end of the range"),
        Column("high", "to", "percent", "upper end of the range"),
        Column("by", "by", meaning="a search between the sparsities of the grid, or the grid"),
        Column("top_sparsity", "highest sparsity", "percent"),
        Column("top_speedup", "speedup there", "times", marked_by=("top_warnings",)),
        Column("top_kernel", "by kernel"),
        Column("over", "over", meaning="every dense kernel that was the fastest somewhere"),
        Column("pattern", "pattern", filtered=True),
        Column("device", "device"),
        Column("threads", "threads", "count"),
        Column("caches", "caches", filtered=True),
    ]  # fmt: skip
    return [Grid("Crossovers over the fastest dense kernel", pd.DataFrame(lines), columns)]
