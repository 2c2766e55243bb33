"""The register-tiled kernel beyond the contract: tiles, blocks, layouts, threads, widths."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from crossover.kernels.base import FP32, PASSES, Pass, Weight
from crossover.kernels.cpu.grouping import Groups
from crossover.kernels.cpu.numba_tiled import NumbaTiled
from crossover.kernels.cpu.numba_tiled_zeros import NumbaTiledZeros
from crossover.kernels.cpu.simd.vectors import FOUR_VECTORS, LANES
from crossover.kernels.cpu.tiled_layouts import width_of
from crossover.kernels.oracle import Oracle
from tests.kernels.problems import Drawn, Shape, draw

ROOT = Path(__file__).parent.parent.parent
KERNEL = NumbaTiled()
LARGE = Shape("many-tiles-and-blocks", 70, 1203, 150, 0.1)


def compute(drawn: Drawn, pass_: Pass) -> Any:
    operand = KERNEL.prepare(drawn.weight)
    shape = KERNEL.output_shape(operand, pass_, drawn.weight.shape, drawn.x.shape[1])
    out = np.full(shape, np.nan, np.float32)
    result = KERNEL.run(pass_, operand, drawn.x, drawn.dy, out)
    return KERNEL.dense_gradient(operand, result) if pass_ == "backward_weight" else result


@pytest.mark.parametrize("density", [0.5, 0.1, 0.02])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 48, 63, 64, 65, 128, 150, 256])
@pytest.mark.parametrize("pass_", PASSES)
def test_every_width_of_the_batch(pass_: Pass, n: int, density: float) -> None:
    drawn = draw(Shape("width", LARGE.m, LARGE.k, n, density), np.float32, f"{pass_} {n}")
    verdict = Oracle(drawn.weight, drawn.x, drawn.dy).check(pass_, compute(drawn, pass_), FP32)
    assert verdict.right, verdict.problem


@pytest.mark.parametrize("pass_", PASSES)
def test_nothing_is_written_beyond_the_result(pass_: Pass) -> None:
    drawn = draw(Shape("edge", 21, 37, 19, 0.4), np.float32, pass_)
    operand = KERNEL.prepare(drawn.weight)
    shape = KERNEL.output_shape(operand, pass_, drawn.weight.shape, 19)
    size = int(np.prod(shape))
    room = np.full(size + 128, 7.0, np.float32)
    KERNEL.run(pass_, operand, drawn.x, drawn.dy, room[64 : 64 + size].reshape(shape))
    assert (room[:64] == 7).all()
    assert (room[64 + size :] == 7).all()


@pytest.mark.parametrize("pass_", PASSES)
def test_other_layouts_are_refused(pass_: Pass) -> None:
    drawn = draw(Shape("layout", 20, 30, 24, 0.3), np.float32, pass_)
    operand = KERNEL.prepare(drawn.weight)
    out = np.empty(KERNEL.output_shape(operand, pass_, (20, 30), 24), np.float32)
    for change in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2], np.float64):
        with pytest.raises(ValueError, match="must be float32 in C order"):
            KERNEL.run(pass_, operand, change(drawn.x), change(drawn.dy), out)


def test_several_threads_may_call_at_once() -> None:
    drawn = draw(LARGE, np.float32, "threads")
    operand = KERNEL.prepare(drawn.weight)
    expected = compute(drawn, "forward")
    if numba.threading_layer() == "workqueue":
        pytest.skip("not run: Numba's work queue is not safe for several threads; install libgomp")

    def call(_: int) -> bool:
        out = np.full(expected.shape, np.nan, np.float32)
        return bool((KERNEL.forward(operand, drawn.x, out) == expected).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(call, range(40)))


def test_an_operand_survives_pickling() -> None:
    drawn = draw(LARGE, np.float32, "pickle")
    operand = pickle.loads(pickle.dumps(KERNEL.prepare(drawn.weight)))
    out = np.full((LARGE.m, LARGE.n), np.nan, np.float32)
    assert (KERNEL.forward(operand, drawn.x, out) == compute(drawn, "forward")).all()


def test_memory_of_the_operand() -> None:
    drawn = draw(Shape("memory", 300, 784, 64, 0.1), np.float32, "memory")
    weight = drawn.weight
    forward = KERNEL.prepare_for(weight, PASSES[:1], 64).nbytes / weight.nnz
    both = KERNEL.prepare_for(weight, PASSES[:2], 64).nbytes / weight.nnz
    assert forward <= 7.5
    assert both <= 18.5


@pytest.mark.parametrize("n", [1, 8, 64])
def test_an_operand_made_for_a_pass_holds_no_more(n: int) -> None:
    weight = draw(Shape("purpose", 30, 70, n, 0.3), np.float32, "purpose").weight
    forward = KERNEL.prepare_for(weight, PASSES[:1], n)
    assert set(forward.layouts) == {(False, width_of(n))}
    trained = KERNEL.prepare_for(weight, PASSES, n)
    assert set(trained.layouts) == {(False, width_of(n)), (True, width_of(n))}


@pytest.mark.parametrize("kernel", [KERNEL, NumbaTiledZeros()], ids=lambda each: each.name)
@pytest.mark.parametrize("n", [1, 5, 64])
def test_an_update_reaches_every_layout(kernel: NumbaTiled, n: int) -> None:
    """Wᵀ and W for another batch have values of their own."""
    drawn = draw(Shape("update", 90, 201, n, 0.5), np.float32, f"update {n}")
    operand = kernel.prepare(drawn.weight)
    for columns in (1, 5, 64):
        for pass_ in PASSES:
            operand.layout(pass_ == "backward_input", columns)
    step = np.random.default_rng(0).standard_normal(operand.values.shape).astype(np.float32)
    kernel.update(operand, step, 0.5)
    weight = Weight(kernel.dense_weight(operand), drawn.weight.pattern)
    assert not np.array_equal(weight.values, drawn.weight.values)
    for pass_ in ("forward", "backward_input"):
        out = np.full(kernel.output_shape(operand, pass_, (90, 201), n), np.nan, np.float32)
        result = kernel.run(pass_, operand, drawn.x, drawn.dy, out)
        verdict = Oracle(weight, drawn.x, drawn.dy).check(pass_, result, FP32)
        assert verdict.right, verdict.problem


def test_pairs_hold_every_entry_once_and_share_columns() -> None:
    """Two rows that are equal come together, though others lie between."""
    pattern = np.zeros((6, 40), np.bool_)
    pattern[[0, 3], ::3] = True
    pattern[[1, 5], 1::3] = True
    pattern[[2, 4], 2::3] = True
    rows, columns = np.nonzero(pattern)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        groups = Groups.of(rows, columns, (6, 40), 20)
    finally:
        numba.set_num_threads(threads)
    assert groups.shared == 0.5
    assert sorted(groups.order.tolist()) == list(range(rows.size))
    assert {tuple(sorted(each[:2])) for each in groups.pieces.tolist()} == {(0, 3), (1, 5), (2, 4)}


@pytest.mark.parametrize("pass_", PASSES)
@pytest.mark.parametrize("n", [33, 48, 64, 65, 100, 150])
@pytest.mark.parametrize("m", [1, 3, 6, 130])
def test_rows_in_fours_compute_the_same(pass_: Pass, m: int, n: int) -> None:
    """A last piece may lack rows; the weight gradient is asked of a layout that is not for it."""
    n += 2 * LANES - 32
    drawn = draw(Shape("fours", m, 200, n, 0.5), np.float32, f"{pass_}{m}")
    operand = KERNEL.prepare_for(drawn.weight, PASSES[:2], n)
    assert operand.main.groups.together == (4 if FOUR_VECTORS else 2)
    shape = KERNEL.output_shape(operand, pass_, drawn.weight.shape, n)
    out = np.full(shape, np.nan, np.float32)
    result = KERNEL.run(pass_, operand, drawn.x, drawn.dy, out)
    if pass_ == "backward_weight":
        result = KERNEL.dense_gradient(operand, result)
    verdict = Oracle(drawn.weight, drawn.x, drawn.dy).check(pass_, result, FP32)
    assert verdict.right, verdict.problem


@pytest.mark.parametrize("pass_", PASSES)
def test_an_infinity_stays_one(pass_: Pass) -> None:
    """Nothing is padded, and columns that two vectors have both are of one value."""
    drawn = draw(Shape("infinite", 9, 50, 2 * LANES + 1, 0.5), np.float32, pass_)
    drawn.x[:, -1] = np.inf
    drawn.dy[:, -1] = np.inf
    verdict = Oracle(drawn.weight, drawn.x, drawn.dy).check(pass_, compute(drawn, pass_), FP32)
    assert verdict.right, verdict.problem


@pytest.mark.parametrize("features", ["+avx2,+fma,+avx,+sse4.2", "+sse4.2"], ids=["avx2", "sse"])
def test_narrower_vectors_compute_the_same(features: str, tmp_path: Path) -> None:
    """The feature set is lowered, in a process of its own: Numba reads it when it is imported."""
    code = (
        "from crossover.kernels.processor import vector_lanes;"
        "import tests.kernels.test_numba_tiled as t;"
        f"assert vector_lanes() == {8 if 'avx2' in features else 4};"
        "[t.test_every_width_of_the_batch(p, n, d) for p in t.PASSES "
        "for n in (1, 7, 64, 100) for d in (0.3, 0.02)]"
    )
    environment = os.environ | {
        "NUMBA_CPU_NAME": "x86-64",
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    if os.uname().machine != "x86_64":
        pytest.skip("not run: the features are those of x86-64")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)


def test_wider_vectors_compute_the_same(tmp_path: Path) -> None:
    """The loops of a processor with AVX-512, whose vectors are taken apart on others."""
    code = (
        "import crossover.kernels.processor as processor;"
        "processor.vector_lanes = lambda: 16;"
        "import tests.kernels.test_numba_tiled as t;"
        "assert t.LANES == 16;"
        "[t.test_every_width_of_the_batch(p, n, d) for p in t.PASSES "
        "for n in (1, 3, 8, 16, 17, 64, 65, 96, 150, 256) for d in (0.5, 0.02)];"
        "[t.test_rows_in_fours_compute_the_same(p, m, n) for p in t.PASSES "
        "for m in (1, 3, 6, 130) for n in (33, 64, 65, 150)]"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "CROSSOVER_TUNING": "model"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)


@pytest.mark.parametrize("pass_", ["forward", "backward_input"])
@pytest.mark.parametrize("zeros", [0.0, 0.8, 1.0])
def test_zeros_of_the_activations_are_left_out(pass_: Pass, zeros: float) -> None:
    drawn = draw(Shape("zeros", LARGE.m, LARGE.k, 1, 0.3), np.float32, pass_)
    rng = np.random.default_rng(1)
    for array in (drawn.x, drawn.dy):
        array[rng.random(array.shape) < zeros] = 0
    kernel = NumbaTiledZeros()
    operand = kernel.prepare(drawn.weight)
    shape = kernel.output_shape(operand, pass_, drawn.weight.shape, 1)
    result = kernel.run(pass_, operand, drawn.x, drawn.dy, np.full(shape, np.nan, np.float32))
    verdict = Oracle(drawn.weight, drawn.x, drawn.dy).check(pass_, result, FP32)
    assert verdict.right, verdict.problem
