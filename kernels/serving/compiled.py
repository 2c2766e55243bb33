"""A whole network in one compiled call: each thread takes inputs of its own through all layers.

Nothing crosses from core to core, no thread waits for another between layers, and Python is asked
once. A thread goes on with a tile of inputs at a time, so that activations stay in its caches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ..base import Array
from ..cpu.numba_dense import forward_rows
from ..cpu.numba_sell import multiply_part
from ..cpu.simd.vectors import TILE, address
from ..cpu.tiled_loops import LOOP, call_sum
from .glue import finish_part, finish_turned_part, turn_part

#: What multiplies a layer, by its kernel; nothing does where the glue alone is measured.
KINDS: Mapping[str, int] = {"numba-tiled": 0, "numba-dense": 1, "numba-sell": 2, "nothing": 3}
_TILED, _DENSE, _SELL, _NOTHING = KINDS.values()
_LEAST_INPUTS = 16
# What a layer's line of the table holds, in int64.
_KIND, _ROWS, _COLUMNS, _RELU, _BIAS, _PARTS, _PLAN = range(7)
_PLAN_SIZE = 8
_STARTS = _PLAN + _PLAN_SIZE


def parts_of(n: int, threads: int) -> int:
    """Return how many threads share a batch: each gets inputs enough to fill a vector."""
    return max(1, min(threads, n // _LEAST_INPUTS))


def inputs_of_a_thread(n: int, threads: int) -> int:
    """Return how many inputs a thread takes through the layers together."""
    return min(TILE, -(-n // parts_of(n, threads)))


def line(kernel: str, operand: Any, bias: Array, relu: bool, inputs: int, n: int) -> list[int]:
    """Return a layer as a line of the table, for batches of ``n`` a thread.

    It holds addresses: the arrays must outlive it.
    """
    head = [KINDS[kernel], bias.size, inputs, int(relu), bias.ctypes.data]
    if kernel == "numba-tiled":
        return [*head, 0, *operand.layout(False, min(n, TILE)).alone.tolist()]
    if kernel == "numba-dense":
        return [*head, 0, operand.values.ctypes.data, operand.values.shape[1],
                operand.values.shape[0]]  # fmt: skip
    if kernel == "numba-sell":
        parts = operand.starts.shape[1] - 1
        return [*head, parts, *operand.plan, *operand.starts.ravel().tolist()]
    return [*head, 0]


def table(lines: list[list[int]]) -> NDArray[np.int64]:
    """Return the lines as an array, filled up with zeros."""
    width = max(_STARTS, *(len(each) for each in lines))
    return np.array([each + [0] * (width - len(each)) for each in lines], np.int64)


def scratch_floats(widths: list[int], n: int) -> int:
    """Return how many floats a thread needs for activations of so many values, ``n`` at a time."""
    lines = -(-max(widths) * min(n, TILE) // 16) * 16
    return 2 * lines


@numba.njit(cache=True)
def _product(layer, x, out):  # type: ignore[no-untyped-def]
    """Write W x (m, n) of ``layer``, a line of the table."""
    kind = layer[_KIND]
    if kind == _TILED:
        place, (inputs, n) = address(layer) + 8 * _PLAN, x.shape
        call_sum(layer[_PLAN + LOOP], place, 0, 0, address(x), inputs, n, address(out))
    elif kind == _DENSE:
        across, down = layer[_PLAN + 1], layer[_PLAN + 2]
        forward_rows(layer[_PLAN], across, np.int64(0), down, x, out)
    elif kind == _SELL:
        parts = layer[_PARTS]
        slices = (
            layer[_PLAN], layer[_PLAN + 1], layer[_PLAN + 2], layer[_PLAN + 3],
            layer[_PLAN + 4], layer[_PLAN + 5], layer[_PLAN + 6], layer[_PLAN + 7],
        )  # fmt: skip
        starts = layer[_STARTS : _STARTS + 3 * (parts + 1)].reshape(3, parts + 1)
        for part in range(parts):
            multiply_part(slices, starts, part, x, out)


@numba.njit(cache=True)
def _run_part(x, out, begin, stop, layers, room):  # type: ignore[no-untyped-def]
    """Write the outputs of inputs ``begin`` to ``stop``."""
    half = room.size // 2
    last = layers.shape[0] - 1
    for first in range(begin, stop, TILE):
        n = min(TILE, stop - first)
        inputs = layers[0, _COLUMNS]
        here, there = room[:half], room[half:]
        if n == 1:
            activation = x[first].reshape(inputs, 1)
        else:
            activation = here[: inputs * n].reshape(inputs, n)
            turn_part(x[first : first + n], activation, 0, inputs)
            here, there = there, here
        for index in range(last + 1):
            layer = layers[index]
            rows = layer[_ROWS]
            result = here[: rows * n].reshape(rows, n)
            _product(layer, activation, result)
            bias, relu = layer[_BIAS], layer[_RELU] != 0
            if index < last:
                finish_part(result, bias, relu, 0, rows)
                activation = result
                here, there = there, here
            else:
                finish_turned_part(result, bias, relu, out[first : first + n])


@numba.njit(cache=True, nogil=True)
def run_alone(x, out, layers, room):  # type: ignore[no-untyped-def]
    """Write the outputs (n, outputs) of ``x`` (n, inputs), on one thread."""
    _run_part(x, out, np.int64(0), np.int64(x.shape[0]), layers, room[0])


@numba.njit(cache=True, parallel=True, nogil=True)
def run_on_threads(x, out, layers, room):  # type: ignore[no-untyped-def]
    """Write the outputs (n, outputs) of ``x`` (n, inputs), on a thread a line of ``room``."""
    n, parts = np.int64(x.shape[0]), np.int64(room.shape[0])
    for part in numba.prange(parts):
        begin, stop = np.int64(part) * n // parts, (np.int64(part) + 1) * n // parts
        _run_part(x, out, begin, stop, layers, room[part])
