"""The CUDA peers of PyTorch, their very lines run on PyTorch's CPU: not a GPU test.

On a machine with a GPU the contract tests run them there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from kernels.base import FP32, PASSES, Kernel, Pass
from kernels.oracle import Oracle
from kernels.torch_cuda import OnTorchCuda, TorchCudaBsr, TorchCudaCsr
from tests.problems import SHAPES, Shape, draw

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
