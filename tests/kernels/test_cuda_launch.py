"""What a kernel of Numba's is launched with: arrays by their fields, scalars as they are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crossover.kernels.cuda.numba import arrays


class DeviceArray:
    """A NumPy array that tells its address as CuPy's do."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.data = SimpleNamespace(ptr=array.ctypes.data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.array, name)


def launched(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> tuple[Any, list[Any]]:
    """The kinds that a kernel is compiled for, and the parameters that it is launched with."""
    found: list[Any] = []

    def function(kernel: object, kinds: object) -> Any:
        found.append(kinds)
        return lambda grid, block, parameters: found.append((grid, block, parameters))

    monkeypatch.setattr(arrays, "simulated", lambda: False)
    monkeypatch.setattr(arrays, "_function", function)
    arrays.launch(object(), (3, 2), (32,), *arguments)
    kinds, (grid, block, parameters) = found
    assert (grid, block) == ((3, 2), (32,))
    return kinds, parameters


def test_an_array_is_its_fields_and_a_scalar_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = DeviceArray(np.zeros((3, 5), np.float32))
    indices, rate = DeviceArray(np.zeros(7, np.int32)), np.float32(0.5)
    kinds, parameters = launched(monkeypatch, matrix, indices, rate, 4)
    assert kinds == (("f", 2), ("i", 1), ("f", -1), ("q", -1))
    # As Numba lays out an array: nothing, nothing, entries, bytes of one, address, shape, strides.
    assert parameters[:9] == [0, 0, 15, 4, matrix.data.ptr, 3, 5, 20, 4]
    assert parameters[9:16] == [0, 0, 7, 4, indices.data.ptr, 7, 4]
    assert parameters[16:] == [rate, 4]
    assert isinstance(parameters[16], np.float32)


def test_an_array_in_another_order_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="not C order"):
        launched(monkeypatch, DeviceArray(np.zeros((3, 5), np.float32).T))
