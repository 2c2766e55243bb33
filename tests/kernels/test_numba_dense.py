"""The dense kernel beyond the contract: every width, both edges, other vectors, and its mask."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossover.kernels.base import FP32, PASSES, Pass, Weight
from crossover.kernels.cpu.numba_dense import NumbaDense
from crossover.kernels.cpu.numba_masked_update import NumbaMaskedUpdate
from crossover.kernels.oracle import Oracle

ROOT = Path(__file__).parent.parent.parent
KERNEL = NumbaDense()
#: Room of sevens before and after a result.
ROOM = 64


def dense(m: int, k: int) -> Weight:
    return Weight.from_dense(np.random.default_rng([m, k]).standard_normal((m, k), np.float32))


def computed(pass_: Pass, weight: Weight, x: Any, dy: Any, threads: int = 1) -> Any:
    """Return a result, after a look at what lies before and after it."""
    operand = KERNEL.prepare(weight)
    operand.threads, operand.serial_loads = threads, 0
    shape = KERNEL.output_shape(operand, pass_, weight.shape, x.shape[1])
    size = int(np.prod(shape))
    room = np.full(size + 2 * ROOM, 7.0, np.float32)
    room[ROOM:-ROOM] = np.nan
    result = KERNEL.run(pass_, operand, x, dy, room[ROOM:-ROOM].reshape(shape))
    assert (room[:ROOM] == 7).all()
    assert (room[-ROOM:] == 7).all()
    return KERNEL.dense_gradient(operand, result) if pass_ == "backward_weight" else result


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 12, 13, 16, 17, 31, 64, 65, 150])
@pytest.mark.parametrize("shape", [(64, 128), (61, 131), (4, 3), (130, 600), (1, 17)])
@pytest.mark.parametrize("pass_", PASSES)
def test_every_width_of_the_batch(pass_: Pass, shape: tuple[int, int], n: int) -> None:
    weight, rng = dense(*shape), np.random.default_rng(n)
    x, dy = (rng.standard_normal((rows, n), np.float32) for rows in reversed(shape))
    for threads in (1, 2):
        result = computed(pass_, weight, x, dy, threads)
        verdict = Oracle(weight, x, dy).check(pass_, result, FP32)
        assert verdict.right, f"{threads} threads: {verdict.problem}"


@pytest.mark.parametrize("pass_", PASSES)
def test_more_threads_than_blocks(pass_: Pass) -> None:
    weight = dense(9, 6)
    x, dy = np.ones((6, 3), np.float32), np.ones((9, 3), np.float32)
    verdict = Oracle(weight, x, dy).check(pass_, computed(pass_, weight, x, dy, 16), FP32)
    assert verdict.right, verdict.problem


@pytest.mark.parametrize("pass_", PASSES)
def test_other_layouts_are_refused(pass_: Pass) -> None:
    weight, rng = dense(20, 30), np.random.default_rng(0)
    x, dy = (rng.standard_normal((rows, 24), np.float32) for rows in (30, 20))
    for change in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2], np.float64):
        with pytest.raises(ValueError, match="must be float32 in C order"):
            computed(pass_, weight, change(x), change(dy))


def test_the_loop_is_chosen_by_the_batch() -> None:
    operand = KERNEL.prepare(dense(300, 784))
    operand.threads, operand.serial_loads = 2, 1 << 16
    asked: list[tuple[Pass, int]] = [
        ("forward", 1), ("backward_input", 64), ("backward_weight", 1),
    ]  # fmt: skip
    chosen = [[choice.value for choice in KERNEL.explain(operand, pass_, n)] for pass_, n in asked]
    assert chosen == [
        ["vectors along W", "1"],
        ["vectors along the batch", "2"],
        ["tiles of outer products", "1"],
    ]


def test_w_is_stored_once_and_little_else() -> None:
    assert KERNEL.prepare(dense(300, 784)).nbytes == 4 * 300 * 784
    masked = NumbaMaskedUpdate().prepare(dense(300, 784))
    assert masked.nbytes == 4 * 300 * 784 * (1 + 1 / 32)


@pytest.mark.parametrize("value", [1.0, np.nan, np.inf])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_masked_update_leaves_what_is_pruned_at_zero(threads: int, value: float) -> None:
    values = np.random.default_rng(0).standard_normal((21, 37), np.float32)
    values[values < 0.5] = 0
    weight, kernel = Weight.from_dense(values), NumbaMaskedUpdate()
    operand = kernel.prepare(weight)
    operand.threads, operand.serial_loads = threads, 0
    kernel.update(operand, np.full(operand.values.shape, value, np.float32), 0.25)
    after = kernel.dense_weight(operand)
    np.testing.assert_array_equal(after[~weight.pattern], 0)
    np.testing.assert_array_equal(after[weight.pattern], (values - 0.25 * value)[weight.pattern])


@pytest.mark.parametrize("features", ["+avx2,+fma,+avx,+sse4.2", "+sse4.2"], ids=["avx2", "sse"])
def test_narrower_vectors_compute_the_same(features: str, tmp_path: Path) -> None:
    code = (
        "import tests.kernels.test_numba_dense as t;"
        "[t.test_every_width_of_the_batch(p, (61, 131), n) "
        "for p in t.PASSES for n in (1, 2, 3, 5, 7, 70)];"
        "t.test_a_masked_update_leaves_what_is_pruned_at_zero(1, float('nan'))"
    )
    environment = os.environ | {
        "NUMBA_CPU_NAME": "x86-64",
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    if os.uname().machine != "x86_64":
        pytest.skip("not run: the features are those of x86-64")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
