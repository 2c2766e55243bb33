"""Blocks on the tensor cores: the layout, edges, and what an update leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from crossover.kernels.base import TF32, Weight
from crossover.kernels.cuda.numba.arrays import cuda_unavailable
from crossover.kernels.cuda.numba.bsr import NumbaCudaBsr
from crossover.kernels.oracle import Oracle

pytestmark = pytest.mark.skipif(
    NumbaCudaBsr().unavailable() is not None, reason=f"not run: {cuda_unavailable()}"
)


def blocky(m: int, k: int) -> Weight:
    """A weight of whole blocks (16, 8), cut off at the edges, some missing, some with holes."""
    rng = np.random.default_rng((m, k))
    kept = rng.random((-(-m // 16), -(-k // 8))) < 0.6
    pattern = np.kron(kept, np.ones((16, 8), bool))[:m, :k] & (rng.random((m, k)) < 0.9)
    return Weight(np.where(pattern, rng.standard_normal((m, k)), 0).astype(np.float32), pattern)


@pytest.mark.parametrize("n", [36, 64])
def test_vector_loads_at_the_edges_are_right(n: int) -> None:
    kernel, weight = NumbaCudaBsr(), blocky(19, 21)
    rng = np.random.default_rng(n)
    x = rng.standard_normal((21, n)).astype(np.float32)
    dy = rng.standard_normal((19, n)).astype(np.float32)
    oracle, operand = Oracle(weight, x, dy), kernel.prepare(weight)
    y, dx = (kernel.put(np.full((rows, n), np.nan, np.float32)) for rows in (19, 21))
    for pass_, result in (
        ("forward", kernel.forward(operand, kernel.put(x), y)),
        ("backward_input", kernel.backward_input(operand, kernel.put(dy), dx)),
    ):
        verdict = oracle.check(pass_, kernel.fetch(result), TF32)  # type: ignore[arg-type]
        assert verdict.right, verdict.problem


def test_blocks_lie_as_the_threads_of_a_warp_hold_them() -> None:
    values = np.arange(1, 129, dtype=np.float32).reshape(16, 8)
    kernel = NumbaCudaBsr()
    operand = kernel.prepare(Weight.from_dense(values))
    held = kernel.fetch(operand.forward.values).reshape(32, 4)
    # PTX ISA, mma.m16n8k8 with .tf32, matrix A: rows g and g + 8, columns t and t + 4.
    for thread in range(32):
        g, t = divmod(thread, 4)
        expected = [values[g, t], values[g + 8, t], values[g, t + 4], values[g + 8, t + 4]]
        np.testing.assert_array_equal(held[thread], expected)


def test_an_update_leaves_what_fills_a_block_at_zero() -> None:
    kernel, weight = NumbaCudaBsr(), blocky(19, 21)
    operand = kernel.prepare(weight)
    size = int(operand.places.size)
    kernel.update(operand, kernel.put(np.ones(size, np.float32)), 0.5)
    np.testing.assert_array_equal(
        kernel.dense_weight(operand), np.where(weight.pattern, weight.values - np.float32(0.5), 0)
    )
    for blocks in (operand.forward, operand.transposed):
        assert np.count_nonzero(kernel.fetch(blocks.values)) <= weight.nnz
