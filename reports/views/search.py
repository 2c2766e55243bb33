"""The search: where each kernel crosses over its baselines, and what was met on the way.

An answer in JSON has the problem (``network``, ``layer``, ``m``, ``k``, ``batch``, ``computes``,
``pattern``, ``threads``, ``caches``, ``zeros_x``, ``zeros_dy``), ``kernel`` and ``baselines``,
``weak_baseline_at`` (the sparsities at which the dense kernel was no fair one), ``estimate`` (null
where nothing was measured), ``failure``, ``at_ceilings`` (the crossover of two kernels that reach
the roofline), ``memory_crossover``, ``break_even`` at the highest sparsity,
``open`` (whether more measuring could narrow or confirm it), and its ``probes``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from crossover.bench.statistics.search_answers import SearchAnswer, search_answers
from crossover.bench.statistics.warnings import WEAK_BASELINE
from crossover.reports.results import Results
from crossover.reports.sections import Section
from crossover.reports.tables import Table, cells, percent

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
    table = Table.of(_TITLE, [_line(each, results) for each in found], terminal=True)
    answers = [_answer(each, results) for each in found]
    return Section.of(results, "search", _TITLE, _sentences(found), [table], answers)


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


def _weak_at(answer: SearchAnswer, results: Results) -> list[float]:
    if answer.problem is None:
        return []
    return answer.weak_baseline_at(results.limits(answer.device, answer.problem.threads))


def _mark(answer: SearchAnswer, results: Results) -> str:
    at = _weak_at(answer, results)
    return f" ({WEAK_BASELINE} at {', '.join(map(percent, at))})" if at else ""


def _line(answer: SearchAnswer, results: Results) -> dict[str, str]:
    problem, memory = answer.problem, answer.memory_crossover()
    predicted, repaid = _predicted(answer, results), answer.break_even()
    assert problem is not None
    return {
        **cells(vars(problem), *_COLUMNS),
        "kernel": answer.kernel,
        "against": " or ".join(answer.baselines) + _mark(answer, results),
        f"crossover ({100 * answer.search.confidence:g} %)": _found(answer),
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
        "weak_baseline_at": _weak_at(answer, results),
        "estimate": asdict(estimate) | {"text": str(estimate)} if estimate else None,
        "failure": answer.failure,
        "wrong": answer.wrong,
        "open": _open(answer),
        "at_ceilings": _predicted(answer, results),
        "memory_crossover": answer.memory_crossover(),
        "break_even": None if repaid is None else {"sparsity": repaid[0], "calls": repaid[1]},
        "probes": [asdict(each) for each in answer.probes],
    }
