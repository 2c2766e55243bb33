"""Searched crossovers as functions of stored visits: the search, and what else it came across."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crossover.bench.records.rows import KernelRecord, ProblemRecord, Row, Visit
from crossover.bench.statistics.comparison import log_ratios
from crossover.bench.statistics.intervals import CONFIDENCE
from crossover.bench.statistics.rates import Limits, break_even_calls, call_fraction, is_weak
from crossover.bench.statistics.sign_search import WIDTH, Probe, SignSearch


def question_key(recipe: Mapping[str, Any], threads: int, caches: str, kernel: str) -> str:
    """Return what the visits of one question share: all of the workload but the sparsity."""
    weights = {n: v for n, v in recipe["weights"].items() if n != "sparsity"}
    return json.dumps([{**recipe, "weights": weights}, threads, caches, kernel], sort_keys=True)


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
    """Where a kernel crosses over the fastest of its baselines, as far as it was searched."""

    kernel: str
    device: str
    #: The kernel was held against whichever of these was fastest in a visit.
    baselines: tuple[str, ...]
    search: SignSearch
    #: Of the first probe; what all probes share holds of each.
    problem: ProblemRecord | None = None
    operands: dict[float, ProbedOperands] = field(default_factory=dict)
    #: Why the search had to stop, if a kernel failed; ``wrong`` if its result was.
    failure: str = ""
    wrong: bool = False

    @property
    def begun(self) -> bool:
        """Return whether anything was measured."""
        return bool(self.operands)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Return what was measured, by sparsity."""
        return self.search.probes

    def add(self, visit: Visit) -> None:
        """Take in a visit, in which the kernel raced its baselines."""
        names = [*self.baselines, self.kernel]
        self.problem = self.problem or visit.problem
        for name in names:
            row = visit.rows.get(name)
            if row is None or row.status != "measured":
                reason = row.reason if row else "was not there"
                self.failure = f"{name}: {reason}"
                self.wrong = row is not None and row.status == "wrong"
                return
        sparsity = visit.problem.network_sparsity
        baseline = min(self.baselines, key=lambda name: np.median(visit.rows[name].samples))
        dense, row = visit.rows[baseline], visit.rows[self.kernel]
        self.operands[sparsity] = _probed(dense, row)
        (ratios,) = log_ratios(baseline, self.kernel, [visit])
        self.search.add(sparsity, list(ratios))

    def memory_crossover(self) -> float | None:
        """Return the sparsity from which the operand is smaller than the dense one, or None.

        The bytes of a sparse format grow linearly with its density; for BSR, whose blocks fill
        up, this is where the line through the extremes crosses.
        """
        if len(self.operands) < 2:
            return None
        at_0, at_1 = self._bytes_at(0.0), self._bytes_at(1.0)
        if at_0 == at_1:
            return None
        place = (at_0 - self._dense_bytes) / (at_0 - at_1)
        return place if 0 <= place <= 1 else None

    def predicted(self, limits: Limits | None) -> float | None:
        """Return the crossover of two kernels at the ceilings, one dense and one in this format.

        Both take the time of their roofline: multiply-adds of what is stored, and compulsory
        bytes. None where the sparse one would never be faster, or too little is known.
        """
        if limits is None or self.problem is None or len(self.operands) < 2:
            return None
        executed, sides = self.problem.executed_flops, self.problem.side_bytes
        dense = limits.bound_s(executed, self._dense_bytes + sides)
        for sparsity in np.linspace(0.0, 1.0, 1001):
            nbytes = self._bytes_at(float(sparsity)) + sides
            if limits.bound_s((1 - sparsity) * executed, nbytes) <= dense:
                return float(sparsity)
        return None

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

    def _bytes_at(self, sparsity: float) -> float:
        """Return the operand's bytes, on the line through those at the extreme sparsities."""
        low, high = min(self.operands), max(self.operands)
        at_low, at_high = self.operands[low].nbytes, self.operands[high].nbytes
        return at_low + (sparsity - low) * (at_high - at_low) / (high - low)

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
        candidate, *baselines = raced(visit)
        problem = visit.problem
        key = question_key(problem.recipe, problem.threads, problem.caches, candidate)
        key = f"{key} {baselines}"
        if key not in found:
            device = kernels[candidate].device if candidate in kernels else ""
            found[key] = SearchAnswer(
                candidate, device, tuple(baselines), SignSearch(confidence, width)
            )
        found[key].add(visit)
    return list(found.values())


def raced(visit: Visit) -> Sequence[str]:
    """Return the kernels of a search's visit: the candidate, then its baselines."""
    *baselines, candidate = visit.rows
    return [candidate, *sorted(baselines)]


def _probed(dense: Row, row: Row) -> ProbedOperands:
    dense_s, sparse_s = (float(np.median(each.samples)) for each in (dense, row))
    calls = break_even_calls(row.prepare_s or 0.0, dense_s, sparse_s)
    return ProbedOperands(row.nbytes or 0, dense.nbytes or 0, calls, dense_s)
