"""How far what a kernel chose by itself is behind the best choice, problem by problem.

An answer in JSON is a problem: ``kernel``, ``layer``, ``computes``, ``m``, ``k``, ``batch``, ``n``,
``nnz``, ``sparsity``, ``threads``, ``time_s`` of the kernel's own choice, ``best`` (the variant
that was the fastest, or the kernel itself), ``choices`` (how many were tried), ``regret`` (the time
over the best one's) with its interval, and the ``warnings`` about the kernel's own times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pandas as pd

from crossover.bench.statistics.comparison import (
    Contest,
    Measurement,
    by_process,
    contests,
    cross_fitted,
    fastest_over,
    if_enough,
    log_ratios,
)
from crossover.bench.statistics.intervals import Interval, pooled_intervals
from crossover.bench.statistics.rates import geometric_mean
from crossover.reports.grids import Column, Grid
from crossover.reports.plots import forest
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.forest import Scale
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import SEPARATOR, Table, marked, percent, times

_TITLE = "What kernels choose by themselves"
#: A choice so close to the best one is as good.
CLOSE = 1.05
_PROBLEM = "layer", "computes", "m", "k", "batch", "n", "nnz", "sparsity", "threads"


@dataclass(frozen=True)
class Regretted:
    """A kernel's own choice in a problem, and the best."""

    own: Measurement
    best: str
    choices: int
    regret: Interval
    warnings: tuple[str, ...]


def section(results: Results) -> Section | None:
    """Return how good the choices are."""
    if not results.visits_of("regret"):
        return None
    found = regrets(results)
    table = _table(found)
    parts = [
        Part(_TITLE, plots=_plots(found), tables=[table]),
        Part("Every problem", grids=_grids(found), folded=True),
    ]
    answers = [_answer(each) for each in found]
    return Section.of(results, "regret", _TITLE, _sentences(found), parts, answers, [table])


def regrets(results: Results) -> list[Regretted]:
    """Return the regret of each problem.

    Each visit holds the kernel against whichever choice was the best in the others: the quickest of
    many in one visit was lucky, too.
    """
    chosen = {each.spec.get("kernel") for each in results.studies if each.study == "regret"}
    there = [
        (contest, own)
        for contest in contests(results.visits_of("regret"), results.kernels)
        for own in contest.measurements.values()
        if own.kernel.name in chosen and len(contest.measurements) > 1
    ]
    names = [_shared(contest, own) for contest, own in there]
    ratios = [
        [
            (visit, log_ratios(own.kernel.name, best, [visit])[0])
            for best, visit in zip(cross_fitted(among, own.visits), own.visits, strict=True)
        ]
        for (_, own), among in zip(there, names, strict=True)
    ]
    groups = [(own.kernel.name, own.problem.computes) for _, own in there]
    # Of log(time of its own choice / time of the best): the regret, from 1 on but for noise.
    intervals = pooled_intervals([by_process(each) for each in ratios], groups)
    return [
        Regretted(
            own,
            fastest_over(among, own.visits),
            len(among),
            if_enough(interval, own.visits),
            results.warnings_of(own),
        )
        for (_, own), among, interval in zip(there, names, intervals, strict=True)
    ]


def _shared(contest: Contest, own: Measurement) -> list[str]:
    """Return the kernels that all visits of ``own`` measured."""
    return [name for name in contest.measurements if all(v.measured(name) for v in own.visits)]


def _sentences(found: Sequence[Regretted]) -> list[str]:
    sentences = []
    for kernel in dict.fromkeys(each.own.kernel.name for each in found):
        own = [each for each in found if each.own.kernel.name == kernel]
        worst = max(own, key=lambda each: each.regret.median)
        it = worst.own.problem
        sentences.append(
            f"What {kernel} chooses takes at most {percent(CLOSE - 1)} longer than the best choice "
            f"in {_close(own)} of {len(own)} problems; geometric mean {times(_mean(own))} ×; worst "
            f"{times(worst.regret.median)} × ({it.computes} {it.m} × {it.k}, "
            f"{percent(it.sparsity)}, batch {it.batch}; {worst.best})."
        )
    return sentences or ["No kernel was measured beside another choice."]


