"""The CUDA peers of PyTorch, their very lines run on PyTorch's CPU: not a GPU test.

On a machine with a GPU the contract tests run them there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from crossover.kernels.base import FP32, PASSES, Kernel, Pass, Weight
from crossover.kernels.cuda.torch_cuda import OnTorchCuda, TorchCudaBsr, TorchCudaCsr
from crossover.kernels.cuda.torch_semi_structured import TorchSemiStructured
from crossover.kernels.oracle import Oracle
from tests.kernels.problems import SHAPES, Shape, draw

pytest.importorskip("torch", reason="not run: PyTorch is not installed")


class OnTheCpu(OnTorchCuda):
    """Puts the arrays on the CPU."""

    place = "cpu"

    @contextmanager
    def on_current_stream(self) -> Iterator[None]:
        yield


class Csr(OnTheCpu, TorchCudaCsr):
    pass


class Bsr(OnTheCpu, TorchCudaBsr):
    pass


class SemiStructured(OnTheCpu, TorchSemiStructured):
    """Left uncompressed: PyTorch compresses on a GPU alone."""

    def compress(self, half: Any) -> Any:
        return half


@pytest.mark.parametrize("kernel", [Csr(), Bsr()], ids=["csr", "bsr"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_passes_before_and_after_an_update(kernel: Kernel, shape: Shape) -> None:
    drawn = draw(shape, np.float32, kernel.name)
    operand: Any = kernel.prepare(drawn.weight)
    oracle = Oracle(drawn.weight, drawn.x, drawn.dy)

    def computed(pass_: Pass) -> Any:
        sides = kernel.output_shape(operand, pass_, drawn.weight.shape, drawn.x.shape[1])
        out = kernel.put(np.full(sides, np.nan, np.float32))
        return kernel.run(pass_, operand, kernel.put(drawn.x), kernel.put(drawn.dy), out)

    gradient = computed("backward_weight")
    dense = kernel.dense_gradient(operand, gradient)
    assert oracle.check("backward_weight", dense, FP32).right
    kernel.update(operand, gradient, 0.5)
    after = kernel.dense_weight(operand)
    expected = drawn.weight.values - np.float32(0.5) * dense
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)
    oracle = Oracle(type(drawn.weight)(after, drawn.weight.pattern), drawn.x, drawn.dy)
    for pass_ in PASSES[:2]:
        verdict = oracle.check(pass_, kernel.fetch(computed(pass_)), FP32)
        assert verdict.right, verdict.problem
    assert operand.nbytes >= 4 * drawn.weight.nnz


@pytest.mark.parametrize("n", [1, 8, 13])
def test_two_of_four_before_and_after_an_update(n: int) -> None:
    rng = np.random.default_rng(n)
    pattern = rng.random((64, 32, 4)).argsort(axis=2).reshape(64, 128) < 2
    values = np.where(pattern, rng.standard_normal(pattern.shape), 0).astype(np.float32)
    x, step = (rng.standard_normal(s).astype(np.float32) for s in ((128, n), (64, 128)))
    kernel, weight = SemiStructured(), Weight(values, pattern)
    assert kernel.unfit(weight) is None
    operand = kernel.prepare(weight)
    arithmetic = kernel.arithmetic["float32"]
    for _ in range(2):
        out = kernel.put(np.full((64, n), np.nan, np.float32))
        result = kernel.fetch(kernel.run("forward", operand, kernel.put(x), None, out))
        verdict = Oracle(weight, x, x).check("forward", result, arithmetic)
        assert verdict.right, verdict.problem
        assert not Oracle(weight, x, x).check("forward", result, FP32).right
        kernel.update(operand, kernel.put(step), 0.5)
        after = kernel.dense_weight(operand)
        expected = weight.values - np.float32(0.5) * step * pattern
        np.testing.assert_allclose(after, expected, rtol=1e-6, atol=1e-7)
        weight = Weight(after, pattern)
    assert operand.nbytes == 64 * 128 * (4 + 1 + 2)


def test_what_two_of_four_cannot_hold_is_said() -> None:
    kernel, rng = TorchSemiStructured(), np.random.default_rng(0)
    assert "multiples of 32" in str(kernel.unfit(draw(SHAPES[0]).weight))
    full = Weight.from_dense(rng.standard_normal((32, 64)).astype(np.float32))
    assert "here 4 are stored" in str(kernel.unfit(full))
    huge = np.zeros((32, 64), np.float32)
    huge[0, 0] = 1e6
    assert "beyond fp16" in str(kernel.unfit(Weight.from_dense(huge)))
