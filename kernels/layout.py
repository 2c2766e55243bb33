"""What the vector kernels share: the layout of their arrays, and how work is cut for threads."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from kernels.base import Array
from kernels.simd.rows import copy_rows
from kernels.simd.vectors import TILE, address

# Below so many loads, roughly a cycle each, a second thread costs more than it gives: 4 µs.
_SERIAL_LOADS = 12_000


def check_layout(*arrays: Array) -> None:
    """Raise if an array is not laid out as the loops read it.

    Raises:
        ValueError: if it is not fp32 in C order.
    """
    for array in arrays:
        if not array.flags.c_contiguous or array.dtype != np.float32:
            raise ValueError(
                f"array of dtype {array.dtype} with strides {array.strides}: must be float32 in C "
                "order (numpy.ascontiguousarray)"
            )


def serial(loads: float, threads: int) -> bool:
    """Return whether ``threads`` cost more than they give for so many loads."""
    return threads == 1 or loads < _SERIAL_LOADS


def splits(work: NDArray[np.int64], serially: bool = False) -> NDArray[np.int64]:
    """Return (threads + 1,): where to cut pieces of ``work`` for equal sums on each thread.

    There is one thread where all the work is to be done ``serially``.
    """
    threads = 1 if serially else numba.get_num_threads()
    # A piece costs something even where it holds nothing.
    sums = np.cumsum(np.append(0, work + 2))
    wanted = sums[-1] * np.arange(1, threads) / threads
    return np.concatenate([[0], np.searchsorted(sums, wanted), [work.size]]).astype(np.int64)


@numba.njit(cache=True)
def rows_of(x, panel, first, count, left, width, packs):  # type: ignore[no-untyped-def]
    """Return (address of row 0, stride in bytes) of a tile of rows of X, in place or packed.

    Only ``count`` rows from ``first`` on are there to be read.
    """
    n = x.shape[1]
    if not packs:
        return address(x) + 4 * left, np.int64(4 * n)
    start = (address(panel) + 63) // 64 * 64
    there = np.int64(min(count, x.shape[0] - first))
    copy_rows(address(x) + 4 * (first * n + left), np.int64(4 * n), there, start, np.int64(width))
    return start - 4 * first * TILE, np.int64(4 * TILE)
