"""The contract at real sizes: what the tests ask of every kernel, asked on the GPU itself.

Fresh operands in each run of ``gpu-check``, results poisoned with NaN before each pass, conversions
exact to the bit, every pass again as a CUDA graph, and after an update on the new values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np

from crossover.bench.trial import Outcome, captured, end_if_lost
from crossover.kernels.base import Array, Kernel, Pass, Problem, Weight
from crossover.kernels.oracle import Oracle

Kind = Literal["random", "empty rows", "skewed", "blocks", "2:4", "explicit zeros", "not finite"]
_RATE = 0.5
# Every kernel has new weights after its update: of a large one so many rows are checked.
_LARGE, _CHECKED_ROWS = 1 << 20, 128


@dataclass(frozen=True)
class HardShape:
    """A problem that has broken somebody's kernel."""

    name: str
    m: int
    k: int
    n: int
    density: float
    kind: Kind = "random"


SHAPES = (
    HardShape("LeNet fc1", 300, 784, 64, 0.1),
    HardShape("LeNet fc3", 10, 100, 256, 0.3),
    HardShape("single image", 300, 784, 1, 0.1),
    HardShape("batch of 33", 100, 300, 33, 0.2),
    HardShape("nothing a multiple of 4", 1023, 1025, 67, 0.1),
    HardShape("one by one", 1, 1, 1, 1.0),
    HardShape("empty rows and columns", 512, 768, 64, 0.2, "empty rows"),
    HardShape("fully dense", 256, 320, 96, 1.0),
    HardShape("all zero", 128, 192, 32, 0.0),
    HardShape("explicit zeros", 256, 256, 40, 0.2, "explicit zeros"),
    HardShape("NaN and infinity", 200, 300, 48, 0.2, "not finite"),
    HardShape("indices beyond 16 bits", 64, 70_001, 40, 0.01),
    HardShape("blocks of 8", 1024, 1024, 128, 0.2, "blocks"),
    HardShape("2 of 4", 512, 512, 128, 0.5, "2:4"),
    HardShape("skewed rows", 2048, 2048, 257, 0.05, "skewed"),
    HardShape("LeNet-5 conv2", 50, 500, 8192, 0.1),
    HardShape("large, batch of 1030", 4096, 4096, 1030, 0.1),
    HardShape("large, single image", 4096, 4096, 1, 0.1),
    HardShape("large, 99 %", 4096, 4096, 128, 0.01),
)


@dataclass(frozen=True)
class Drawn:
    """A weight, X (k, n) and dY (m, n)."""

    weight: Weight
    x: Array
    dy: Array

    @cached_property
    def oracle(self) -> Oracle:
        """Return the reference, computed once for all kernels."""
        return Oracle(self.weight, self.x, self.dy)


@dataclass(frozen=True)
class Examination:
    """One shape, for all kernels; ``seed`` differs from run to run."""

    shape: HardShape
    kernels: Sequence[str]
    seed: int

    def carry_out(
        self, kernels: Mapping[str, Kernel], take_turn: Callable[[str], None]
    ) -> dict[str, Outcome]:
        """Return per kernel ``measured`` where all is right, with what was found on the way."""
        found: dict[str, Outcome] = {}
        for name, kernel in kernels.items():
            take_turn(name)
            try:
                found[name] = examine(kernel, draw(self.shape, self.seed))
            except Exception as error:
                end_if_lost(kernel)
                found[name] = Outcome("failed", f"raised {type(error).__name__}: {error}")
        return found


def examine(kernel: Kernel, drawn: Drawn) -> Outcome:
    """Return what became of ``kernel``: ``measured`` if right, ``wrong`` with the first reason."""
    weight, n = drawn.weight, drawn.x.shape[1]
    problem = Problem("forward", *weight.shape, n, weight.nnz, drawn.x.dtype.name)
    if reason := kernel.unavailable() or kernel.unsupported(problem) or kernel.unfit(weight):
        return Outcome("skipped", reason)
    remarks: list[str] = []
    operand = kernel.prepare(weight)
    for check in (_round_trips, _passes, _update):
        if wrong := check(kernel, operand, drawn, remarks):
            return Outcome("wrong", wrong, remarks=remarks)
    return Outcome("measured", remarks=remarks)


def _round_trips(kernel: Kernel, operand: Any, drawn: Drawn, remarks: list[str]) -> str | None:
    """Return what a conversion lost: host to device and back, dense to the format and back."""
    for name, array in (("X", drawn.x), ("dY", drawn.dy)):
        if not _same_bits(kernel.fetch(kernel.put(array)), array):
            return f"{name} is not the same after it went to the GPU and back"
    if not _same_bits(kernel.dense_weight(operand), drawn.weight.values):
        return f"W is not the same after it went to {kernel.format} and back"
    return None


