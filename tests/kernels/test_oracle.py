"""The oracle: it finds planted faults, in all rows or in those it looks at."""

from __future__ import annotations

import numpy as np
import pytest

from crossover.kernels.base import FP32, PASSES, Pass
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
def test_an_oracle_of_some_rows_finds_faults_in_them_and_nan_anywhere(pass_: Pass) -> None:
    drawn = draw(Shape("any", 40, 60, 9, 0.4), salt=pass_)
    kernel = NumpyDense()
    operand = kernel.prepare(drawn.weight)
    right = compute(kernel, operand, pass_, drawn.x, drawn.dy, drawn.weight)
    oracle = Oracle(drawn.weight, drawn.x, drawn.dy, rows=12)
    assert oracle.check(pass_, right, FP32).right
    assert not oracle.check(pass_, right * np.float32(1.001), FP32).right
    assert not oracle.check(pass_, right[:-1], FP32).right
    found = 0
    for row in range(len(right)):
        shifted = right.copy()
        shifted[row] += 1
        found += not oracle.check(pass_, shifted, FP32).right
        shifted[row] = np.nan
        assert not oracle.check(pass_, shifted, FP32).right
    assert found == 12