def _close(found: Sequence[Regretted]) -> int:
    return sum(each.regret.median <= CLOSE for each in found)


def _mean(found: Sequence[Regretted]) -> float:
    return geometric_mean([each.regret.median for each in found])


def _groups(found: Sequence[Regretted]) -> dict[tuple[str, str, int], list[Regretted]]:
    """Return the problems of each kernel, pass and batch."""
    groups: dict[tuple[str, str, int], list[Regretted]] = {}
    for each in found:
        it = each.own.problem
        groups.setdefault((each.own.kernel.name, it.computes, it.batch), []).append(each)
    return dict(sorted(groups.items()))


def _table(found: Sequence[Regretted]) -> Table:
    lines = []
    for (kernel, computes, batch), own in _groups(found).items():
        worst = max(own, key=lambda each: each.regret.median)
        it = worst.own.problem
        lines.append(
            {
                "kernel": kernel,
                "pass": computes,
                "batch": f"{batch}",
                f"within {percent(CLOSE - 1)}": f"{_close(own)} of {len(own)}",
                "time over the best": times(_mean(own)),
                "worst": marked(times(worst.regret.median), worst.warnings),
                "where": f"{it.m} × {it.k}, {percent(it.sparsity)}",
                "best there": worst.best,
            }
        )
    return Table.of(_TITLE, lines)


def _plots(found: Sequence[Regretted]) -> list[Plot]:
    """Return a plot of the means, from the best problem to the worst; none of nothing."""
    lines = [
        {"label": f"{computes}, batch {batch} ({len(own)} problems)", "value": _mean(own),
         "low": min(e.regret.median for e in own), "high": max(e.regret.median for e in own),
         "kind": kernel, "colour": own[0].own.kernel.colour, "marker": own[0].own.kernel.marker}
        for (kernel, computes, batch), own in _groups(found).items()
    ]  # fmt: skip
    if not lines:
        return []
    data = pd.DataFrame(lines)
    scale = Scale("time over that of the best choice: geometric mean, from best to worst",
                  lambda value: f"{value:g}×", marks=((1.0, ""), (CLOSE, "")))  # fmt: skip
    drawn = partial(forest.draw, data, _TITLE, scale)
    said = " ".join(_sentences(found)[:3])
    return [Plot(_TITLE, file_name("regret"), drawn, data, f"{_TITLE}. {said}")]


def _grids(found: Sequence[Regretted]) -> list[Grid]:
    if not found:
        return []
    lines = [
        _answer(each)
        | {"regret": each.regret.median, "low": each.regret.low, "high": each.regret.high}
        | {"warnings": SEPARATOR.join(each.warnings)}
        for each in found
    ]
    columns = [
        Column("layer", "shape", filtered=True),
        Column("sparsity", "sparsity", "percent"),
        Column("computes", "pass", filtered=True),
        Column("batch", "batch", "count", filtered=True),
        Column("kernel", "kernel", filtered=True),
        Column("time_s", "time", "seconds", "of a call as it chose", ("warnings",)),
        Column(
            "regret", "over the best", "times", "its time over the best choice's", ("warnings",)
        ),
        Column("low", "from", "times", "lower end of the 95 % interval"),
        Column("high", "to", "times", "upper end of the 95 % interval"),
        Column("best", "best choice", filtered=True),
        Column("choices", "of", "count", "how many choices were tried"),
    ]
    return [Grid("Every problem", pd.DataFrame(lines), columns, order="-regret")]


def _answer(each: Regretted) -> dict[str, Any]:
    problem = each.own.problem
    return {
        "kernel": each.own.kernel.name,
        **{name: getattr(problem, name) for name in _PROBLEM},
        "time_s": each.own.time_s,
        "best": each.best,
        "choices": each.choices,
        "regret": asdict(each.regret),
        "warnings": list(each.warnings),
    }
