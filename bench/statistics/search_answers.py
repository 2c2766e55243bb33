"""Searched crossovers as functions of stored visits: the search, and what else it came across.

A question is either of one kernel, or of the fastest of some. Then each visit states the kernel
that was fastest in the *other* visits to the same sparsity: who is chosen for having been lucky in
a visit must not be judged by it. The baseline is the fastest over all visits to a sparsity, one for
all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crossover.bench.records.rows import KernelRecord, ProblemRecord, Row, Visit
from crossover.bench.statistics import rates
from crossover.bench.statistics.comparison import cross_fitted, fastest_over, log_ratios
from crossover.bench.statistics.intervals import CONFIDENCE
from crossover.bench.statistics.rates import Limits, break_even_calls, call_fraction, is_weak
from crossover.bench.statistics.sign_search import WIDTH, Probe, SignSearch

#: Stands for the fastest of the candidates, which may be another one at each sparsity.
FASTEST = "fastest sparse"
#: The series whose visits ask for the fastest of several candidates.
FASTEST_SERIES = "fastest"


def question_key(
    recipe: Mapping[str, Any],
    setting: tuple[int, str],
    candidates: Sequence[str],
    baselines: Sequence[str],
) -> str:
    """Return what the visits of one question share: all but the sparsity.

    A setting is the threads, and what is in the caches.
    """
    weights = {n: v for n, v in recipe["weights"].items() if n != "sparsity"}
    asked = [{**recipe, "weights": weights}, setting, candidates, baselines]
    return json.dumps(asked, sort_keys=True)


@dataclass(frozen=True)
class ProbedOperands:
    """What was seen of the operands at one sparsity."""

    nbytes: int
    dense_nbytes: int
    #: Calls that repay ``prepare``.
    calls: float
    #: The baseline's median time.
    dense_s: float


@dataclass
class SearchAnswer:
    """Where the fastest of the candidates crosses over the fastest of the baselines, so far."""

    candidates: tuple[str, ...]
    device: str
    baselines: tuple[str, ...]
    search: SignSearch
    #: Of the first probe; what all probes share holds of each.
    problem: ProblemRecord | None = None
    operands: dict[float, ProbedOperands] = field(default_factory=dict)
    #: The kernels that were ahead at each sparsity, and the problem that it is.
    ahead: dict[float, str] = field(default_factory=dict)
    problems: dict[float, str] = field(default_factory=dict)
    #: Why the search had to stop, if a kernel failed; ``wrong`` if its result was.
    failure: str = ""
    wrong: bool = False
    #: Whether that was a kernel which does not take part in such a problem.
    skipped: bool = False
    _visits: dict[float, list[Visit]] = field(default_factory=dict)

    @property
    def kernel(self) -> str:
        """Return the candidate's name, or :data:`FASTEST` of several."""
        return self.candidates[0] if len(self.candidates) == 1 else FASTEST

    @property
    def settled(self) -> bool:
        """Return whether nothing more would be learned by measuring on."""
        return not self.failure and self.search.wanted() is None

    @property
    def begun(self) -> bool:
        """Return whether anything was measured."""
        return bool(self.operands)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Return what was measured, by sparsity."""
        return self.search.probes

    def add(self, visit: Visit) -> None:
        """Take in a visit, in which the candidates raced the baselines."""
        self.problem = self.problem or visit.problem
        for name in (*self.baselines, *self.candidates):
            row = visit.rows.get(name)
            if row is None or row.status != "measured":
                reason = row.reason if row else "was not there"
                self.failure = f"{name}: {reason}"
                self.wrong = row is not None and row.status == "wrong"
                self.skipped = row is not None and row.status == "skipped"
                return
        sparsity = visit.problem.network_sparsity
        self.problems[sparsity] = visit.problem.problem_id
        visits = self._visits.setdefault(sparsity, [])
        visits.append(visit)
        baseline = fastest_over(self.baselines, visits)
        chosen = cross_fitted(self.candidates, visits)
        self.ahead[sparsity] = fastest_over(self.candidates, visits)
        self.operands[sparsity] = _probed(visit.rows[baseline], visit.rows[self.ahead[sparsity]])
        ratios = [
            list(log_ratios(baseline, name, [each])[0])
            for name, each in zip(chosen, visits, strict=True)
        ]
        self.search.tell(sparsity, ratios, [each.record.process for each in visits])

    def memory_crossover(self) -> float | None:
        """Return the sparsity from which the operand is smaller than the dense one, or None."""
        if len(self.operands) < 2:
            return None
        return rates.memory_crossover(self._bytes_at, self._dense_bytes)

    def predicted(self, limits: Limits | None) -> float | None:
        """Return the crossover of two kernels at the ceilings, one dense and one in this format.

        None where the sparse one would never be faster, or too little is known.
        """
        if limits is None or self.problem is None or len(self.operands) < 2:
            return None
        flops, sides = self.problem.executed_flops, self.problem.side_bytes
        return rates.crossover_at_ceilings(limits, flops, sides, self._dense_bytes, self._bytes_at)

    def weak_baseline_at(self, limits: Limits | None) -> list[float]:
        """Return the sparsities at which the baseline took over twice the least time of a call."""
        if self.problem is None or self.problem.dtype != "float32":
            return []
        flops, sides = self.problem.executed_flops, self.problem.side_bytes
        cold = self.problem.caches == "cold"
        return [
            sparsity
            for sparsity, it in sorted(self.operands.items())
            if is_weak(call_fraction(limits, flops, it.dense_nbytes + sides, it.dense_s, cold))
        ]

    def break_even(self) -> tuple[float, float] | None:
        """Return (sparsity, calls) at the highest sparsity, if the kernel is faster there."""
        if not self.probes or self.probes[-1].verdict != "faster":
            return None
        top = self.probes[-1].sparsity
        return top, self.operands[top].calls

    @property
    def _bytes_at(self) -> Callable[[float], float]:
        """Return the operand's bytes by sparsity, on the line through those at the extremes."""
        low, high = min(self.operands), max(self.operands)
        at_low, at_high = self.operands[low].nbytes, self.operands[high].nbytes
        return rates.line_through((low, at_low), (high, at_high))

    @property
    def _dense_bytes(self) -> int:
        return min(each.dense_nbytes for each in self.operands.values())


