"""The search: where each kernel crosses over its baselines, and what was met on the way.

An answer in JSON has the problem (``network``, ``layer``, ``m``, ``k``, ``batch``, ``computes``,
``pattern``, ``threads``, ``caches``, ``zeros_x``, ``zeros_dy``), ``kernel`` and ``baselines``,
``estimate`` (null where nothing was measured), ``failure``, ``at_ceilings`` (the crossover of two
kernels that reach the roofline), ``memory_crossover``, ``break_even`` at the highest sparsity,
``open`` (whether more measuring could narrow or confirm it), its ``probes``, and the ``warnings``
about the times at both ends of its range, or at every probe where it has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from crossover.bench.records.rows import ProblemRecord, Visit
from crossover.bench.statistics.comparison import contests
from crossover.bench.statistics.search_answers import SearchAnswer, question_key, search_answers
from crossover.reports.results import Results
from crossover.reports.sections import Section
from crossover.reports.tables import Table, cells, marked, percent

_TITLE = "Crossovers that were searched for"
_PROBLEM = (
    "network", "layer", "m", "k", "batch", "computes", "pattern", "threads", "caches", "zeros_x",
    "zeros_dy",
)  # fmt: skip
_COLUMNS = "network", "layer", "batch", "pass", "pattern", "zeros in X, dY", "threads"


def section(results: Results) -> Section | None:
    """Return what searches found, at the confidence that was asked for last."""
    visits, asked = results.visits_of("search"), results.asked("search")
    if not visits:
        return None
    spec = asked[-1].spec
    found = search_answers(visits, results.kernels, spec["confidence"], spec["width"])
    warned = _warnings_by_probe(visits, results)
    lines = [_line(each, results, _warnings(each, warned)) for each in found]
    table = Table.of(_TITLE, lines, terminal=True)
    answers = [_answer(each, results) | {"warnings": _warnings(each, warned)} for each in found]
    return Section.of(results, "search", _TITLE, _sentences(found), [table], answers)


#: By question and sparsity.
_Warned = Mapping[tuple[str, float], list[str]]


def _warnings_by_probe(visits: Sequence[Visit], results: Results) -> _Warned:
    """Return the warnings about a candidate's and its baselines' times at each probe."""
    found: dict[tuple[str, float], list[str]] = {}
    for contest in contests(visits, results.kernels):
        problem = contest.problem
        named = {name: results.warnings_of(each) for name, each in contest.measurements.items()}
        together = list(dict.fromkeys(text for each in named.values() for text in each))
        for name in named:
            found[_question(problem, name), problem.network_sparsity] = together
    return found


def _warnings(answer: SearchAnswer, warned: _Warned) -> list[str]:
    """Return the warnings about the times that decide an answer, each once."""
    if answer.problem is None or not answer.begun:
        return []
    estimate, question = answer.search.estimate(), _question(answer.problem, answer.kernel)
    sparsities = [each.sparsity for each in answer.probes]
    if estimate.kind == "between":
        sparsities = [each for each in sparsities if each in (estimate.low, estimate.high)]
    return list(
        dict.fromkeys(text for each in sparsities for text in warned.get((question, each), ()))
    )


def _question(problem: ProblemRecord, kernel: str) -> str:
    return question_key(problem.recipe, problem.threads, problem.caches, kernel)


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
    return not answer.failure and answer.search.wanted() is not None


def _found(answer: SearchAnswer) -> str:
    if answer.failure:
        return f"failed: {answer.failure}"
    return str(answer.search.estimate()) if answer.begun else "nothing measured"


def _predicted(answer: SearchAnswer, results: Results) -> float | None:
    if answer.problem is None:
        return None
    return answer.predicted(results.limits(answer.device, answer.problem.threads))


def _line(answer: SearchAnswer, results: Results, warnings: list[str]) -> dict[str, str]:
    problem, memory = answer.problem, answer.memory_crossover()
    predicted, repaid = _predicted(answer, results), answer.break_even()
    assert problem is not None
    return {
        **cells(vars(problem), *_COLUMNS),
        "kernel": answer.kernel,
        "against": " or ".join(answer.baselines),
        f"crossover ({100 * answer.search.confidence:g} %)": marked(_found(answer), warnings),
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
        "baselines": list(answer.baselines),
        "estimate": asdict(estimate) | {"text": str(estimate)} if estimate else None,
        "failure": answer.failure,
        "wrong": answer.wrong,
        "open": _open(answer),
        "at_ceilings": _predicted(answer, results),
        "memory_crossover": answer.memory_crossover(),
        "break_even": None if repaid is None else {"sparsity": repaid[0], "calls": repaid[1]},
        "probes": [asdict(each) for each in answer.probes],
    }
