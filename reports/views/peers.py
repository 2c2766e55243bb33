"""Ours against the fastest peer and the fastest dense kernel of each problem.

An answer in JSON is one of our kernels in one problem: ``network`` (or the group of matrices),
``layer``, ``computes``, ``m``, ``k``, ``batch``, ``n``, ``nnz``, ``sparsity``, ``kernel``,
``time_s``, ``useful_gflops``, ``roofline``; ``peer``, ``dense`` and
``rounding`` (a dense kernel of fewer bits), what it is held against; ``over_peer``, ``over_dense``
and ``over_rounding``, the speedups with their intervals; and the ``warnings`` about its own times,
``peer_warnings`` and ``dense_warnings``.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import pandas as pd

from crossover.bench.statistics.comparison import ROUNDING
from crossover.bench.statistics.rates import geometric_mean
from crossover.reports import metrics
from crossover.reports.grids import Column, Grid
from crossover.reports.plots import forest
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.forest import Scale
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import Table, interval_in, marked, number, percent, times

_TITLE = "Our kernels against peers"
_SAME = ["problem_id", "kernel"]
_PROBLEM = (
    "network", "layer", "network_sparsity", "computes", "m", "k", "batch", "n", "nnz", "sparsity",
    "threads", "caches", "kernel", "device", "time_s", "useful_gflops", "roofline", "warnings",
)  # fmt: skip


def section(results: Results) -> Section | None:
    """Return how our kernels compare."""
    if not results.visits_of("peers"):
        return None
    rows = compared(results)
    together = _table(rows, ["kernel", "computes"], "All problems together", brief=True)
    parts = [
        Part(
            _TITLE,
            plots=_plots(results, rows),
            tables=[_table(rows, ["network", "computes", "batch", "kernel"], _TITLE)],
        ),
        Part("Every problem", grids=_grids(rows), folded=True),
    ]
    answers = [_answer(row) for row in rows.to_dict("records")]
    return Section.of(results, "peers", _TITLE, _sentences(rows), parts, answers, [together])


def compared(results: Results) -> pd.DataFrame:
    """Return a row per problem and kernel of ours, with its speedups over peers and dense ones."""
    dense = metrics.of_study(results, "peers")
    if dense.empty or not (dense["role"] == "ours").any():
        return pd.DataFrame()
    figures = ["speedup", "speedup_low", "speedup_high", "baseline_warnings"]
    found = dense[dense["role"] == "ours"]
    for role, suffix in (("peer", "_peer"), (ROUNDING, "_rounding")):
        over = metrics.of_study(results, "peers", role)[[*_SAME, "baseline", *figures]]
        found = found.merge(over, on=_SAME, suffixes=("", suffix))
    return found


def _plots(results: Results, rows: pd.DataFrame) -> list[Plot]:
    """Return a plot of the means over the best peers, from the worst problem to the best."""
    if rows.empty:
        return []
    lines = []
    keys = ["computes", "batch", "kernel"]
    for (computes, batch, kernel), part in rows.dropna(subset="speedup_peer").groupby(keys):
        look = results.kernels[str(kernel)]
        lines.append(
            {"label": f"{computes}, batch {batch}, {kernel} ({len(part)} problems)",
             "value": geometric_mean(part["speedup_peer"]), "low": part["speedup_peer"].min(),
             "high": part["speedup_peer"].max(), "kind": f"{kernel}", "colour": look.colour,
             "marker": look.marker}
        )  # fmt: skip
    if not lines:
        return []
    data = pd.DataFrame(lines)
    scale = Scale("times as fast as the best peer: geometric mean, from worst to best",
                  lambda value: f"{value:g}×", log=True, marks=((1.0, ""),))  # fmt: skip
    said = " ".join(_sentences(rows)[:3])
    drawn = partial(forest.draw, data, _TITLE, scale)
    return [Plot(_TITLE, file_name("peers"), drawn, data, f"{_TITLE}. {said}")]


def _grids(rows: pd.DataFrame) -> list[Grid]:
    """Return every problem of every kernel of ours."""
    if rows.empty:
        return []
    own, peer = ("warnings", "baseline_warnings"), ("warnings", "baseline_warnings_peer")
    rounding = ("warnings", "baseline_warnings_rounding")
    columns = [
        Column("layer", "layer", filtered=True),
        Column("kernel", "kernel", filtered=True),
        Column("network", "matrices", filtered=True),
        Column("computes", "pass", filtered=True),
        Column("batch", "batch", "count", filtered=True),
        Column("sparsity", "sparsity", "percent"),
        Column("time_s", "time", "seconds", "of a call", ("warnings",)),
        Column("speedup_peer", "× best peer", "times", "over the fastest peer", peer),
        Column("baseline_peer", "best peer"),
        Column("speedup", "× fastest dense", "times", "over the fastest dense kernel", own),
        Column("baseline", "fastest dense"),
        Column(
            "speedup_rounding",
            "× dense that rounds",
            "times",
            "over the fastest dense kernel that reads fp32 with fewer bits",
            rounding,
        ),
        Column("baseline_rounding", "dense that rounds"),
        Column("useful_gflops", "useful GFLOP/s", "number", "", ("warnings",)),
        Column("roofline", "of roofline", "share", "", ("warnings",)),
    ]
    return [Grid("Every problem", rows, columns, order="speedup_peer")]


def _sentences(rows: pd.DataFrame) -> list[str]:
    if rows.empty:
        return ["None of our kernels was measured beside a peer."]
    sentences = [
        f"{kernel} is {_over_peer(met)} times as fast as the best peer "
        f"(geometric mean of {len(met)} problems; faster in {sum(met['speedup_peer'] > 1)}); worst "
        f"{_worst(met)}."
        for kernel, met in rows.dropna(subset="speedup_peer").groupby("kernel", sort=False)
    ]
    return sentences or ["None of our kernels was measured beside a peer."]


def _table(rows: pd.DataFrame, keys: list[str], title: str, brief: bool = False) -> Table:
    """Return a line per value of ``keys``; on the terminal sentences say what was worst."""
    lines = []
    for values, part in rows.groupby(keys, sort=True) if len(rows) else ():
        met = part[part["speedup_peer"].notna()]
        names = {"network": "matrices", "computes": "pass"}
        lines.append(
            {names.get(k, k): f"{v}" for k, v in zip(keys, values, strict=True)}
            | {
                "problems": f"{len(part)}",
                "× best peer": _over_peer(met),
                "worst": _worst(met) if not brief and len(met) else "",
                "× fastest dense": _marked(
                    times(geometric_mean(part["speedup"].dropna())),
                    part,
                    "warnings",
                    "baseline_warnings",
                ),
                "× dense that rounds": _marked(
                    times(geometric_mean(part["speedup_rounding"].dropna())),
                    part,
                    "warnings",
                    "baseline_warnings_rounding",
                ),
                "useful GFLOP/s": _marked(number(part["useful_gflops"].median()), part, "warnings"),
                "of roofline": _marked(
                    percent(round(part["roofline"].median(), 2)), part, "warnings"
                ),
            }
        )
    return Table.of(title, lines)


def _over_peer(rows: pd.DataFrame) -> str:
    """Return the geometric mean of the speedups over the best peers."""
    mean = times(geometric_mean(rows["speedup_peer"]))
    return _marked(mean, rows, "warnings", "baseline_warnings_peer")


def _marked(text: str, rows: pd.DataFrame, *columns: str) -> str:
    """Return a figure of many problems, marked with how many of them have warnings."""
    warned = rows[list(columns)]
    count = int((warned != "").any(axis=1).sum())
    whole = marked(text, *warned.to_numpy().ravel())
    return f"{whole} {count}/{len(rows)}" if text and count else text


def _worst(rows: pd.DataFrame) -> str:
    """Return the least speedup over the peer, in which problem, and over which."""
    row = rows.loc[rows["speedup_peer"].idxmin()]
    problem = f"{row['layer']} at {percent(row['sparsity'])}, batch {row['batch']}"
    least = marked(times(row["speedup_peer"]), row["warnings"], row["baseline_warnings_peer"])
    return f"{least} ({problem}; {row['baseline_peer']})"


def _answer(row: dict[Any, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _PROBLEM} | {
        "peer": row["baseline_peer"] or None,
        "over_peer": asdict(interval_in(row, "speedup", "_peer")),
        "peer_warnings": row["baseline_warnings_peer"],
        "dense": row["baseline"] or None,
        "dense_warnings": row["baseline_warnings"],
        "over_dense": asdict(interval_in(row, "speedup")),
        "rounding": row["baseline_rounding"] or None,
        "over_rounding": asdict(interval_in(row, "speedup", "_rounding")),
    }