def search_answers(
    visits: Iterable[Visit],
    kernels: Mapping[str, KernelRecord],
    confidence: float = CONFIDENCE,
    width: float = WIDTH,
) -> list[SearchAnswer]:
    """Return the answer to each question that the visits of a search belong to."""
    found: dict[str, SearchAnswer] = {}
    for visit in visits:
        candidates, baselines = raced(visit, kernels)
        problem = visit.problem
        setting = problem.threads, problem.caches
        key = question_key(problem.recipe, setting, candidates, baselines)
        if key not in found:
            known = [kernels[name].device for name in candidates if name in kernels]
            found[key] = SearchAnswer(
                candidates, next(iter(known), ""), baselines, SignSearch(confidence, width)
            )
        found[key].add(visit)
    return list(found.values())


def raced(
    visit: Visit, kernels: Mapping[str, KernelRecord]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the candidates of a search's visit, and their baselines, by name.

    Of one candidate that is the kernel named last; of several, all that are not dense.
    """
    if visit.record.series == FASTEST_SERIES:
        dense = [name for name in visit.rows if name in kernels and kernels[name].role == "dense"]
        others = [name for name in visit.rows if name not in dense]
        return tuple(sorted(others)), tuple(sorted(dense))
    *baselines, candidate = visit.rows
    return (candidate,), tuple(sorted(baselines))


def _probed(dense: Row, row: Row) -> ProbedOperands:
    dense_s, sparse_s = (float(np.median(each.samples)) for each in (dense, row))
    calls = break_even_calls(row.prepare_s or 0.0, dense_s, sparse_s)
    return ProbedOperands(row.nbytes or 0, dense.nbytes or 0, calls, dense_s)
