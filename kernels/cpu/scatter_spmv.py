"""Products with one image that go by the numbers of x: each is sent where W wants it.

Row by row of the result, every nonzero of W is touched whatever x holds. Here a zero of x costs a
look at it, and the values of W come one after the other where the transposed structure would pick
them.
"""

from __future__ import annotations

import numba
import numpy as np

from ..base import Array
from .simd.entries import scatter_row, scatter_row_permuted
from .simd.vectors import address, number_at
from .tiled_csr import Structure

# Each thread clears a result of its own, and one adds them up: threads pay from so many times the
# loads from which they do elsewhere.
_THREADS_COST = 3


def spread_product(
    structure: Structure, plan: tuple[int, ...], skips: bool, x: Array, out: Array
) -> Array:
    """Return the sum of W's rows, each times a number of ``x`` (rows, 1).

    With ``skips`` rows whose number is zero are left out.
    """
    if structure.threads == 1 or structure.loads(1) < _THREADS_COST * structure.serial_loads:
        _spread(plan, 0, structure.shape[0], skips, x, out.reshape(-1))
    else:
        _spread_on_threads(plan, structure.splits, skips, x, out)
    return out


@numba.njit(cache=True)
def _spread(plan, begin, stop, skips, x, out):  # type: ignore[no-untyped-def]
    """Write x (rows,) times rows ``begin`` to ``stop``, added up, to ``out``."""
    values, order, indices, pointers, rows, blocks = plan
    out[:] = 0
    for i in range(begin, stop):
        factor = x[i, 0]
        if skips and factor == 0:
            continue
        start, end = number_at(pointers, i), number_at(pointers, blocks * rows + i)
        if order:
            scatter_row_permuted(factor, values, order, indices, start, end, address(out))
        else:
            scatter_row(factor, values, order, indices, start, end, address(out))


@numba.njit(parallel=True, cache=True)
def _spread_on_threads(plan, splits, skips, x, out):  # type: ignore[no-untyped-def]
    parts = np.empty((splits.size - 1, out.shape[0]), np.float32)
    for part in numba.prange(splits.size - 1):
        _spread(plan, splits[part], splits[part + 1], skips, x, parts[part])
    for i in range(out.shape[0]):
        total = parts[0, i]
        for part in range(1, parts.shape[0]):
            total += parts[part, i]
        out[i, 0] = total
