"""From which sparsity a sparse training step beats masked dense, by network and batch.

An answer in JSON is a kernel in a step: ``network``, ``network_sparsity``, ``batch``, ``threads``,
``nnz``, ``kernel``, and every metric, over the seeds: speedups are over the fastest masked dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from crossover.bench.records.rows import Row as MeasuredRow
from crossover.bench.statistics.comparison import Contest, Pair, contests, fastest, speedups
from crossover.bench.statistics.experiments.seeds import pooled_over_seeds
from crossover.bench.statistics.intervals import Interval
from crossover.bench.statistics.rates import geometric_mean
from crossover.reports import metrics
from crossover.reports.plots import panels
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.panels import Lines, as_factor
from crossover.reports.results import Results
from crossover.reports.sections import PASS_TITLES, Part, Section
from crossover.reports.tables import (
    Table,
    cells,
    interval,
    interval_in,
    marked,
    percent,
    seconds,
)
from crossover.reports.views.experiments import shown

NAME = "training-step"
_TITLE = "Training steps over sparsity"
_PROBLEM = "network", "network_sparsity", "sparsity", "batch", "threads", "nnz", "kernel", "status"
#: Nerva's network with its batch, and what it reports of an epoch of 50,000 images on 4 threads of
#: another machine: seconds by sparsity, dense first.
NERVA = "cifar-10-mlp"
_NERVA_S = {0.0: 8.2, 0.5: 31.5, 0.9: 7.4, 0.995: 2.6}
_NERVA_STEPS = 500
#: Sparsities, with speedups over the fastest masked dense.
_Speedups = list[tuple[float, Interval]]


def section(results: Results) -> Section | None:
    """Return how long steps take."""
    visits = shown.visits_of(results, NAME)
    if not visits:
        return None
    found = contests(pooled_over_seeds(visits), results.kernels)
    rows = metrics.measured(results, found)
    if len(rows):  # else columns are missing
        rows = rows.sort_values(["network", "batch", "network_sparsity", "time_s"], kind="stable")
    table = Table.of(_TITLE, [_line(row) for row in rows.to_dict("records")])
    found_speedups = _speedups(rows)
    brief = Table.of("From which sparsity a step pays", [_brief(*each) for each in found_speedups])
    answers = [_answer(row) for row in rows.to_dict("records")]
    parts = [
        Part(_TITLE, plots=_plots(results, rows), tables=[brief, _by_pass(found)]),
        Part("Every step", tables=[table], folded=True),
    ]
    size = f"({shown.seeds_of(visits)})"
    sentences = [*_sentences(found_speedups), *_beside_nerva(rows)]
    if not sentences:
        sentences = ["No sparse kernel was measured beside a masked dense one yet."]
    sentences[0] = f"{sentences[0][:-1]} {size}."
    return Section.of(results, NAME, _TITLE, sentences, parts, answers, [brief])


def _by_pass(found: Sequence[Contest]) -> Table:
    """Return from which sparsity each pass, and the update, is faster than the baseline's."""
    points: dict[tuple[str, int, str], dict[str, list[tuple[float, Interval]]]] = {}
    for part in (*PASS_TITLES, "update"):
        pairs = [pair for contest in found for pair in _pairs(contest, part)]
        for pair, speedup in zip(pairs, speedups(pairs, partial(_of_part, part)), strict=True):
            it = pair.candidate.problem
            own = points.setdefault((it.network, it.batch, pair.candidate.kernel.name), {})
            own.setdefault(part, []).append((it.network_sparsity, speedup))
    lines = [
        {"network": network, "batch": f"{batch}", "kernel": kernel}
        | {part: shown.from_where(there) for part, there in parts.items()}
        for (network, batch, kernel), parts in sorted(points.items())
    ]
    return Table.of("From which sparsity each pass is faster, and the update", lines)


def _pairs(contest: Contest, part: str) -> list[Pair]:
    """Return each sparse kernel with the fastest masked dense, where both have the part timed."""
    there = [
        each
        for each in contest.measurements.values()
        if all(visit.rows[each.kernel.name].part_samples.get(part) for visit in each.visits)
    ]
    masked = fastest(each for each in there if each.kernel.role == "masked dense")
    return [Pair(each, masked) for each in there if masked and each.leaves_out]


def _of_part(part: str, row: MeasuredRow) -> Sequence[float]:
    return row.part_samples.get(part, [])


