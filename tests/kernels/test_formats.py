"""Conversions give back every bit."""

from __future__ import annotations

import numpy as np
import pytest

from crossover.kernels import formats
from crossover.kernels.base import Weight
from crossover.kernels.cuda import device
from tests.kernels.problems import SHAPES, Shape, draw

CONVERSIONS = {"csr": formats.to_csr, "csc": formats.to_csc, "bsr": formats.to_bsr}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("name", CONVERSIONS)
def test_round_trip_is_exact(name: str, shape: Shape, dtype: type) -> None:
    weight = _with_awkward_values(draw(shape, dtype).weight)
    back = formats.from_sparse(CONVERSIONS[name](weight))
    assert back.values.tobytes() == weight.values.tobytes()
    if name != "bsr":  # a block stores its zeros too
        np.testing.assert_array_equal(back.pattern, weight.pattern)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_bytes_are_those_of_the_conversion(shape: Shape) -> None:
    weight = draw(shape).weight
    counted = formats.bytes_by_format(weight)
    assert counted["dense"] == weight.values.nbytes
    for name, convert in CONVERSIONS.items():
        assert counted[name] == formats.sparse_bytes(convert(weight)), name


def test_blocks_are_chosen_only_where_they_are_full() -> None:
    blocks = next(shape for shape in SHAPES if shape.name == "blocks")
    assert formats.block_shape(draw(blocks).weight) == (4, 4)
    assert formats.block_shape(draw(Shape("scattered", 32, 48, 4, 0.2)).weight) == (1, 1)


def test_a_block_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="does not divide 7 x 13"):
        formats.to_bsr(draw(Shape("odd", 7, 13, 5, 0.4)).weight, (2, 2))


def test_transposed_structure_points_at_the_same_values() -> None:
    weight = draw(Shape("any", 9, 14, 1, 0.4)).weight
    matrix = formats.to_csr(weight)
    pointers, rows, order = formats.transposed_structure(matrix)
    columns = np.repeat(np.arange(14), np.diff(pointers))
    np.testing.assert_array_equal(matrix.data[order], weight.values[rows, columns])


@pytest.mark.parametrize(
    ("values", "pattern", "message"),
    [
        (np.ones((2, 3), np.float32), np.ones((3, 2), bool), "same"),
        (np.ones((2, 2), np.int32), np.ones((2, 2), bool), "floating"),
        (np.ones((2, 2), np.float32), np.zeros((2, 2), bool), "outside its pattern"),
    ],
)
def test_an_impossible_weight_is_refused(
    values: np.ndarray, pattern: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Weight(values, pattern)


def test_host_to_device_and_back_is_exact() -> None:
    if reason := device.cupy_unavailable():
        pytest.skip(f"not run: {reason}")
    from crossover.kernels.cuda.cupy_sparse import CupyCsc, CupyCsr

    weight = _with_awkward_values(draw(SHAPES[5]).weight)
    for kernel in (CupyCsr(), CupyCsc()):
        operand = kernel.prepare(weight)
        assert kernel.dense_weight(operand).tobytes() == weight.values.tobytes()


def _with_awkward_values(weight: Weight) -> Weight:
    """Return ``weight`` with a negative zero, NaN, infinity and subnormal, if it has room."""
    values = weight.values.copy()
    places = np.argwhere(weight.pattern)
    awkward = (-0.0, np.nan, np.inf, np.finfo(values.dtype).smallest_subnormal, 0.0)
    for place, value in zip(places, awkward, strict=False):
        values[tuple(place)] = value
    return Weight(values, weight.pattern)
