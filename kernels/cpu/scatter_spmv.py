"""Products with one image that go by the numbers of x: each is sent where W wants it.

Row by row of the result, every nonzero of W is touched whatever x holds. Here a zero of x costs a
look at it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from ..base import Array
from ..processor import aligned_empty
from .simd.slices import scatter_row
from .simd.vectors import address
from .threads import serial_loads, splits

# Each thread clears a result of its own, and one adds them up: threads pay from so many times the
# loads from which they do elsewhere.
_THREADS_COST = 3


@dataclass
class Rows:
    """A matrix row after row, with its values in that order."""

    pointers: NDArray[np.int64]
    columns: NDArray[np.uint16]
    values: Array
    #: Which of the operand's values each is.
    order: NDArray[np.int32]
    splits: NDArray[np.int64]
    serial: bool

    @classmethod
    def of(cls, rows: Array, columns: Array, count: int, values: Array) -> Rows:
        """Return the entries at ``rows`` of ``count`` and ``columns``, in any order."""
        order = np.lexsort((columns, rows))
        counts = np.bincount(rows, minlength=count)
        cuts = splits(counts)
        kept = aligned_empty((order.size,), np.uint16)
        kept[...] = columns[order]
        serial = cuts.size == 2 or 2.5 * order.size < _THREADS_COST * serial_loads()
        pointers = np.append(0, np.cumsum(counts))
        return cls(pointers, kept, values[order], order.astype(np.int32), cuts, serial)

    @property
    def nbytes(self) -> int:
        parts = self.pointers, self.columns, self.values, self.order
        return sum(part.nbytes for part in parts)


def spread_product(rows: Rows, x: Array, out: Array) -> Array:
    """Return the sum of rows of W, each times a number of ``x`` (rows, 1), but for zeros."""
    given = rows.pointers, rows.columns, rows.values, x
    if rows.serial:
        _spread(0, x.shape[0], *given, out.reshape(-1))
    else:
        _spread_on_threads(rows.splits, *given, out)
    return out


@numba.njit(cache=True)
def _spread(begin, stop, pointers, columns, values, x, out):  # type: ignore[no-untyped-def]
    """Write x (rows,) times rows ``begin`` to ``stop``, added up, to ``out``."""
    out[:] = 0
    for i in range(begin, stop):
        factor = x[i, 0]
        if factor != 0:
            scatter_row(
                factor, address(values), address(columns), pointers[i], pointers[i + 1],
                address(out),
            )  # fmt: skip


@numba.njit(parallel=True, cache=True)
def _spread_on_threads(splits, pointers, columns, values, x, out):  # type: ignore[no-untyped-def]
    parts = np.empty((splits.size - 1, out.shape[0]), np.float32)
    for part in numba.prange(splits.size - 1):
        begin, stop = splits[part], splits[part + 1]
        _spread(begin, stop, pointers, columns, values, x, parts[part])
    for i in range(out.shape[0]):
        total = parts[0, i]
        for part in range(1, parts.shape[0]):
            total += parts[part, i]
        out[i, 0] = total
