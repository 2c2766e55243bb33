"""What several threads give over one, kernel by kernel and problem by problem.

An answer in JSON is a kernel in a problem: ``kernel``, ``network``, ``layer``, ``computes``,
``m``, ``k``, ``batch``, ``n``, ``nnz``, ``sparsity``, ``threads`` (the most), ``time_one_s`` and
``time_s`` per call, ``useful_gflops`` on all threads, ``speedup`` over one thread with its
interval, how many ``pairs`` of visits that is of, and the ``warnings`` about either time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from crossover.bench.statistics.comparison import Measurement, contests, if_enough
from crossover.bench.statistics.intervals import Interval, VisitMedians, pooled_intervals
from crossover.bench.statistics.rates import geometric_mean, gflops
from crossover.reports.plots import forest
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.forest import Scale
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import Table, cells, interval, marked, number, percent, seconds

_TITLE = "All threads against one"
_PROBLEM = "network", "layer", "computes", "m", "k", "batch", "n", "nnz", "sparsity", "threads"


@dataclass(frozen=True)
class Scaled:
    """One kernel on one workload, on one thread and on the most."""

    one: Measurement
    most: Measurement
    speedup: Interval
    #: About the times on one thread, and on the most.
    one_warnings: tuple[str, ...]
    most_warnings: tuple[str, ...]


def section(results: Results) -> Section | None:
    """Return what threads give."""
    if not results.visits_of("scaling"):
        return None
    found = scaled(results)
    table = Table.of(_TITLE, [_line(each) for each in found])
    answers = [_answer(each) for each in found]
    parts = [Part(_TITLE, plots=_plots(found), tables=[table])]
    return Section.of(results, "scaling", _TITLE, _sentences(found), parts, answers, [table])


def scaled(results: Results) -> list[Scaled]:
    """Return each kernel and workload that was measured on one thread and on more, by size."""
    by_threads: dict[tuple[str, str], dict[int, Measurement]] = {}
    for contest in contests(results.visits_of("scaling"), results.kernels):
        for name, each in contest.measurements.items():
            same = by_threads.setdefault((each.problem.workload_id, name), {})
            same[each.problem.threads] = each
    pairs = [
        (same[1], same[max(same)]) for same in by_threads.values() if 1 in same and len(same) > 1
    ]
    ratios = [_ratios(one, most) for one, most in pairs]
    groups = [(most.kernel.name, most.problem.computes) for _, most in pairs]
    found = [
        Scaled(
            one,
            most,
            if_enough(if_enough(speedup, one.visits), most.visits),
            results.warnings_of(one),
            results.warnings_of(most),
        )
        for (one, most), speedup in zip(pairs, pooled_intervals(ratios, groups), strict=True)
    ]

    def size(each: Scaled) -> tuple[Any, ...]:
        it = each.most.problem
        return each.most.kernel.name, it.m * it.k, it.m, it.computes, it.n, -it.nnz

    return sorted(found, key=size)


def _ratios(one: Measurement, most: Measurement) -> VisitMedians:
    """Return the log-ratios of the medians of visits, which pair in their order."""
    before, after = (VisitMedians.of(each.log_times()) for each in (one, most))
    count = min(before.medians.size, after.medians.size)
    return VisitMedians(
        before.medians[:count] - after.medians[:count],
        np.hypot(before.errors[:count], after.errors[:count]),
    )


def _sentences(found: Sequence[Scaled]) -> list[str]:
    """Return a sentence per kernel: the geometric mean, and the least with its problem."""
    sentences = []
    for kernel in dict.fromkeys(each.most.kernel.name for each in found):
        own = [each for each in found if each.most.kernel.name == kernel]
        least = min(own, key=lambda each: each.speedup.median)
        mean = geometric_mean([each.speedup.median for each in own])
        it = least.most.problem
        sentences.append(
            f"{kernel} on {it.threads} threads is {mean:.2f} times as fast as on "
            f"one (geometric mean of {len(own)} problems); least {least.speedup.median:.2f} "
            f"({it.computes} {it.m} × {it.k}, {percent(it.sparsity)}, batch {it.batch})."
        )
    return sentences or ["No kernel was measured on one thread and on more."]


def _line(each: Scaled) -> dict[str, str]:
    it, one, most = each.most.problem, each.one_warnings, each.most_warnings
    return {
        "kernel": each.most.kernel.name,
        **cells(vars(it), "shape (m × k)", "sparsity", "pass", "batch"),
        "on 1 thread": marked(seconds(each.one.time_s), one),
        f"on {it.threads}": marked(seconds(each.most.time_s), most),
        "× one thread (95 %)": marked(interval(each.speedup), one, most),
        "useful GFLOP/s": marked(number(gflops(it.useful_flops, each.most.time_s)), most),
    }


def _plots(found: Sequence[Scaled]) -> list[Plot]:
    """Return a plot of the speedups by threads, the least first; none of nothing."""
    if not found:
        return []
    most = max(each.most.problem.threads for each in found)
    lines = [
        {"label": f"{it.m} × {it.k}, {percent(it.sparsity)}, {it.computes}, batch {it.batch}",
         "value": each.speedup.median, "low": each.speedup.low, "high": each.speedup.high,
         "kind": each.most.kernel.name, "colour": each.most.kernel.colour,
         "marker": each.most.kernel.marker, "threads": it.threads}
        for each in sorted(found, key=lambda each: each.speedup.median)
        if (it := each.most.problem)
    ]  # fmt: skip
    data = pd.DataFrame(lines)
    scale = Scale("times as fast as on one thread", lambda value: f"{value:g}×",
                  marks=((1.0, ""), (float(most), f"{most} threads")))  # fmt: skip
    title = f"What {most} threads give over one"
    said = " ".join(_sentences(found)[:3])
    drawn = partial(forest.draw, data, title, scale)
    return [Plot(title, file_name("scaling"), drawn, data, f"{title}. {said}")]


def _answer(each: Scaled) -> dict[str, Any]:
    problem = each.most.problem
    return {
        "kernel": each.most.kernel.name,
        **{name: getattr(problem, name) for name in _PROBLEM},
        "time_one_s": each.one.time_s,
        "time_s": each.most.time_s,
        "useful_gflops": gflops(problem.useful_flops, each.most.time_s),
        "speedup": asdict(each.speedup),
        "pairs": min(len(each.one.visits), len(each.most.visits)),
        "warnings": list(dict.fromkeys((*each.one_warnings, *each.most_warnings))),
    }
