"""A pass over one weight, with the operands that its recipe makes."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import numpy as np

from crossover.bench.harness import compilation
from crossover.bench.harness.clocks import Call
from crossover.bench.harness.examination.examiner import rows_to_check
from crossover.bench.harness.examination.layer import LayerExaminer
from crossover.bench.harness.examination.operands import Content, Operands, rearranged, rounded
from crossover.bench.harness.task import Description, PreparedCall, Task, TooLargeError
from crossover.bench.machine.memory import free_bytes, too_little
from crossover.bench.records.rows import Row
from crossover.bench.workloads.given import GivenWeights
from crossover.bench.workloads.learned import LearnedNetwork
from crossover.bench.workloads.problem import Workload
from crossover.bench.workloads.recipes import (
    NetworkWeights,
    ServedNetwork,
    WeightRecipe,
    with_zeros,
)
from crossover.kernels import formats
from crossover.kernels.base import Array, Kernel, Pass, Problem, Weight
from crossover.kernels.oracle import Oracle
from crossover.kernels.processor import LINE, PAGE, aligned_empty

# A problem this small, in floats, takes the GPU no longer than its launch takes the host.
_LAUNCH_BOUND = 1 << 22
# Recipes of whole networks, which others set up.
_WHOLE = NetworkWeights, GivenWeights, ServedNetwork, LearnedNetwork
#: What an operand is for: a pass, and the columns of X.
Purpose = tuple[Pass, int]
# What is drawn for the operands is not what orders the rounds, which kernels see.
_OWN_STREAM = 1


class LayerSetup:
    """What all kernels of a pass share: the weight, X and dY with their oracles.

    Where arrays lie in memory moves a time by some percent. So kernels of the CPU share X and dY,
    and each has an output of its own that begins where all others do in a page: at offsets that
    are drawn anew for each visit.
    """

    def __init__(self, task: Task) -> None:
        """Make the operands.

        Raises:
            TooLargeError: if they do not fit into the free memory; nothing was allocated.
        """
        workload = task.problem.workload
        assert not isinstance(workload.weights, _WHOLE)
        _refuse_too_large(workload.weights, workload.batch)
        self.task, self.pass_ = task, workload.pass_
        self._rng = np.random.default_rng([*task.seed, _OWN_STREAM])
        self.weight, self.contents, self.description = _made(workload)
        x_at, dy_at, self._result_at = LINE * self._rng.choice(PAGE // LINE, 3, replace=False)
        self.x = self._placed(self.contents[0].x.shape, x_at)
        self.dy = self._placed(self.contents[0].dy.shape, dy_at)
        self._operands = Operands(self.pass_, self.x, self.dy, np, self._rng)
        self._operands.fill(self.contents[0])

    @property
    def problem(self) -> Problem:
        """Return what is to be computed, as kernels are asked about it."""
        m, k = self.weight.shape
        n = self.x.shape[1]
        return Problem(self.pass_, m, k, n, self.weight.nnz, self.x.dtype.name)

    def prepare(self, kernel: Kernel) -> tuple[Row, PreparedCall | None]:
        """Return the row so far, and the call if the kernel computes what it should."""
        problem = self.problem
        if reason := _refusal(kernel, problem, self.weight):
            return Row(kernel.name, "skipped", reason), None
        operand, prepare_s, compile_s = self._operand(kernel)
        call, examiner = self._examined(kernel, operand)
        examiner.poison()
        with compilation.stopwatch() as compiled:
            begin = time.perf_counter()
            result = call()
            kernel.fetch(result)  # waits until a GPU is done
            first_call_s = time.perf_counter() - begin
            compile_s += compiled()
        verdict = examiner.check_first(result)
        row = Row(
            kernel.name,
            "measured" if verdict.right else "wrong",
            verdict.problem or "",
            prepare_s=prepare_s,
            restore_s=_restore_s(kernel, operand),
            first_call_s=first_call_s,
            compile_s=compile_s,
            nbytes=operand.nbytes,
            stored_entries=operand.stored_entries,
            relative_error=verdict.relative_error,
            share_of_bound=verdict.share_of_bound,
            busy_s=prepare_s + first_call_s,
        )
        if not verdict.right:
            return row, None
        return row, PreparedCall(call, examiner, launch_bound=_launch_bound(problem))

    def _operand(self, kernel: Kernel) -> tuple[Any, float, float]:
        """Return the operand for this pass and batch, the seconds it took, and of compiling."""
        purpose = self.pass_, self.x.shape[1]
        if self.task.keeps_operands:
            weights = self.task.problem.workload.weights
            return _KEPT.operand(weights, kernel, self.weight, purpose)
        return prepared(kernel, self.weight, purpose)

    def _examined(self, kernel: Kernel, operand: Any) -> tuple[Call, LayerExaminer]:
        """Return the pass as a call, and who examines what it returns."""
        x, dy = kernel.put(self.x), kernel.put(self.dy)
        shape = kernel.output_shape(operand, self.pass_, self.weight.shape, self.x.shape[1])
        out = kernel.put(self._placed(shape, self._result_at))
        operands = self._operands
        if kernel.device != "cpu" or not np.shares_memory(kernel.local(x), self.x):
            # Arrays of its own, which what is written to ours does not reach.
            sides = kernel.local(x), kernel.local(dy)
            operands = Operands(self.pass_, *sides, kernel.namespace(), self._rng)
            operands.fill(self.contents[0])

        def call() -> Any:
            return kernel.run(self.pass_, operand, x, dy, out)

        examiner = LayerExaminer(
            kernel, self.pass_, operand, operands, self.contents, out, self._rng
        )
        return call, examiner

    def _placed(self, shape: tuple[int, ...], offset: int) -> Array:
        """Return an array for an operand or a result, at an ``offset`` in a page."""
        return aligned_empty(shape, self.contents[0].x.dtype, PAGE, offset)


def prepared(kernel: Kernel, weight: Weight, purpose: Purpose) -> tuple[Any, float, float]:
    """Return the operand, the seconds that converting takes, and those that compiling took.

    Where code was compiled W is converted once more: that is what every further weight costs.
    """
    with compilation.stopwatch() as compiled:
        begin = time.perf_counter()
        operand = _converted(kernel, weight, purpose)
        prepare_s, compile_s = time.perf_counter() - begin, compiled()
    if compile_s:
        begin = time.perf_counter()
        operand = _converted(kernel, weight, purpose)
        prepare_s = time.perf_counter() - begin
    return operand, prepare_s, compile_s


def _converted(kernel: Kernel, weight: Weight, purpose: Purpose) -> Any:
    """Return the operand; a gate compares with versions that are not asked what it is for, too."""
    pass_, n = purpose
    if not hasattr(kernel, "prepare_for"):
        return kernel.prepare(weight)
    return kernel.prepare_for(weight, (pass_,), n)


def _prepares_alike(kernel: Kernel) -> bool:
    """Return whether operands are the same whatever they are for."""
    # By name: another version's kernels are of that version's class.
    own = getattr(kernel, "prepare_for", None)
    return own is None or own.__qualname__ == Kernel.prepare_for.__qualname__


class _KeptOperands:
    """The operands of one weight by every kernel, kept until another weight comes.

    A kernel whose operands differ by what they are for has one for each pass and batch.
    """

    def __init__(self) -> None:
        self._weights: object = None
        self._operands: dict[tuple[object, ...], tuple[Any, float, float]] = {}

    def operand(
        self, weights: object, kernel: Kernel, weight: Weight, purpose: Purpose
    ) -> tuple[Any, float, float]:
        if weights != self._weights:
            self._weights = weights
            self._operands.clear()
        key = (kernel.name,) if _prepares_alike(kernel) else (kernel.name, *purpose)
        if key not in self._operands:
            operand, prepare_s, compile_s = prepared(kernel, weight, purpose)
            self._operands[key] = operand, prepare_s, 0.0
            return operand, prepare_s, compile_s
        return self._operands[key]


_KEPT = _KeptOperands()


@lru_cache(maxsize=2)
def _made(workload: Workload) -> tuple[Weight, tuple[Content, Content], Description]:
    """Return W, X and dY with their oracle, in two kinds, and the description, for all visits."""
    recipe = workload.weights
    assert not isinstance(recipe, _WHOLE)
    weight = recipe.weight()
    given = with_zeros(recipe, workload.batch, workload.zeros, workload.seed)
    x, dy = (rounded(each.astype(workload.dtype)) for each in (given.x, given.dy))
    m, k = weight.shape
    n = x.shape[1]
    result = {"forward": m * n, "backward_input": k * n, "backward_weight": m * k}
    oracle = Oracle(weight, x, dy, rows_to_check(result[workload.pass_]), workload.seed)
    other_x, other_dy = (rearranged(each, workload.seed) for each in (x, dy))
    other = Content(other_x, other_dy, oracle.with_sides(other_x, other_dy))
    description = Description(
        m=m,
        k=k,
        n=n,
        nnz=weight.nnz,
        sparsity=weight.sparsity,
        zeros_x=float(np.mean(x == 0)),
        zeros_dy=float(np.mean(dy == 0)),
        useful_flops=2.0 * weight.nnz * n,
        executed_flops=2.0 * m * k * n,
        side_bytes=(m + k) * n * x.itemsize,
        format_bytes=formats.bytes_by_format(weight),
    )
    return weight, (Content(x, dy, oracle), other), description


def _refuse_too_large(recipe: WeightRecipe, batch: int) -> None:
    """Raise if W, X and dY, in two kinds, and float64 references do not fit into the memory."""
    (m, k), n = recipe.shape, recipe.columns(batch)
    needed, free = 28 * (m + k) * n + 24 * (m * k + (m + k) * n), free_bytes()
    if needed > free:
        raise TooLargeError(too_little(needed, free))


def refusal_for_size(kernel: Kernel, *problems: Problem) -> str | None:
    """Return that the problems do not fit into the device's free memory together, or None."""
    needed = sum(kernel.needed_bytes(problem) for problem in problems)
    free = free_bytes(kernel.device)
    return None if needed <= free else too_little(needed, free)


def _refusal(kernel: Kernel, problem: Problem, weight: Weight) -> str | None:
    """Return why ``kernel`` cannot do ``problem`` with ``weight`` here, or None."""
    return (
        kernel.unavailable()
        or kernel.unsupported(problem)
        or refusal_for_size(kernel, problem)
        or kernel.unfit(weight)
    )


def _restore_s(kernel: Kernel, operand: Any) -> float:
    """Return the seconds of converting an operand back to a dense W on the host."""
    begin = time.perf_counter()
    kernel.dense_weight(operand)
    return time.perf_counter() - begin


def _launch_bound(problem: Problem) -> bool:
    """Return whether the launch may take longer than the work, so that it is seen apart."""
    return problem.nnz + (problem.m + problem.k) * problem.n <= _LAUNCH_BOUND