def _speedups(rows: pd.DataFrame) -> list[tuple[str, int, str, _Speedups]]:
    """Return (network, batch, kernel, speedups over sparsity) of the sparse kernels."""
    found: list[tuple[str, int, str, _Speedups]] = []
    if rows.empty:
        return found
    sparse = rows[rows["sparse"].astype(bool) & rows["speedup"].notna()]
    for (network, batch, kernel), there in sparse.groupby(["network", "batch", "kernel"]):
        points = [
            (row["network_sparsity"], interval_in(row, "speedup"))
            for row in there.to_dict("records")
        ]
        found.append((str(network), int(batch), str(kernel), points))
    return found


def _brief(network: str, batch: int, kernel: str, points: _Speedups) -> dict[str, str]:
    faster = shown.from_where(points)
    return {"network": network, "batch": f"{batch}", "kernel": kernel, "faster": faster}


def _sentences(found: Sequence[tuple[str, int, str, _Speedups]]) -> list[str]:
    """Return a sentence per kernel, the fastest first."""
    by_kernel: dict[str, dict[str, list[str]]] = {}
    speed: dict[str, list[float]] = {}
    for network, batch, kernel, points in found:
        told = f"{shown.from_where(points)} at batch {batch}"
        by_kernel.setdefault(kernel, {}).setdefault(network, []).append(told)
        speed.setdefault(kernel, []).extend(speedup.median for _, speedup in points)
    fastest_first = sorted(by_kernel, key=lambda kernel: -geometric_mean(speed[kernel]))
    return [
        f"From which sparsity on a step by {kernel} is faster than the fastest masked dense: "
        + "; ".join(f"{network} {', '.join(told)}" for network, told in by_kernel[kernel].items())
        + "."
        for kernel in fastest_first
    ]


def _beside_nerva(rows: pd.DataFrame) -> list[str]:
    """Return our seconds for an epoch of steps beside those that Nerva reports."""
    if rows.empty or NERVA not in set(rows["network"]):
        return []
    there = rows[rows["network"] == NERVA]
    told = []
    sparse = there[there["sparse"].astype(bool)]
    for sparsity, group in sparse.groupby("network_sparsity"):
        best = group.loc[group["time_s"].idxmin()]
        theirs = _NERVA_S.get(float(sparsity))
        told.append(
            f"{percent(sparsity)} {seconds(_NERVA_STEPS * best['time_s'])} ({best['kernel']}"
            + (f"; Nerva {theirs:g} s)" if theirs else ")")
        )
    masked = there[~there["sparse"].astype(bool)]["time_s"].min()
    return [
        f"{NERVA} (3072-1024-512-10), {_NERVA_STEPS} times the step of one batch of 100 drawn "
        f"images by the fastest sparse kernel, beside epochs of training that Nerva reports of 4 "
        f"threads of another machine: {', '.join(told)}; masked dense "
        f"{seconds(_NERVA_STEPS * masked)} (Nerva's dense {_NERVA_S[0.0]:g} s)."
    ]


def _line(row: Any) -> dict[str, str]:
    own, theirs = row["warnings"], row["baseline_warnings"]
    return {
        "network": row["network"],
        "sparsity": percent(row["network_sparsity"]),
        **cells(row, "batch", "kernel"),
        "time of a step": marked(seconds(row["time_s"]), own),
        "× fastest masked dense": marked(interval(interval_in(row, "speedup")), own, theirs),
        "passes and updates alone": marked(
            interval(interval_in(row, "speedup_inside")), own, theirs
        ),
        "fastest masked dense": row["baseline"],
    }


def _answer(row: Any) -> dict[str, Any]:
    computed = [n for n in row if any(n.startswith(metric.name) for metric in metrics.METRICS)]
    return {name: row.get(name) for name in _PROBLEM} | {name: row[name] for name in computed}


def _plots(results: Results, rows: pd.DataFrame) -> list[Plot]:
    """Return a plot of speedups over sparsity, a row per network; none of nothing."""
    if rows.empty:
        return []
    lines = rows[rows["sparse"].astype(bool) & rows["speedup"].notna()]
    if lines.empty:
        return []
    lines = lines.assign(layer=lines["network"], sparsity=lines["network_sparsity"])
    parts = []
    for network, there in lines.groupby("network", sort=False):
        title = f"{network}: a training step over the fastest masked dense"
        look = Lines("speedup", "times as fast", as_factor, of="network", marked_by=("warnings",))
        drawn = partial(panels.draw, there, results.kernels, title, look)
        said = f"{title}, by sparsity, a panel per batch."
        parts.append(Plot(title, file_name(NAME, network), drawn, there, said))
    return parts
