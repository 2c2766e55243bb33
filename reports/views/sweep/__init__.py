"""The sweep: crossovers, the fastest kernels per layer, and every kernel's figures.

An answer in JSON is a crossover: the axes (``network``, ``layer``, ``batch``, ``computes``,
``threads``, ``caches``, ``device``, ...), ``kernel`` (or ``fastest sparse``), ``estimate``
(``kind``, ``low``, ``high``, ``confidence``, ``text``) with the ``warnings`` about the times that
decide it, whether it was ``searched`` for between the sparsities of the grid and then
``confirmed``, and the speedup and kernel at the highest sparsity with their ``top_warnings``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import pandas as pd

from crossover.bench.statistics.crossover import CrossoverEstimate
from crossover.bench.statistics.search_answers import FASTEST, FASTEST_SERIES
from crossover.reports import metrics
from crossover.reports.crossovers import Crossover, crossovers, narrowed
from crossover.reports.grids import Column, Grid
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.sweep import speedup
from crossover.reports.results import Results
from crossover.reports.sections import PASS_TITLES, Part, Section
from crossover.reports.tables import (
    Table,
    accuracy,
    cells,
    interval,
    interval_in,
    marked,
    percent,
    seconds,
)
from crossover.reports.views.search import answers_with_warnings

_TITLE = "From which sparsity does a sparse kernel pay?"
# What a network is told apart by.
_NETWORK = ["network", "network_sparsity", "pattern", "scope", "accuracy"]
# What a plot of speedups shows, as its data.
_PLOTTED = [
    "layer", "m", "k", "batch", "sparsity", "nnz", "kernel", "speedup", "speedup_low",
    "speedup_high", "baseline", "warnings", "baseline_warnings",
]  # fmt: skip
_NONE = "No sparse kernel was measured beside a dense one."


def section(results: Results) -> Section | None:
    """Return what a sweep found."""
    if not results.visits_of("sweep"):
        return None
    rows = metrics.of_study(results, "sweep")
    found = crossovers(rows)
    searched = answers_with_warnings(results, FASTEST_SERIES)
    best = narrowed([each for each in found if each.kernel == FASTEST], searched)
    each_kernel = [each for each in found if each.kernel != FASTEST]
    headline = _headline(best)
    sentences = [_sentence(headline) if headline else _NONE]
    parts = [
        Part("Crossovers", tables=[_crossover_table(best)]),
        Part("Speedup over sparsity", plots=list(_plots(results, rows))),
        Part("Networks", tables=[_network_table(results)]),
        Part("Fastest kernels", tables=[_fastest_table(rows)], folded=True),
        Part(
            "Crossovers kernel by kernel",
            tables=[_crossover_table(each_kernel, each_kernel=True)],
            folded=True,
        ),
        Part("Every kernel's figures", grids=_grids(rows), folded=True),
    ]
    answers = [each.record() for each in (*best, *each_kernel)]
    brief = _brief_tables(rows, best, headline)
    return Section.of(results, "sweep", _TITLE, sentences, parts, answers, brief)


def _says(estimate: CrossoverEstimate) -> str:
    """Return from where on something is faster, as a sentence goes on."""
    return {
        "between": f"from {estimate} sparsity",
        "always": f"at every sparsity measured ({estimate})",
        "never": f"at no sparsity measured ({estimate})",
        "several": f"in more than one range ({estimate})",
        "level": f"nowhere clearly: they are {estimate}",
        "open": f"from a sparsity that stayed {estimate}",
    }[estimate.kind]


def _headline(best: Sequence[Crossover]) -> Crossover | None:
    """Return the finding: of the largest layer, forward, at the middle batch."""
    forward = [each for each in best if each.place["computes"] == "forward"] or list(best)
    if not forward:
        return None
    batches = sorted({each.place["batch"] for each in forward})
    middle = batches[len(batches) // 2]
    chosen = [each for each in forward if each.place["batch"] == middle]
    return max(chosen, key=lambda each: each.place["m"] * each.place["k"])


def _sentence(found: Crossover) -> str:
    place, estimate = found.place, found.estimate
    return (
        f"{place['network']} {place['layer']} ({place['m']} × {place['k']}), "
        f"batch {place['batch']}, {place['computes']}, on the {place['device'].upper()}, "
        f"{place['caches']}: the fastest sparse kernel beats the fastest dense one "
        f"({' or '.join(found.baselines)}) {_says(estimate)} "
        f"({marked(f'{100 * estimate.confidence:g} %', found.warnings)}{_how(found)}); at "
        f"{percent(found.top_sparsity)} sparsity the speedup is "
        f"{marked(f'{found.top_speedup:.2f} ×', found.top_warnings)} ({found.top_kernel})."
    )


def _how(found: Crossover) -> str:
    """Return how an answer was found, as its bracket goes on."""
    if not found.searched:
        return ", between sparsities of the grid"
    return ", searched and confirmed" if found.confirmed else ", searched, not confirmed yet"


def _crossover_table(found: Sequence[Crossover], each_kernel: bool = False) -> Table:
    which = "each sparse kernel" if each_kernel else "the fastest sparse kernel"
    columns = "network", "layer", "batch", "pass", "pattern", "device", "threads", "caches"
    lines = [
        cells(each.place, *columns)
        | {
            "kernel": each.kernel if each_kernel else "",
            "crossover (95 %)": marked(each.text, each.warnings),
            "by": "search" if each.searched else "" if each_kernel else "the grid",
            "speedup at the highest sparsity": (
                f"{marked(f'{each.top_speedup:.2f} ×', each.top_warnings)} at "
                f"{percent(each.top_sparsity)} ({each.top_kernel})"
            ),
            "over": " or ".join(each.baselines) if each_kernel else "",
        }
        for each in found
    ]
    title = f"Crossover of {which} over the fastest dense one"
    return Table.of(title, lines)


def _brief_tables(
    rows: pd.DataFrame, best: Sequence[Crossover], headline: Crossover | None
) -> list[Table]:
    """Return the headline's layer over sparsity, and the crossovers of its pass."""
    if headline is None:
        return []
    place = headline.place
    same = "network", "layer", "batch", "computes", "threads", "caches", "device"
    chosen = rows
    for name in same:
        chosen = chosen[chosen[name] == place[name]]
    others = [
        each
        for each in best
        if all(each.place[n] == place[n] for n in ("computes", "threads", "caches", "device"))
    ]
    return [_fastest_table(chosen, "Fastest kernels over sparsity"), _crossover_table(others)]


