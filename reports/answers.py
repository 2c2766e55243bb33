"""Located crossovers, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from crossover.bench.answers import Answer
from crossover.reports.tables import ceilings_from, percent

#: Measured ceilings by number of threads, and ``cuda``: as ``bench.records.Run`` keeps them.
Limits = Mapping[str, Mapping[str, Any]]


def table(answers: Sequence[Answer], limits: Limits) -> pd.DataFrame:
    """Return a line per answer; ``limits`` are the measured ceilings."""
    return pd.DataFrame([_line(answer, limits) for answer in answers])


def record(answer: Answer, limits: Limits) -> dict[str, Any]:
    """Return an answer with all of its probes, for JSON."""
    repaid = answer.break_even()
    return {
        "question": asdict(answer.question),
        "zeros": dict(zip(("x", "dy"), answer.zeros_of, strict=True)),
        "crossover": asdict(answer.search.found().crossover) if answer.begun else None,
        "failure": answer.failure,
        "memory_crossover": answer.memory_crossover(),
        "predicted": _predicted(answer, limits),
        "break_even": None if repaid is None else {"sparsity": repaid[0], "calls": repaid[1]},
        "probes": [asdict(each) for each in answer.probes],
    }


def _line(answer: Answer, limits: Limits) -> dict[str, str]:
    question, memory = answer.question, answer.memory_crossover()
    predicted, repaid = _predicted(answer, limits), answer.break_even()
    found = f"failed: {answer.failure}" if answer.failure else "not begun"
    if answer.begun and not answer.failure:
        found = str(answer.search.found().crossover)
    return {
        "layer": f"{question.layer} {question.shape[0]} × {question.shape[1]}",
        "batch": f"{question.batch}",
        "pass": question.pass_,
        "zeros in X, dY": (
            ", ".join(f"{zeros:.0%}" for zeros in answer.zeros_of) if answer.begun else ""
        ),
        "threads": f"{question.threads}",
        "kernel": question.kernel,
        "against": " or ".join(question.baselines),
        f"crossover ({100 * answer.search.confidence:g} %)": found,
        "at the ceilings": "" if predicted is None else percent(predicted),
        "smaller from": "" if memory is None else percent(memory),
        "conversion repaid": (
            "" if repaid is None else f"{repaid[1]:.0f} calls at {percent(repaid[0])}"
        ),
        "cells": f"{len(answer.operands)}",
    }


def _predicted(answer: Answer, limits: Limits) -> float | None:
    question = answer.question
    key = "cuda" if question.device == "cuda" else str(question.threads)
    return answer.predicted(ceilings_from(key, limits[key])) if key in limits else None
