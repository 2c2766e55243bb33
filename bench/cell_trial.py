"""One cell as a trial: a pass over one weight, with real operands, by every kernel that can."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from crossover.bench import compilation
from crossover.bench.timing import LEAST_ROUNDS, MOST_ROUNDS
from crossover.bench.trial import FILLED, Entrant, Outcome, Table, measure, nonfinite, too_large
from crossover.kernels.base import Array, Kernel, Pass, Problem, Weight
from crossover.kernels.oracle import Oracle, Verdict
from crossover.kernels.processor import aligned, aligned_empty

# A problem this small, in floats, takes the GPU no longer than its launch takes the host.
_LAUNCH_BOUND = 1 << 22
# Share of W that blocks may hold before nothing is gained by leaving the others out.
_FILLED = 0.95
#: What a cell gets operands from, with the seconds of converting and of compiling.
Prepare = Callable[[Kernel, Weight], tuple[Any, float, float]]


@dataclass(frozen=True)
class Task:
    """One cell to measure: a problem with its operands, and the kernels that compete in it."""

    pass_: Pass
    weight: Weight
    x: Array
    dy: Array
    kernels: Sequence[str]
    budget_s: float
    seed: int | list[int]
    rounds: tuple[int, int] = (LEAST_ROUNDS, MOST_ROUNDS)
    #: Whether the caches are emptied before each timed call.
    cold: bool = False
    #: How many rows of a result are checked, drawn at random; 0 for all.
    checked_rows: int = 0

    @property
    def problem(self) -> Problem:
        """Return what is to be computed."""
        n = self.x.shape[1]
        return Problem(self.pass_, *self.weight.shape, n, self.weight.nnz, self.x.dtype.name)

    def table(self) -> Table:
        """Return the reference, X and dY, and room for results."""
        return CellTable(self)

    def carry_out(
        self, kernels: Mapping[str, Kernel], take_turn: Callable[[str], None]
    ) -> dict[str, Outcome]:
        """Return the outcome of every kernel."""
        return measure(self, kernels, take_turn)


def prepared(kernel: Kernel, weight: Weight) -> tuple[Any, float, float]:
    """Return the operand, the seconds that converting takes, and those that compiling took.

    Where code was compiled W is converted once more: that is what every further weight costs.
    """
    with compilation.stopwatch() as compiled:
        begin = time.perf_counter()
        operand = kernel.prepare(weight)
        prepare_s, compile_s = time.perf_counter() - begin, compiled()
    if compile_s:
        begin = time.perf_counter()
        operand = kernel.prepare(weight)
        prepare_s = time.perf_counter() - begin
    return operand, prepare_s, compile_s


class CellTable:
    """What all kernels of a cell share: the reference, X and dY, and room for results.

    They share the very arrays, for where these lie in memory moves a time by some percent.
    """

    def __init__(self, task: Task, prepare: Prepare = prepared) -> None:
        self.task, self.prepare = task, prepare
        self.oracle = Oracle(task.weight, task.x, task.dy, task.checked_rows)
        self.x, self.dy = aligned(task.x), aligned(task.dy)
        self._results: dict[tuple[int, ...], Array] = {}

    def room(self, shape: tuple[int, ...]) -> Array:
        """Return an array of ``shape`` for a result, poisoned with NaN."""
        if shape not in self._results:
            self._results[shape] = aligned_empty(shape, self.x.dtype)
        self._results[shape].fill(np.nan)
        return self._results[shape]

    def enter(self, kernel: Kernel) -> tuple[Outcome, Entrant | None]:
        """Return the outcome so far, and the entrant if the kernel computes what it should."""
        return _enter(self.task, kernel, self)


def _enter(task: Task, kernel: Kernel, table: CellTable) -> tuple[Outcome, Entrant | None]:
    problem = task.problem
    if reason := _refusal(kernel, problem, task.weight):
        return Outcome("skipped", reason), None
    operand, prepare_s, compile_s = table.prepare(kernel, task.weight)
    x, dy = kernel.put(table.x), kernel.put(table.dy)
    shape = kernel.output_shape(operand, task.pass_, task.weight.shape, task.x.shape[1])
    out = kernel.put(table.room(shape))

    def call() -> Any:
        return kernel.run(task.pass_, operand, x, dy, out)

    def check(result: Any) -> Verdict:
        host = (
            kernel.dense_gradient(operand, result)
            if task.pass_ == "backward_weight"
            else kernel.fetch(result)
        )
        return table.oracle.check(task.pass_, host, kernel.arithmetic[problem.dtype])

    with compilation.stopwatch() as compiled:
        begin = time.perf_counter()
        result = call()
        kernel.fetch(result)  # waits until a GPU is done
        first_call_s = time.perf_counter() - begin
        compile_s += compiled()
    verdict = check(result)
    outcome = Outcome(
        "measured" if verdict.right else "wrong",
        verdict.problem or "",
        prepare_s=prepare_s,
        first_call_s=first_call_s,
        compile_s=compile_s,
        nbytes=operand.nbytes,
        relative_error=verdict.relative_error,
        share_of_bound=verdict.share_of_bound,
        remarks=[FILLED] if _filled(kernel, operand, task.weight) else [],
        busy_s=prepare_s + first_call_s,
    )
    entrant = Entrant(
        call,
        partial(_nonfinite, kernel),
        lambda: check(call()).problem,
        capturable=check if _launch_bound(problem) else None,
    )
    return outcome, entrant if verdict.right else None


def _filled(kernel: Kernel, operand: Any, weight: Weight) -> bool:
    """Return whether the blocks of a sparse weight hold next to all of W, zeros included."""
    if kernel.format != "bsr":
        return False
    stored = math.prod(kernel.gradient_shape(operand))
    return weight.nnz < _FILLED * weight.values.size <= stored


def _launch_bound(problem: Problem) -> bool:
    """Return whether the launch may take longer than the work, so that it is seen apart."""
    return problem.nnz + (problem.m + problem.k) * problem.n <= _LAUNCH_BOUND


def _refusal(kernel: Kernel, problem: Problem, weight: Weight) -> str | None:
    """Return why ``kernel`` cannot do ``problem`` with ``weight`` here, or None."""
    return (
        kernel.unavailable()
        or kernel.unsupported(problem)
        or too_large(kernel, problem)
        or kernel.unfit(weight)
    )


def _nonfinite(kernel: Kernel, result: Any) -> str | None:
    """Return that the kernel's own array ``result`` holds a NaN or infinity, or None."""
    return nonfinite(kernel.local(result))