def _fastest_table(rows: pd.DataFrame, title: str = "Fastest kernels per layer") -> Table:
    """Return the fastest dense and the fastest sparse kernel of each problem."""
    columns = (
        "network", "asked", "accuracy", "layer", "nnz", "sparsity", "batch", "pass", "threads",
        "caches",
    )  # fmt: skip
    lines = [
        cells(row, *columns)
        | {
            "fastest dense": (
                f"{marked(seconds(row['baseline_s']), row['baseline_warnings'])} "
                f"({row['baseline']})"
            ),
            "fastest sparse": (
                f"{marked(seconds(row['time_s']), row['warnings'])} ({row['kernel']})"
            ),
            "speedup (95 %)": marked(
                interval(interval_in(row, "speedup")), row["warnings"], row["baseline_warnings"]
            ),
        }
        for row in metrics.fastest_sparse(rows).to_dict("records")
    ]
    return Table.of(title, lines)


def _network_table(results: Results) -> Table:
    """Return each network at each sparsity with its accuracy and size."""
    problems = pd.DataFrame([vars(visit.problem) for visit in results.visits_of("sweep")])
    layers = problems.dropna(subset="accuracy").drop_duplicates([*_NETWORK, "layer"])
    lines = []
    for (name, sparsity, pattern, scope, reached), group in layers.groupby(_NETWORK, sort=False):
        weights, nnz = (group["m"] * group["k"]).sum(), group["nnz"].sum()
        lines.append(
            {
                "network": name,
                "pruned": pattern if pattern == "dense" else f"{pattern}, {scope}",
                "sparsity": percent(sparsity),
                "test accuracy": accuracy(reached),
                "weights": f"{weights:,}",
                "nonzero": f"{nnz:,}",
                "fewer": f"{weights / nnz:.1f} ×" if nnz else "",
            }
        )
    return Table.of("Networks", lines)


def _grids(rows: pd.DataFrame) -> list[Grid]:
    """Return every kernel's figures in every problem."""
    if rows.empty:
        return []
    columns = [
        Column("network", "network", filtered=True),
        Column("network_sparsity", "asked", "percent", "sparsity of the whole network", (), True),
        Column("layer", "layer", filtered=True),
        Column("m", "m", "count", "outputs"),
        Column("k", "k", "count", "inputs"),
        Column("nnz", "nnz", "count", "stored nonzeros of W"),
        Column("sparsity", "sparsity", "percent", "of the layer"),
        Column("batch", "batch", "count", "images", (), True),
        Column("computes", "pass", filtered=True),
        Column("caches", "caches", filtered=True),
        Column("threads", "threads", "count"),
        Column("kernel", "kernel", filtered=True),
        *metrics.columns(rows),
    ]
    return [Grid("Every kernel's figures", rows, columns)]


def _plots(results: Results, rows: pd.DataFrame) -> Iterator[Plot]:
    """Yield a plot per network, pass, device, number of threads, and caches."""
    if rows.empty:
        return
    shown = rows[(rows["role"] != "dense") & rows["speedup"].notna()]
    keys = ["network", "device", "threads", "caches", "computes"]
    for (name, device, threads, caches, computes), part in shown.groupby(keys, sort=False):
        where = f"CPU, {threads} threads" if device == "cpu" else "GPU"
        title = f"{name}, {PASS_TITLES[computes]}, {where}, {caches}"
        yield Plot(
            title,
            file_name("speedup", name, device, threads, caches, computes),
            partial(speedup.draw, part, results.kernels, title),
            part[_PLOTTED],
            f"{title}: speedup of each kernel over the fastest dense one, over sparsity, "
            "with intervals.",
        )
