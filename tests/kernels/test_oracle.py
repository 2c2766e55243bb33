"""The oracle: it finds planted faults, where it looks at all of a result and where it cannot."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from crossover.kernels import oracle as oracle_module
from crossover.kernels.base import FP32, PASSES, Arithmetic, Pass, Weight
from crossover.kernels.cpu.numpy_dense import NumpyDense
from crossover.kernels.oracle import Oracle
from tests.kernels.problems import Drawn, Shape, draw
from tests.kernels.test_contract import SMALL, compute


@pytest.mark.parametrize("fault", ["dropped", "unwritten", "shifted"])
def test_a_planted_fault_is_caught(fault: str) -> None:
    drawn: Drawn = draw(SMALL, salt=fault)
    right = drawn.weight.values @ drawn.x
    oracle = Oracle(drawn.weight, drawn.x, drawn.dy)
    assert oracle.check("forward", right, FP32).right
    wrong = right.copy()
    row, column = np.argwhere(drawn.weight.pattern)[0]
    if fault == "dropped":
        wrong[row] -= drawn.weight.values[row, column] * drawn.x[column]
    elif fault == "unwritten":
        wrong[row, 0] = np.nan
    else:
        wrong = np.roll(wrong, 1, axis=1)
    verdict = oracle.check("forward", wrong, FP32)
    assert not verdict.right
    assert verdict.problem


@pytest.mark.parametrize("pass_", PASSES)
def test_an_oracle_of_some_rows_finds_faults_in_all(pass_: Pass) -> None:
    drawn = draw(Shape("any", 40, 60, 9, 0.4), salt=pass_)
    kernel = NumpyDense()
    operand = kernel.prepare(drawn.weight)
    right = compute(kernel, operand, pass_, drawn.x, drawn.dy, drawn.weight)
    oracle = Oracle(drawn.weight, drawn.x, drawn.dy, rows=1)
    assert oracle.check(pass_, right, FP32).right
    assert not oracle.check(pass_, right * np.float32(1.001), FP32).right
    assert not oracle.check(pass_, right[:-1], FP32).right
    for row in range(len(right)):
        shifted = right.copy()
        shifted[row] += 1
        assert not oracle.check(pass_, shifted, FP32).right
        shifted[row] = np.nan
        assert not oracle.check(pass_, shifted, FP32).right


def test_the_rows_at_the_edges_of_tiles_are_looked_at() -> None:
    drawn = draw(Shape("any", 150, 60, 9, 0.4), salt="edges")
    right = drawn.weight.values @ drawn.x
    oracle = Oracle(drawn.weight, drawn.x, drawn.dy, rows=1, seed=3)

    def seen(row: int, other: int) -> bool:
        wrong = right.copy()
        wrong[row] += 1
        wrong[other] -= 1  # the sums of the columns tell nothing
        return not oracle.check("forward", wrong, FP32).right

    for edge in (0, 7, 8, 9, 31, 32, 33, 63, 64, 65, 127, 128, 129, 143, 144, 145, 149):
        assert seen(edge, (edge + 1) % 150)
    assert not all(seen(row, row + 1) for row in range(80, 120))


def test_many_entries_of_a_large_gradient_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle_module, "_ENTRIES", 200)
    drawn = draw(Shape("any", 300, 60, 9, 0.4), salt="entries")
    right = np.where(drawn.weight.pattern, drawn.dy @ drawn.x.T, 0)
    oracle = Oracle(drawn.weight, drawn.x, drawn.dy, rows=1)
    assert oracle.check("backward_weight", right, FP32).right
    wrong = right.copy()
    wrong[100:120] *= 2
    assert not oracle.check("backward_weight", wrong, FP32).right


@pytest.mark.parametrize("pass_", ["forward", "backward_input"])
def test_the_bound_is_that_of_the_nonzeros(pass_: Pass) -> None:
    m, k, n = 3, 4000, 5
    values = np.zeros((m, k) if pass_ == "forward" else (k, m), np.float32)
    values.flat[:: k + 1] = 1.7
    weight = Weight.from_dense(values if pass_ == "forward" else values.reshape(k, m))
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((rows, n)).astype(np.float32) for rows in weight.shape[::-1])
    left, right = (values, x) if pass_ == "forward" else (values.T, dy)
    result = (left @ right).astype(np.float32)
    oracle = Oracle(weight, x, dy)
    assert oracle.check(pass_, result, FP32).right  # multiplied all the zeros, too
    # Less than k products may be off by, more than those of the few nonzeros.
    assert not oracle.check(pass_, result * np.float32(1 + 200 * 2.0**-24), FP32).right


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("pass_", PASSES)
def test_what_was_scaled_is_held_against_its_factors(pass_: Pass, rows: int) -> None:
    drawn = draw(Shape("any", 40, 60, 9, 0.4), salt=pass_)
    kernel = NumpyDense()
    operand = kernel.prepare(drawn.weight)
    x, dy = drawn.x.copy(), drawn.dy.copy()
    by_row: NDArray[np.float64] | None = None
    if pass_ == "backward_weight":
        by_row, by_column = np.linspace(1, 2, 40), np.linspace(1, 2, 60)
        dy, x = dy * by_row[:, None].astype(np.float32), x * by_column[:, None].astype(np.float32)
    else:
        by_column = np.array([1, 1.25, 1.5, 1.75, 2, 1, 1.25, 1.5, 1.75])
        x, dy = x * by_column.astype(np.float32), dy * by_column.astype(np.float32)
    scaled = compute(kernel, operand, pass_, x, dy, drawn.weight)
    loose = Arithmetic("of rounded factors", 2.0**-23, 2.0**-24)
    oracle = Oracle(drawn.weight, drawn.x, drawn.dy, rows)
    assert oracle.check(pass_, scaled, loose, (by_row, by_column)).right
    assert not oracle.check(pass_, scaled, loose).right


@pytest.mark.parametrize("pass_", ["forward", "backward_input"])
def test_the_sums_of_columns_tell_a_row_that_was_left_out(pass_: Pass) -> None:
    drawn = draw(Shape("any", 40, 60, 9, 0.4), salt=pass_)
    kernel = NumpyDense()
    operand = kernel.prepare(drawn.weight)
    right = compute(kernel, operand, pass_, drawn.x, drawn.dy, drawn.weight)
    oracle = Oracle(drawn.weight, drawn.x, drawn.dy)
    assert oracle.check_sums(pass_, right.sum(axis=0), FP32) is None
    for row, lost in ((7, 0.0), (39, np.nan)):
        wrong = right.copy()
        wrong[row] = lost
        assert oracle.check_sums(pass_, wrong.sum(axis=0), FP32) is not None
