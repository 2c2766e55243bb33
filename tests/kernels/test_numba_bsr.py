"""The block kernel beyond the contract: blocks at the edge, every width, other vectors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crossover.bench.statistics.rates import leaves_out
from crossover.bench.workloads.pruning.masks import block_masks
from crossover.kernels.base import FP32, PASSES, Pass, Weight
from crossover.kernels.cpu.numba_bsr import NumbaBsr
from crossover.kernels.oracle import Oracle

ROOT = Path(__file__).parent.parent.parent
KERNEL = NumbaBsr()


def pruned(m: int, k: int, sparsity: float) -> Weight:
    values = np.random.default_rng([m, k]).standard_normal((m, k), np.float32)
    mask = block_masks([values], sparsity)[0]
    return Weight(np.where(mask, values, np.float32(0)), mask)


@pytest.mark.parametrize("n", [1, 5, 8, 9, 16, 31, 64, 65, 150])
@pytest.mark.parametrize("shape", [(64, 128), (61, 131), (4, 3), (130, 600)])
@pytest.mark.parametrize("pass_", PASSES)
def test_pass_of_a_block_pruned_weight(pass_: Pass, shape: tuple[int, int], n: int) -> None:
    weight, rng = pruned(*shape, 0.6), np.random.default_rng(n)
    x, dy = (rng.standard_normal((rows, n), np.float32) for rows in reversed(shape))
    operand = KERNEL.prepare(weight)
    out = np.full(KERNEL.output_shape(operand, pass_, shape, n), np.nan, np.float32)
    result = KERNEL.run(pass_, operand, x, dy, out)
    if pass_ == "backward_weight":
        result = KERNEL.dense_gradient(operand, result)
        assert not result[~weight.pattern].any()
    verdict = Oracle(weight, x, dy).check(pass_, result, FP32)
    assert verdict.right, verdict.problem


def test_a_block_costs_its_values_and_little_more() -> None:
    weight = pruned(300, 784, 0.9)
    operand = KERNEL.prepare(weight)
    assert operand.stored is None
    forward = operand.values.nbytes + operand.forward.indices.nbytes
    assert forward / weight.nnz <= 4.2
    assert operand.nbytes / weight.nnz <= 5


def test_training_leaves_the_edge_of_a_block_at_zero() -> None:
    weight = pruned(5, 7, 0.0)
    operand = KERNEL.prepare(weight)
    gradient = np.full(operand.values.shape, np.nan, np.float32)
    x, dy = np.ones((7, 3), np.float32), np.ones((5, 3), np.float32)
    x[6], dy[4] = np.inf, np.nan
    KERNEL.update(operand, KERNEL.backward_weight(operand, dy, x, gradient), 0.1)
    assert operand.stored is not None
    assert not operand.values[~operand.stored].any()


@pytest.mark.parametrize("features", ["+avx2,+fma,+avx,+sse4.2", "+sse4.2"], ids=["avx2", "sse"])
def test_narrower_vectors_compute_the_same(features: str, tmp_path: Path) -> None:
    code = (
        "import tests.kernels.test_numba_bsr as t;"
        "[t.test_pass_of_a_block_pruned_weight(p, (61, 131), n) "
        "for p in t.PASSES for n in (1, 7, 70)]"
    )
    environment = os.environ | {
        "NUMBA_CPU_NAME": "x86-64",
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    if os.uname().machine != "x86_64":
        pytest.skip("not run: the features are those of x86-64")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)


def test_blocks_that_fill_a_scattered_weight_leave_nothing_out() -> None:
    scattered = np.random.default_rng(0).standard_normal((64, 64), np.float32)
    scattered[scattered > 0] = 0

    def sparse(weight: Weight) -> bool:
        stored = KERNEL.prepare(weight).stored_entries
        return leaves_out(KERNEL.stores_zeros, stored, weight.nnz, weight.values.size)

    assert not sparse(Weight.from_dense(scattered))
    assert sparse(pruned(64, 64, 0.5))
    assert sparse(pruned(64, 64, 0.0)), "a weight without zeros is held whole by every format"
