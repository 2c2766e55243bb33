"""A training step, kernel by kernel, against the fastest masked dense kernel of the device.

An answer in JSON is a kernel in a step: ``network``, ``network_sparsity``, ``pattern`` (where the
weights are from), ``optimizer``, ``batch``, ``threads``, ``nnz``, ``kernel``, ``format``,
``status`` and ``reason``; of a measured one every metric besides.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from crossover.bench.records.rows import ProblemRecord
from crossover.reports import metrics
from crossover.reports.plots import forest
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.forest import Scale
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import (
    Row,
    Table,
    cells,
    interval,
    interval_in,
    marked,
    number,
    percent,
    seconds,
)
from crossover.reports.views import gpu

_TITLE = "Training steps"
_WEIGHTS = {
    "trained": "trained and pruned weights",
    "initial": "untrained weights of which the largest stay",
    "random": "untrained weights of which a random choice stays",
}
_PROBLEM = (
    "network", "network_sparsity", "sparsity", "pattern", "batch", "threads", "nnz", "kernel",
    "format", "device", "status", "reason",
)  # fmt: skip


def section(results: Results) -> Section | None:
    """Return how long a step takes."""
    visits = results.visits_of("step")
    if not visits:
        return None
    problems = {visit.problem.problem_id: visit.problem for visit in visits}
    rows = metrics.of_study(results, "step")
    rows = rows.sort_values("time_s", kind="stable") if len(rows) else rows
    lines = [
        _line(row, problem)
        for problem_id, problem in problems.items()
        for row in rows[rows["problem_id"] == problem_id].to_dict("records")
    ]
    absent = metrics.not_measured(results, visits)
    answers = [
        _answer(row, problems[row["problem_id"]])
        for part in (rows, absent)
        for row in part.to_dict("records")
    ]
    patterns = dict.fromkeys(problem.pattern for problem in problems.values())
    origins = "; ".join(_WEIGHTS.get(pattern, pattern) for pattern in patterns)
    table = Table.of(f"{_TITLE}, {origins}", lines)
    parts = [
        Part(_TITLE, plots=_plots(results, rows), tables=[table]),
        *filter(None, [gpu.part(rows)]),
    ]
    return Section.of(results, "step", _TITLE, _sentences(rows), parts, answers, [table])


def _plots(results: Results, rows: pd.DataFrame) -> list[Plot]:
    """Return a plot of the speedups over masked dense: of the whole step, and of what is inside."""
    if rows.empty:
        return []
    shown = rows[rows["sparse"].astype(bool) & rows["speedup"].notna()]
    kinds = {"speedup": ("the whole step", "#1a6fe6", "o"),
             "speedup_inside": ("passes and updates alone", "#cd810f", "D")}  # fmt: skip
    lines = [
        {"label": f"{row['network']} at {percent(row['network_sparsity'])}, batch {row['batch']}, "
                  f"{row['kernel']}",
         "value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"],
         "kind": kind, "colour": colour, "marker": marker}
        for row in shown.sort_values("speedup", ascending=False).to_dict("records")
        for name, (kind, colour, marker) in kinds.items()
        if pd.notna(row[name])
    ]  # fmt: skip
    if not lines:
        return []
    data = pd.DataFrame(lines)
    scale = Scale("times as fast as the fastest masked dense", lambda v: f"{v:g}×", log=True,
                  marks=((1.0, ""),))  # fmt: skip
    title = "Training steps against the fastest masked dense"
    said = " ".join(_sentences(rows)[:3])
    drawn = partial(forest.draw, data, title, scale)
    return [Plot(title, file_name("step"), drawn, data, f"{title}. {said}")]


def _optimizer(problem: ProblemRecord) -> str:
    return str(problem.recipe.get("optimizer", ""))


def _line(row: Row, problem: ProblemRecord) -> dict[str, str]:
    own, theirs = row["warnings"], row["baseline_warnings"]
    return {
        "network": row["network"],
        "sparsity": percent(row["network_sparsity"]),
        "weights": row["pattern"],
        "optimizer": _optimizer(problem),
        **cells(row, "threads", "batch", "kernel"),
        "time of a step": marked(seconds(row["time_s"]), own),
        "useful GFLOP/s": marked(number(row["useful_gflops"]), own),
        "× fastest masked dense": marked(interval(interval_in(row, "speedup")), own, theirs),
        "passes and updates alone": marked(
            interval(interval_in(row, "speedup_inside")), own, theirs
        ),
        "fastest masked dense": row["baseline"],
    }


def _sentences(rows: pd.DataFrame) -> list[str]:
    # The kernel's own speedup, as in the table: the sentence is about that kernel.
    fastest = rows.loc[metrics.fastest_sparse(rows).index]
    sentences = [
        f"{row['network']} at {percent(row['network_sparsity'])}, batch {row['batch']}: "
        f"{row['kernel']} takes a step in {marked(seconds(row['time_s']), row['warnings'])}, "
        f"{marked(interval(interval_in(row, 'speedup')), metrics.warnings_in([row]))} times as "
        f"fast as {row['baseline']}."
        for row in fastest.to_dict("records")
    ]
    return sentences or ["No sparse kernel was measured beside a masked dense one."]


def _answer(row: Row, problem: ProblemRecord) -> dict[str, Any]:
    content = {name: row.get(name) for name in _PROBLEM}
    content["optimizer"] = _optimizer(problem)
    if row["status"] != "measured":
        return content
    computed = [n for n in row if any(n.startswith(metric.name) for metric in metrics.METRICS)]
    return content | {name: row[name] for name in computed}
