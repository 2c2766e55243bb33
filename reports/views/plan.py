"""A plan: what each batch is served by, and what that gains over all dense, end to end.

An answer in JSON is a batch: ``network``, ``sparsity``, ``accuracy``, ``batch``, ``threads``, the
``way`` that it is served and the ``kernels`` of its layers (none where it is dense), ``layers``
(each with ``layer``, ``kernel``, ``time_s`` with its interval, ``runner_up`` and ``regret``, the
share that a wrong choice would cost), ``time_s`` end to end with its interval, ``predicted_s`` from
the parts, ``against`` with ``against_s``, ``speedup`` with its interval, ``bytes`` of the operands
and ``dense_bytes``, and ``warnings``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pandas as pd

from crossover.bench.records.rows import ProblemRecord
from crossover.bench.statistics.comparison import Contest, Measurement, Pair, speedups, times
from crossover.bench.statistics.intervals import NOTHING, Interval
from crossover.bench.statistics.networks import Planned, planned
from crossover.reports.plots import forest
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.forest import Scale
from crossover.reports.results import Results
from crossover.reports.sections import Bar, Chart, Part, Section
from crossover.reports.tables import Table, interval, marked, percent, seconds
from crossover.reports.tables import times as ratio

_TITLE = "A plan, verified end to end"
_OURS, _GLUE = "planned", "glue"
_BRIEF = ["network", "batch", "served", "time", "all dense", "× as fast (95 %)", "predicted"]


@dataclass(frozen=True)
class Verified:
    """A batch of a planned network: what it is served by, and what was measured."""

    problem: ProblemRecord
    plan: Planned
    ours: Measurement
    dense: Measurement | None
    time: Interval
    speedup: Interval
    #: Seconds of its products and of what lies between, measured apart; NaN where not all were.
    predicted_s: float
    warnings: tuple[str, ...]


def section(results: Results) -> Section | None:
    """Return what plans gain."""
    if not results.visits_of("plan"):
        return None
    found = verified(results)
    if not found:
        return Section.of(results, "plan", _TITLE, ["No planned network was measured."], [], [])
    table = _table(found)
    kept = [name for name in _BRIEF if name in table.frame]
    brief = [Table(_TITLE, table.frame[kept]), _layer_table(found)]
    parts = [
        Part(_TITLE, plots=[_plot(found)], tables=[table]),
        Part("Layer by layer", tables=[_layer_table(found)]),
    ]
    answers = [_answer(each) for each in found]
    return Section.of(
        results, "plan", _TITLE, _sentences(found), parts, answers, brief, _chart(found)
    )


def verified(results: Results) -> list[Verified]:
    """Return each planned network and batch, by network and batch."""
    layers = [c for name in results.series_of("plan layers") for c in results.contests_of(name)]
    there = [
        (contest, contest.measurements[_OURS])
        for name in results.series_of("plan")
        for contest in results.contests_of(name)
        if _OURS in contest.measurements
    ]
    latest = {_network(contest): contest for contest, _ in there}
    there = [(c, ours) for c, ours in there if _plan_of(c) == _plan_of(latest[_network(c)])]
    pairs = [Pair(ours, contest.baseline(ours)) for contest, ours in there]
    found = [
        _verified(results, contest, pair, time, speedup, layers)
        for (contest, _), pair, time, speedup in zip(
            there, pairs, times([ours for _, ours in there]), speedups(pairs), strict=True
        )
    ]
    return sorted(found, key=lambda each: (each.problem.network, each.problem.batch))


def _verified(
    results: Results,
    contest: Contest,
    pair: Pair,
    time: Interval,
    speedup: Interval,
    layers: Sequence[Contest],
) -> Verified:
    problem, ours = contest.problem, pair.candidate
    plan = planned(json.loads(_plan_of(contest)), problem, layers)
    glue = contest.measurements.get(_GLUE)
    predicted = plan.products_s + (glue.time_s if glue else math.nan)
    warned = results.warnings_of(ours)
    warned += results.warnings_of(pair.baseline) if pair.baseline else ()
    return Verified(problem, plan, ours, pair.baseline, time, speedup,
                    math.nan if plan.way == "dense" else predicted,
                    tuple(dict.fromkeys(warned)))  # fmt: skip


def _plan_of(contest: Contest) -> str:
    return str(contest.problem.recipe["weights"]["plan"])


def _network(contest: Contest) -> tuple[str, float, int]:
    it = contest.problem
    return it.network, it.network_sparsity, it.threads


def _sentences(found: Sequence[Verified]) -> list[str]:
    """Return what each network gains, and where no plan pays."""
    sentences = []
    for key in dict.fromkeys((e.problem.network, e.problem.network_sparsity) for e in found):
        own = [e for e in found if (e.problem.network, e.problem.network_sparsity) == key]
        sentences.append(_sentence(own))
    return sentences


def _sentence(own: Sequence[Verified]) -> str:
    it = own[0].problem
    said = f"{it.network}, {percent(it.sparsity)} zeros"
    if it.accuracy is not None and not math.isnan(it.accuracy):
        said += f", {100 * (1 - it.accuracy):.2f} % error"
    faster = [each for each in own if each.speedup.decided is True]
    if not faster:
        return f"{said}: no plan was faster than all dense at a batch that was measured."
    best = max(faster, key=lambda each: each.speedup.median)
    middle = own[len(own) // 2]
    told = dict.fromkeys(id(each) for each in (own[0], middle, best))
    parts = [
        f"{marked(f'{interval(e.speedup)} ×', e.warnings)} at batch {e.problem.batch}"
        for e in own
        if id(e) in told
    ]
    dense_by = dict.fromkeys(e.dense.kernel.name for e in own if e.dense and id(e) in told)
    slower = [f"{each.problem.batch}" for each in own if each.speedup.decided is False]
    dense = [f"{each.problem.batch}" for each in own if each.plan.way == "dense"]
    more = f"; slower at batch {', '.join(slower)}" if slower else ""
    more += f"; dense stays at batch {', '.join(dense)}" if dense else ""
    against = f"as fast as all dense (by {' or '.join(dense_by)}, the fastest there)"
    return f"{said}, by its plan: {', '.join(parts)} {against}{more}; {_limit(middle)}"


def _limit(each: Verified) -> str:
    if not each.plan.layers:
        return f"at batch {each.problem.batch} no layer is sparse."
    slowest = max(each.plan.layers, key=lambda layer: layer.time.median)
    share = slowest.time.median / each.ours.time_s
    return (
        f"at batch {each.problem.batch} {slowest.layer} limits it: {percent(share)} of the time "
        f"by {slowest.kernel}."
    )


def _chart(found: Sequence[Verified]) -> Chart:
    bars = [
        Bar(f"batch {e.problem.batch}", e.speedup.median,
            f"{ratio(e.speedup.median)} × {e.plan.way}")
        for e in found
    ]  # fmt: skip
    return Chart("Times as fast as all dense, by batch", bars, 1.0)


def _table(found: Sequence[Verified]) -> Table:
    lines = [
        {
            "network": e.problem.network,
            "batch": str(e.problem.batch),
            "served": e.plan.way,
            "time": marked(seconds(e.ours.time_s), e.warnings),
            "all dense": seconds(e.dense.time_s) if e.dense else "",
            "by": e.dense.kernel.name if e.dense else "",
            "× as fast (95 %)": marked(interval(e.speedup), e.warnings),
            "predicted": f"{seconds(e.predicted_s)} {_off(e)}".strip(),
            "bytes": f"{e.ours.last.nbytes or 0:,}",
            "dense bytes": f"{e.problem.format_bytes.get('dense', 0):,}",
        }
        for e in found
    ]
    return Table.of(_TITLE, lines)


def _off(each: Verified) -> str:
    if math.isnan(each.predicted_s):
        return ""
    return f"({100 * (each.predicted_s / each.ours.time_s - 1):+.0f} %)"


def _layer_table(found: Sequence[Verified]) -> Table:
    lines = [
        {
            "network": e.problem.network,
            "batch": str(e.problem.batch),
            "layer": layer.layer,
            "kernel": layer.kernel,
            "time (95 %)": interval(layer.time, seconds),
            "of all": percent(round(layer.time.median / e.ours.time_s, 3)),
            "next": layer.runner_up,
            "slower by": percent(round(layer.behind, 3)) if layer.runner_up else "",
            "regret": percent(round(layer.regret, 3)),
        }
        for e in found
        for layer in e.plan.layers
    ]
    return Table.of("Layer by layer", lines)


def _plot(found: Sequence[Verified]) -> Plot:
    lines = [
        {"label": f"{e.problem.network}, batch {e.problem.batch}", "value": e.speedup.median,
         "low": e.speedup.low, "high": e.speedup.high, "kind": e.plan.way,
         "colour": _LOOKS[e.plan.way][0], "marker": _LOOKS[e.plan.way][1]}
        for e in found
    ]  # fmt: skip
    data = pd.DataFrame(lines)
    scale = Scale(
        "times as fast as the fastest all-dense library",
        lambda value: f"{value:g}×",
        marks=((1.0, "dense"),),
    )
    title = "What the plan gains, end to end"
    said = "; ".join(f"batch {e.problem.batch}: {interval(e.speedup)} ×" for e in found)
    drawn = partial(forest.draw, data, title, scale)
    return Plot(title, file_name("plan"), drawn, data, f"{title}. {said}.")


#: Colour and marker by the way that a batch is served.
_LOOKS: Mapping[str, tuple[str, str]] = {
    "compiled": ("#1a6fe6", "^"),
    "kernels": ("#4ba45d", "D"),
    "dense": ("#70655f", "o"),
}


def _answer(each: Verified) -> dict[str, Any]:
    it = each.problem
    return {
        "network": it.network,
        "sparsity": it.sparsity,
        "accuracy": it.accuracy,
        "batch": it.batch,
        "threads": it.threads,
        "way": each.plan.way,
        "kernels": list(each.plan.kernels),
        "layers": [
            {
                "layer": layer.layer,
                "kernel": layer.kernel,
                "time_s": asdict(layer.time),
                "runner_up": layer.runner_up,
                "regret": layer.regret,
            }
            for layer in each.plan.layers
        ],
        "time_s": asdict(each.time),
        "predicted_s": each.predicted_s,
        "against": each.dense.kernel.name if each.dense else "",
        "against_s": each.dense.time_s if each.dense else math.nan,
        "speedup": asdict(each.speedup if each.dense else NOTHING),
        "bytes": each.ours.last.nbytes,
        "dense_bytes": it.format_bytes.get("dense"),
        "warnings": list(each.warnings),
    }
