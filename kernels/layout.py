"""What the vector kernels share: the layout of their arrays, and how work is cut for threads."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from kernels.base import Array

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
