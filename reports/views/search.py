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

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from crossover.bench.records.rows import Visit
from crossover.bench.statistics.comparison import contests
from crossover.bench.statistics.search_answers import SearchAnswer, search_answers
from crossover.bench.statistics.warnings import WEAK_BASELINE
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import Table, cells, marked, percent

_TITLE = "Crossovers that were searched for"
_PROBLEM = (
    "network", "layer", "m", "k", "batch", "computes", "pattern", "threads", "caches", "zeros_x",
    "zeros_dy",
)  # fmt: skip
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
    table = Table.of(_TITLE, [_line(*each, results) for each in found])
    answers = [_answer(each, results) | {"warnings": warnings} for each, warnings in found]
    sentences = _sentences([each for each, _ in found])
    parts = [Part(_TITLE, tables=[table])]
    return Section.of(results, "search", _TITLE, sentences, parts, answers, [table])


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
        "wrong": answer.wrong,
        "open": _open(answer),
        "at_ceilings": _predicted(answer, results),
        "memory_crossover": answer.memory_crossover(),
        "break_even": None if repaid is None else {"sparsity": repaid[0], "calls": repaid[1]},
        "probes": [asdict(each) for each in answer.probes],
    }
