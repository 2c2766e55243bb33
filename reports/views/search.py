"""The search: where each kernel crosses over its baselines, and what was met on the way.

An answer in JSON has the problem (``network``, ``layer``, ``m``, ``k``, ``batch``, ``computes``,
``pattern``, ``threads``, ``caches``, ``zeros_x``, ``zeros_dy``), ``kernel`` (or ``fastest sparse``
of its ``candidates``) and ``baselines``, ``estimate`` (null where nothing was measured),
``confirmed`` (whether later visits, by another process too, bore it out), ``failure``,
``at_ceilings`` (the crossover of two kernels that reach the roofline), ``memory_crossover``,
``break_even`` at the highest sparsity, ``open`` (whether more measuring could narrow or confirm
it), its ``probes``, and the ``warnings`` about the times at both ends of its range, or at every
probe where it has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import pandas as pd

from crossover.bench.records.rows import KernelRecord, Visit
from crossover.bench.statistics.comparison import contests
from crossover.bench.statistics.search_answers import SearchAnswer, search_answers
from crossover.bench.statistics.warnings import WEAK_BASELINE
from crossover.reports import metrics
from crossover.reports.plots import forest, panels
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.forest import Scale
from crossover.reports.plots.panels import Band, Lines, as_factor, in_view
from crossover.reports.results import Results
from crossover.reports.sections import PASS_TITLES, Part, Section
from crossover.reports.tables import Table, cells, marked, percent

_TITLE = "Crossovers that were searched for"
_PROBLEM = (
    "network", "layer", "m", "k", "batch", "computes", "pattern", "threads", "caches", "zeros_x",
    "zeros_dy",
)  # fmt: skip
# What stands beside an answer.
_BESIDE = "against", "at the ceilings", "smaller from", "conversion repaid"
_COLUMNS = "network", "layer", "batch", "pass", "pattern", "zeros in X, dY", "threads"


def section(results: Results) -> Section | None:
    """Return what searches found, at the confidence that was asked for last."""
    found = [
        each
        for series in results.series_of("search")
        for each in answers_with_warnings(results, series)
    ]
    if not found:
        return None
    asked = sorted((each for each in found if not each[0].skipped), key=_is_open)
    table = Table.of(_TITLE, [_short(*each, results) for each in asked])
    whole = Table.of("All of each answer", [_line(*each, results) for each in asked])
    skipped = Table.of("Not asked", [_skipped(each) for each, _ in found if each.skipped])
    answers = [_answer(each, results) | {"warnings": warnings} for each, warnings in found]
    sentences = _sentences([each for each, _ in asked])
    parts = [
        Part(_TITLE, plots=_ranges(results, asked), tables=[table]),
        Part("Speedups at the sparsities that were searched", plots=list(_probes(results, asked)),
             folded=True),
        Part("All of each answer", tables=[whole], folded=True),
        Part("Kernels that take no part in a problem", tables=[skipped], folded=True),
    ]  # fmt: skip
    brief = [Table.of(_TITLE, [_brief(*each) for each in asked])]
    return Section.of(results, "search", _TITLE, sentences, parts, answers, brief)


def answers_with_warnings(results: Results, series: str) -> list[tuple[SearchAnswer, list[str]]]:
    """Return the answers of a series, at the confidence asked for last, and warnings about each."""
    asked = [each.spec for each in results.asked("search") if each.series == series]
    if not asked:
        return []
    confidence, width = asked[-1]["confidence"], asked[-1]["width"]
    visits = results.series.get(series, [])
    found = search_answers(visits, results.kernels, confidence, width)
    warned = _warnings_by_problem(results, visits)
    return [(each, _warnings(each, warned) + _weak(each, results)) for each in found]


def _warnings_by_problem(results: Results, visits: Sequence[Visit]) -> Mapping[str, list[str]]:
    """Return the warnings about the times of each problem that was visited, each once."""
    found: dict[str, list[str]] = {}
    for contest in contests(visits, results.kernels):
        named = [results.warnings_of(each) for each in contest.measurements.values()]
        found[contest.problem.problem_id] = list(dict.fromkeys(t for each in named for t in each))
    return found


def _warnings(answer: SearchAnswer, warned: Mapping[str, list[str]]) -> list[str]:
    """Return the warnings about the times that decide an answer, each once."""
    if answer.problem is None or not answer.begun:
        return []
    estimate = answer.search.estimate()
    sparsities = [each.sparsity for each in answer.probes]
    if estimate.kind == "between":
        sparsities = [each for each in sparsities if each in (estimate.low, estimate.high)]
    problems = [answer.problems[each] for each in sparsities]
    return list(dict.fromkeys(text for each in problems for text in warned.get(each, ())))


def _weak(answer: SearchAnswer, results: Results) -> list[str]:
    """Return the warning about a baseline far from its bound, at any of the sparsities."""
    if answer.problem is None:
        return []
    limits = results.limits(answer.device, answer.problem.threads)
    return [WEAK_BASELINE] if answer.weak_baseline_at(limits) else []


def _sentences(found: list[SearchAnswer]) -> list[str]:
    unfinished = sum(map(_open, found))
    failed = sum(bool(answer.failure) for answer in found)
    sentences = [f"{len(found) - unfinished - failed} of {len(found)} crossovers are located."]
    if unfinished:
        sentences.append(
            f"{unfinished} could be narrower, or better confirmed: the same command goes on, "
            "with more --budget."
        )
    if failed:
        sentences.append(f"{failed} ended with a kernel that failed.")
    return sentences


def _open(answer: SearchAnswer) -> bool:
    return not answer.failure and not answer.settled


def _is_open(found: tuple[SearchAnswer, list[str]]) -> bool:
    """Return whether nothing was located: such answers come last."""
    answer = found[0]
    return not answer.begun or answer.search.estimate().kind != "between"


def _brief(answer: SearchAnswer, warnings: list[str]) -> dict[str, str]:
    assert answer.problem is not None
    return {
        **cells(vars(answer.problem), "network", "layer", "batch", "pass"),
        "kernel": answer.kernel,
        f"crossover ({100 * answer.search.confidence:g} %)": marked(_found(answer), warnings),
        "confirmed": "yes" if answer.search.confirmed else "not yet",
    }


def _short(answer: SearchAnswer, warnings: list[str], results: Results) -> dict[str, str]:
    line = _line(answer, warnings, results)
    return _brief(answer, warnings) | {name: line[name] for name in _BESIDE}


def _skipped(answer: SearchAnswer) -> dict[str, str]:
    assert answer.problem is not None
    return {
        **cells(vars(answer.problem), "network", "layer", "batch", "pass"),
        "kernel": answer.kernel,
        "reason": answer.failure,
    }


def _look(results: Results, answer: SearchAnswer) -> KernelRecord:
    """Return the record of the kernel that was ahead at the highest sparsity."""
    name = answer.ahead[max(answer.ahead)]
    return results.kernels[name]


def _label(answer: SearchAnswer) -> str:
    it = answer.problem
    assert it is not None
    return f"{it.network} {it.layer}, batch {it.batch}, {it.computes}, {answer.kernel}"


def _ranges(results: Results, asked: Sequence[tuple[SearchAnswer, list[str]]]) -> list[Plot]:
    """Return a plot of the ranges that were located, the lowest first; none without any."""
    lines = []
    for answer, warnings in asked:
        if not answer.begun or answer.search.estimate().kind != "between":
            continue
        estimate, look = answer.search.estimate(), _look(results, answer)
        lines.append(
            {"label": _label(answer), "value": 50 * (estimate.low + estimate.high),
             "low": 100 * estimate.low, "high": 100 * estimate.high, "kind": look.name,
             "colour": look.colour, "marker": look.marker, "confirmed": answer.search.confirmed,
             "at_ceilings": _predicted(answer, results), "warnings": "; ".join(warnings)}
        )  # fmt: skip
    if not lines:
        return []
    data = pd.DataFrame(lines).sort_values("value", kind="stable")
    scale = Scale("from which sparsity of the layer it is faster, %", lambda value: f"{value:g}")
    said = "; ".join(
        f"{row.label}: {row.low:.3g}-{row.high:.3g} %" for row in data.head(10).itertuples()
    )
    title = "Ranges of the crossovers that were located"
    file = file_name("search", "ranges")
    return [Plot(title, file, partial(forest.draw, data, title, scale), data, f"{title}: {said}.")]


def _probes(results: Results, asked: Sequence[tuple[SearchAnswer, list[str]]]) -> Iterator[Plot]:
    """Yield a plot per network and pass: the speedups at the sparsities that were tried."""
    rows = metrics.of_study(results, "search")
    shown = rows[rows["speedup"].notna() & (rows["role"] != "dense")] if len(rows) else rows
    if shown.empty:
        return
    keys = ["network", "computes", "device", "threads", "caches"]
    for key, group in shown.groupby(keys, sort=False):
        there = [
            answer
            for answer, _ in asked
            if answer.begun
            and answer.problem is not None
            and (answer.problem.network, answer.problem.computes) == key[:2]
        ]
        bands = {
            (it.layer, it.batch): Band(estimate.low, estimate.high, str(estimate))
            for answer in there
            if (it := answer.problem) and (estimate := answer.search.estimate()).kind == "between"
        }
        marked_by = "warnings", "baseline_warnings"
        lines = Lines("speedup", "speedup", as_factor, marked_by=marked_by, bands=bands)
        title = f"{key[0]}, {PASS_TITLES[str(key[1])]}: speedups that were searched"
        columns = ["layer", "m", "k", "batch", "sparsity", "kernel", "speedup", "speedup_low",
                   "speedup_high", "baseline", "warnings"]  # fmt: skip
        yield Plot(
            title,
            file_name("search", *key),
            partial(panels.draw, in_view(group), results.kernels, title, lines),
            group[columns],
            f"{title}, over sparsity, with the ranges of the crossovers.",
        )


def _found(answer: SearchAnswer) -> str:
    if answer.failure:
        return f"failed: {answer.failure}"
    return str(answer.search.estimate()) if answer.begun else "nothing measured"


def _predicted(answer: SearchAnswer, results: Results) -> float | None:
    if answer.problem is None:
        return None
    return answer.predicted(results.limits(answer.device, answer.problem.threads))


def _line(answer: SearchAnswer, warnings: list[str], results: Results) -> dict[str, str]:
    problem, memory = answer.problem, answer.memory_crossover()
    several = len(answer.candidates) > 1
    predicted, repaid = _predicted(answer, results), answer.break_even()
    assert problem is not None
    return {
        **cells(vars(problem), *_COLUMNS),
        "kernel": answer.kernel,
        "against": " or ".join(answer.baselines),
        f"crossover ({100 * answer.search.confidence:g} %)": marked(_found(answer), warnings),
        "confirmed": "yes" if answer.search.confirmed else "not yet",
        "ahead": ", ".join(dict.fromkeys(answer.ahead.values())) if several else "",
        "at the ceilings": "" if predicted is None else percent(predicted),
        "smaller from": "" if memory is None else percent(memory),
        "conversion repaid": (
            "" if repaid is None else f"{repaid[1]:.0f} calls at {percent(repaid[0])}"
        ),
        "sparsities": f"{len(answer.operands)}",
    }


def _answer(answer: SearchAnswer, results: Results) -> dict[str, Any]:
    repaid = answer.break_even()
    estimate = answer.search.estimate() if answer.begun else None
    return {
        **{name: getattr(answer.problem, name) for name in _PROBLEM},
        "kernel": answer.kernel,
        "candidates": list(answer.candidates),
        "baselines": list(answer.baselines),
        "estimate": asdict(estimate) | {"text": str(estimate)} if estimate else None,
        "confirmed": answer.search.confirmed,
        "failure": answer.failure,
        "skipped": answer.skipped,
        "wrong": answer.wrong,
        "open": _open(answer),
        "at_ceilings": _predicted(answer, results),
        "memory_crossover": answer.memory_crossover(),
        "break_even": None if repaid is None else {"sparsity": repaid[0], "calls": repaid[1]},
        "probes": [asdict(each) for each in answer.probes],
    }
