"""The tiled CUDA kernel: every variant against the oracle, its layout, and the choice of tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossover.kernels import discover
from crossover.kernels.base import FP32, PASSES, Array, Pass, Problem, Weight
from crossover.kernels.cuda.numba import vectors
from crossover.kernels.cuda.numba.arrays import cuda_unavailable, simulated
from crossover.kernels.cuda.numba.tiled import NumbaCudaTiled, TiledOperand
from crossover.kernels.cuda.numba.tiles import Tile, candidates, choose
from crossover.kernels.oracle import Oracle

pytestmark = pytest.mark.skipif(
    cuda_unavailable() is not None, reason=f"not run: {cuda_unavailable()}"
)
VARIANTS = "crossover.kernels.variants.cuda_tiles"
#: Rows of no, one, three, four, five and many nonzeros: each length of a last quad.
LENGTHS = (0, 1, 3, 4, 5, 8, 17, 0, 2)


def ragged(n: int, salt: int = 0) -> tuple[Weight, Array, Array]:
    rng = np.random.default_rng((n, salt))
    m, k = len(LENGTHS), 20
    pattern = np.zeros((m, k), bool)
    for row, length in enumerate(LENGTHS):
        pattern[row, rng.choice(k, length, replace=False)] = True
    values = np.where(pattern, rng.standard_normal((m, k)), 0).astype(np.float32)
    x, dy = (rng.standard_normal((rows, n)).astype(np.float32) for rows in (k, m))
    return Weight(values, pattern), x, dy


def problem_of(kernel: NumbaCudaTiled, pass_: Pass, n: int, salt: int = 0) -> str | None:
    """What is wrong with a pass on fresh operands, its output poisoned, or None."""
    weight, x, dy = ragged(n, salt)
    operand = kernel.prepare(weight)
    shape = kernel.output_shape(operand, pass_, weight.shape, n)
    out = kernel.put(np.full(shape, np.nan, np.float32))
    result = kernel.run(pass_, operand, kernel.put(x), kernel.put(dy), out)
    assert np.isfinite(kernel.fetch(result)).all()  # the padding too
    if pass_ == "backward_weight":
        assert not np.delete(kernel.fetch(result), operand.places).any()
        dense = kernel.dense_gradient(operand, result)
    else:
        dense = kernel.fetch(result)
    return Oracle(weight, x, dy).check(pass_, dense, FP32).problem


@pytest.mark.parametrize("n", [1, 2, 3, 8, 12, 33, 64])
@pytest.mark.parametrize("pass_", PASSES)
def test_chosen_tiles_are_right(pass_: Pass, n: int) -> None:
    assert problem_of(NumbaCudaTiled(), pass_, n) is None


# What large problems choose, on small ones: (splits, lanes, vector, pieces, rows).
@pytest.mark.parametrize(
    ("tile", "n"),
    [
        (Tile(1, 8, 4, 2, 4), 64),  # exact, two pieces
        (Tile(1, 8, 4, 2, 8), 100),  # a second tile with a part of its first piece
        (Tile(2, 4, 4, 4, 4), 128),
        (Tile(4, 8, 4, 1, 1), 32),
        (Tile(1, 32, 1, 2, 2), 33),
        (Tile(2, 4, 1, 4, 4), 21),
        (Tile(1, 4, 4, 1, 32), 20),
    ],
    ids=lambda value: value.name if isinstance(value, Tile) else str(value),
)
@pytest.mark.parametrize("pass_", ["forward", "backward_weight"])
def test_a_fixed_tile_is_right(pass_: Pass, tile: Tile, n: int) -> None:
    assert problem_of(NumbaCudaTiled({pass_: tile}), pass_, n, salt=1) is None


@pytest.mark.parametrize("n", [1, 8])
def test_what_pads_a_row_is_never_multiplied(n: int) -> None:
    kernel = NumbaCudaTiled()
    weight, x, _ = ragged(n)
    x[0] = np.nan  # the padding's index
    out = kernel.put(np.full((len(LENGTHS), n), np.nan, np.float32))
    result = kernel.fetch(kernel.forward(kernel.prepare(weight), kernel.put(x), out))
    np.testing.assert_array_equal(np.isnan(result).all(axis=1), weight.pattern[:, 0])


def test_unaligned_operands_get_scalar_loads() -> None:
    for pass_ in PASSES:
        assert choose(pass_, 100, 1000, 64, aligned=True).vector == 4
        assert choose(pass_, 100, 1000, 64, aligned=False).vector == 1
        assert choose(pass_, 100, 1000, 63).vector == 1


def test_rows_begin_at_quads_and_the_longest_come_first() -> None:
    kernel = NumbaCudaTiled()
    weight, _, _ = ragged(1)
    operand = kernel.prepare(weight)
    for rows, lengths in (
        (operand.forward, weight.pattern.sum(1)),
        (operand.transposed, weight.pattern.sum(0)),
    ):
        table = kernel.fetch(rows.table)
        assert not (table[:, 1] % 4).any()
        sorted_lengths = table[:, 2] - table[:, 1]
        np.testing.assert_array_equal(sorted_lengths, lengths[table[:, 0]])
        assert (np.diff(sorted_lengths) <= 0).all()
        assert rows.nnz == weight.nnz
    np.testing.assert_array_equal(kernel.dense_weight(operand), weight.values)


def transposed_weight(kernel: NumbaCudaTiled, operand: TiledOperand) -> Array:
    """W, gathered from what the operand holds of Wᵀ."""
    rows = operand.transposed
    table, indices, values = (kernel.fetch(e) for e in (rows.table, rows.indices, rows.values))
    dense = np.zeros(operand.shape, np.float32)
    for column, begin, end, _ in table:
        dense[indices[begin:end], column] = values[begin:end]
    return dense


def test_an_update_writes_both_copies() -> None:
    kernel = NumbaCudaTiled()
    weight, _, _ = ragged(1)
    operand = kernel.prepare(weight)
    step = np.arange(1, operand.forward.values.size + 1, dtype=np.float32)
    kernel.update(operand, kernel.put(step), 0.25)
    expected = weight.values - np.float32(0.25) * kernel.dense_gradient(operand, kernel.put(step))
    np.testing.assert_allclose(kernel.dense_weight(operand), expected, rtol=1e-6)
    np.testing.assert_array_equal(transposed_weight(kernel, operand), kernel.dense_weight(operand))


@given(
    pass_=st.sampled_from(PASSES),
    rows=st.integers(1, 20_000),
    density=st.floats(0, 1),
    n=st.integers(1, 9000),
)
def test_every_choice_can_be_launched(pass_: Pass, rows: int, density: float, n: int) -> None:
    for tile in candidates(pass_, rows, int(rows * 4096 * density), n)[:40]:
        threads = tile.width * tile.rows
        assert 32 <= threads <= 1024
        assert threads % 32 == 0
        assert 32 % tile.width == 0
        assert tile.registers * threads <= 1 << 16
        assert tile.vector == 1 or n % 4 == 0
        wide_sddmm = pass_ == "backward_weight" and tile.lanes > 1
        assert tile.lanes >= 4 or not wide_sddmm


def test_explain_names_the_tile_and_what_to_race_it_with() -> None:
    kernel = NumbaCudaTiled()
    operand = kernel.prepare(ragged(1)[0])
    for pass_ in PASSES:
        rows = operand.transposed if pass_ == "backward_input" else operand.forward
        problem = pass_, rows.table.shape[0], rows.nnz, 8
        first, *others = kernel.explain(operand, pass_, 8)
        assert first.value == choose(*problem).name
        assert {first.value, *(each.value for each in others)} == {
            tile.name for tile in candidates(*problem)
        }
        assert "threads" in first.reason
    fixed = Tile(1, 4, 4, 1, 32)
    assert NumbaCudaTiled({"forward": fixed}).explain(operand, "forward", 8)[0].value == fixed.name


def test_tiles_can_be_raced_as_kernels() -> None:
    own = set(discover())
    variants = {n: k for n, k in discover([VARIANTS]).items() if n not in own}
    assert all(isinstance(kernel, NumbaCudaTiled) for kernel in variants.values())
    for passes, n in ((PASSES[:2], 1), (PASSES[:2], 32), (PASSES[2:], 8), (PASSES[2:], 32)):
        problem = Problem(passes[0], len(LENGTHS), 20, n, 40)
        fitting = [kernel for kernel in variants.values() if not kernel.unsupported(problem)]
        assert len(fitting) > 3
        for pass_ in passes:
            assert problem_of(fitting[-1], pass_, n) is None  # type: ignore[arg-type]


@pytest.mark.skipif(not simulated(), reason="not run: the checks are the simulator's")
def test_the_simulator_refuses_what_a_gpu_would_crash_on() -> None:
    do: Any = vectors.operations(True)
    array, into = np.zeros((4, 4), np.float32), np.zeros(4, np.float32)
    do.load4(into, 0, array, 8, 4)
    for load, place in ((do.load4, 2), (do.load4, 16), (do.load1, 16), (do.load1, -1)):
        with pytest.raises(IndexError, match="outside, or not aligned"):
            load(into, 0, array, place, 0)
