"""What a network computes between its products."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crossover.bench.workloads.training import elementwise
from crossover.bench.workloads.training.elementwise import (
    adam_direction,
    add_bias,
    pass_through_relu,
    sum_columns,
)

#: As another array library is seen: NumPy's operations, by another name.
OTHER: Any = SimpleNamespace(maximum=np.maximum, multiply=np.multiply, sqrt=np.sqrt)
LIBRARIES = pytest.mark.parametrize("xp", [np, OTHER], ids=["compiled", "operations"])
#: One column, one thread's worth, all threads' worth.
SHAPES = pytest.mark.parametrize("shape", [(5, 1), (7, 33), (300, 129)], ids=str)


def _drawn(shape: tuple[int, ...], seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@LIBRARIES
@SHAPES
@pytest.mark.parametrize("rectify", [False, True])
def test_bias_and_relu(xp: Any, shape: tuple[int, int], rectify: bool) -> None:
    y, bias = _drawn(shape), _drawn(shape[:1], 1)
    y[0, 0], y[1, 0], y[2, 0] = np.nan, np.inf, -np.inf
    expected = y + bias[:, None]
    add_bias(y, bias, rectify, xp)
    np.testing.assert_array_equal(y, np.maximum(expected, 0) if rectify else expected)


@LIBRARIES
@SHAPES
def test_gradient_of_relu(xp: Any, shape: tuple[int, int]) -> None:
    gradient, after = _drawn(shape), np.maximum(_drawn(shape, 1), 0)
    expected = np.where(after > 0, gradient, 0)
    pass_through_relu(gradient, after, xp)
    np.testing.assert_array_equal(gradient, expected)


@LIBRARIES
@SHAPES
def test_gradient_of_bias(xp: Any, shape: tuple[int, int]) -> None:
    dy = _drawn(shape)
    expected = dy.sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(sum_columns(dy, xp), expected, rtol=1e-5, atol=1e-5)
    dy[1, 0] = np.nan
    assert np.isnan(sum_columns(dy, xp)).tolist() == [row == 1 for row in range(shape[0])]


@LIBRARIES
@SHAPES
def test_adam(xp: Any, shape: tuple[int, int]) -> None:
    moments = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    first, second = np.zeros(shape), np.zeros(shape)
    for steps in (1, 2, 3):
        gradient = _drawn(shape, steps)
        wide = gradient.astype(np.float64)
        first, second = 0.9 * first + 0.1 * wide, 0.999 * second + 0.001 * wide**2
        expected = first / (1 - 0.9**steps) / (np.sqrt(second / (1 - 0.999**steps)) + 1e-8)
        adam_direction(gradient, moments, steps, xp)
        np.testing.assert_allclose(gradient, expected, rtol=2e-4, atol=1e-6)


def test_arrays_that_are_not_contiguous_are_changed_in_place() -> None:
    whole = _drawn((40, 60))
    part, expected = whole[:, ::2], np.maximum(whole[:, ::2] + 1, 0)
    assert elementwise._compiled(elementwise._add_bias, np, part) is None
    add_bias(part, np.ones(40, np.float32), rectify=True, xp=np)
    np.testing.assert_array_equal(whole[:, ::2], expected)