def _passes(kernel: Kernel, operand: Any, drawn: Drawn, remarks: list[str]) -> str | None:
    """Return what is wrong with a pass, or with its graph; why there is none is a remark."""
    for pass_ in kernel.passes:
        call, check = _pass(kernel, operand, pass_, drawn, drawn.oracle)
        if wrong := check(call()).problem:
            return f"{pass_}: {wrong}"
        replay = captured(kernel, call, check)
        if isinstance(replay, str):
            remarks.append(f"{pass_}: {replay}")
    return None


def _update(kernel: Kernel, operand: Any, drawn: Drawn, remarks: list[str]) -> str | None:
    """Return what is wrong after an update: with W itself, or with a pass that must see it."""
    shape, pattern = kernel.gradient_shape(operand), drawn.weight.pattern
    drawn_step = np.random.default_rng(drawn.weight.nnz).standard_normal(shape)
    step = kernel.put(drawn_step.astype(drawn.x.dtype))
    moved = kernel.dense_gradient(operand, step)
    kernel.update(operand, step, _RATE)
    after = kernel.dense_weight(operand)
    expected = drawn.weight.values - np.float32(_RATE) * moved
    close = np.isclose(after[pattern], expected[pattern], rtol=1e-6, atol=1e-6, equal_nan=True)
    if not close.all():
        return f"update: {int((~close).sum())} of {close.size} weights are wrong"
    if kernel.keeps_zeros and after[~pattern].any():
        return "update: an entry outside the pattern is not zero any more"
    held = pattern if kernel.keeps_zeros else np.ones_like(pattern)
    new = Drawn(Weight(np.where(held, after, 0), held), drawn.x, drawn.dy)
    oracle = Oracle(new.weight, new.x, new.dy, _CHECKED_ROWS if pattern.size > _LARGE else 0)
    for pass_ in kernel.passes:
        if pass_ != "backward_weight":
            call, check = _pass(kernel, operand, pass_, new, oracle)
            if wrong := check(call()).problem:
                return f"{pass_} after an update: {wrong}"
    return None


def _pass(
    kernel: Kernel, operand: Any, pass_: Pass, drawn: Drawn, oracle: Oracle
) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Return a pass into a poisoned result, and what judges it."""
    x, dy = kernel.put(drawn.x), kernel.put(drawn.dy)
    shape = kernel.output_shape(operand, pass_, drawn.weight.shape, drawn.x.shape[1])
    out = kernel.put(np.full(shape, np.nan, drawn.x.dtype))

    def call() -> Any:
        return kernel.run(pass_, operand, x, dy, out)

    def check(result: Any) -> Any:
        dense = pass_ == "backward_weight"
        host = kernel.dense_gradient(operand, result) if dense else kernel.fetch(result)
        return oracle.check(pass_, host, kernel.arithmetic[drawn.x.dtype.name])

    return call, check


@lru_cache(maxsize=1)
def draw(shape: HardShape, seed: int) -> Drawn:
    """Return the operands of ``shape``."""
    rng = np.random.default_rng([seed, shape.m, shape.k, shape.n])
    pattern = _pattern(shape, rng)
    values = np.where(pattern, rng.standard_normal(pattern.shape, np.float32), np.float32(0))
    x = rng.standard_normal((shape.k, shape.n), np.float32)
    dy = rng.standard_normal((shape.m, shape.n), np.float32)
    if shape.kind == "explicit zeros":
        values[rng.random(values.shape) < 0.3] = 0
    if shape.kind == "not finite":
        for array, value in ((x, np.nan), (x, np.inf), (dy, -np.inf), (dy, np.nan)):
            array[rng.integers(array.shape[0]), rng.integers(array.shape[1])] = value
    return Drawn(Weight(values, pattern), x, dy)


def _pattern(shape: HardShape, rng: np.random.Generator) -> Any:
    m, k = shape.m, shape.k
    if shape.kind == "blocks":
        return np.kron(rng.random((m // 8, k // 8)) < shape.density, np.ones((8, 8), bool))
    if shape.kind == "2:4":
        return rng.random((m, k // 4, 4)).argsort(axis=2).reshape(m, k) < 2
    density = shape.density * (rng.lognormal(0, 1, (m, 1)) if shape.kind == "skewed" else 1)
    pattern = rng.random((m, k)) < density
    if shape.kind == "empty rows":
        pattern[::7] = False
        pattern[:, ::5] = False
    return pattern


def _same_bits(one: Array, other: Array) -> bool:
    return one.shape == other.shape and one.tobytes() == other.tobytes()
