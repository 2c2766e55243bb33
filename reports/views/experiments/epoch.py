"""Whole epochs by sparse kernels and by masked dense, and the accuracy after them.

An answer in JSON is a kernel in an epoch: ``network``, ``network_sparsity``, ``threads``, ``nnz``,
``kernel``, ``time_s`` of an epoch, ``speedup`` over the fastest masked dense with its ends, and
``accuracy`` after all epochs (mean, least, most and each over seeds).
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import pandas as pd

from crossover.bench.statistics.comparison import Contest, contests
from crossover.bench.statistics.experiments.seeds import Spread, pooled_over_seeds
from crossover.reports import metrics
from crossover.reports.plots import forest
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.forest import Scale
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import Table, interval, interval_in, marked, percent, seconds
from crossover.reports.views.experiments import shown

NAME = "epoch"
_TITLE = "Epochs of training"
_PROBLEM = "network", "network_sparsity", "threads", "nnz", "kernel", "time_s", "speedup"


def section(results: Results) -> Section | None:
    """Return how long epochs take, and what they reach."""
    visits = shown.visits_of(results, NAME)
    if not visits:
        return None
    found = contests(pooled_over_seeds(visits), results.kernels)
    reached = {key: value for contest in found for key, value in _reached(contest).items()}
    rows = metrics.measured(results, found, "masked dense")
    if len(rows):  # else columns are missing
        rows = rows.sort_values(["network", "network_sparsity", "time_s"], kind="stable")
    records = rows.to_dict("records")
    table = Table.of(_TITLE, [_line(row, reached[_key(row)]) for row in records])
    answers = [_answer(row, reached[_key(row)]) for row in records]
    parts = [Part(_TITLE, plots=_plots(records), tables=[table])]
    size = shown.size_of(results, NAME)
    sentences = _sentences(records, reached, size)
    return Section.of(results, NAME, _TITLE, sentences, parts, answers, [table])


def _key(row: Any) -> tuple[str, str]:
    return str(row["problem_id"]), str(row["kernel"])


def _reached(contest: Contest) -> dict[tuple[str, str], Spread]:
    """Return the accuracy at the end by problem and kernel, over seeds."""
    return {
        (contest.problem.problem_id, name): Spread.of(
            [visit.rows[name].accuracies[-1] for visit in each.visits]
        )
        for name, each in contest.measurements.items()
    }


def _sentences(
    records: list[dict[Any, Any]], reached: dict[tuple[str, str], Spread], size: str
) -> list[str]:
    sentences = []
    for row in records:
        if not row["sparse"] or not row["speedup"] > 0:
            continue
        own, theirs = reached[_key(row)], reached[str(row["problem_id"]), str(row["baseline"])]
        apart = _apart(own, theirs)
        widest = max(own.high - own.low, theirs.high - theirs.low)
        told = "inside" if apart <= widest else "outside"
        sentences.append(
            f"{row['network']} at {percent(row['network_sparsity'])}: an epoch by {row['kernel']} "
            f"takes {marked(seconds(row['time_s']), row['warnings'])}, "
            f"{marked(interval(interval_in(row, 'speedup')), metrics.warnings_in([row]))} times as "
            f"fast as {row['baseline']}, {_of_how_many(records, row)}; accuracies on the same seed "
            f"differ by {100 * apart:.2f} points at most, {told} the {100 * widest:.2f} that seeds "
            f"make {size}."
        )
    return sentences or ["No sparse kernel was measured beside a masked dense one yet."]


def _apart(own: Spread, theirs: Spread) -> float:
    """Return by how much accuracies differ on a seed, at most; on average where one has fewer."""
    if len(own.values) != len(theirs.values):
        return abs(own.mean - theirs.mean)
    return max(abs(a - b) for a, b in zip(own.values, theirs.values, strict=True))


def _of_how_many(records: list[dict[Any, Any]], row: Any) -> str:
    """Return what a baseline is among the masked dense kernels that were raced beside it."""
    beside = [each for each in records if each["problem_id"] == row["problem_id"]]
    masked = sum(each["role"] == "masked dense" for each in beside)
    return "the fastest masked dense" if masked > 1 else "the only masked dense that was raced"


def _line(row: Any, accuracy: Spread) -> dict[str, str]:
    own, theirs = row["warnings"], row["baseline_warnings"]
    turned = Spread(accuracy.mean, accuracy.high, accuracy.low, accuracy.values)
    return {
        "network": row["network"],
        "sparsity": percent(row["network_sparsity"]),
        "kernel": row["kernel"],
        "time of an epoch": marked(seconds(row["time_s"]), own),
        "× fastest masked dense": marked(interval(interval_in(row, "speedup")), own, theirs),
        "test error": shown.spread(turned, shown.error),
    }


def _answer(row: Any, accuracy: Spread) -> dict[str, Any]:
    ends = {f"speedup{end}": row[f"speedup{end}"] for end in ("_low", "_high")}
    return {name: row.get(name) for name in _PROBLEM} | ends | {"accuracy": asdict(accuracy)}


def _plots(records: list[dict[Any, Any]]) -> list[Plot]:
    lines = [
        {"label": f"{row['network']} at {percent(row['network_sparsity'])}, {row['kernel']}",
         "value": row["speedup"], "low": row["speedup_low"], "high": row["speedup_high"],
         "kind": row["kernel"], "colour": "#1a6fe6", "marker": "^"}
        for row in records
        if row["sparse"] and row["speedup"] > 0
    ]  # fmt: skip
    if not lines:
        return []
    data = pd.DataFrame(lines)
    scale = Scale("times as fast as the fastest masked dense", lambda v: f"{v:g}×", log=True,
                  marks=((1.0, ""),))  # fmt: skip
    title = "Epochs against the fastest masked dense"
    drawn = partial(forest.draw, data, title, scale)
    return [Plot(title, file_name(NAME), drawn, data, f"{title}. The table has the accuracies.")]
