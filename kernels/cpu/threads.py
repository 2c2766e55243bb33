"""What the vector kernels share: the layout of their arrays, and how work is cut for threads."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numba
import numpy as np
from numba.core import types
from numba.extending import overload
from numpy.typing import NDArray

from ..base import Array, Choice
from .simd.panels import copy_rows
from .simd.vectors import LANES, TILE, address
from .tuning import chosen, shortest_s

# Loads, roughly a cycle each, below which a second thread costs more than it gives: 4 µs.
_SERIAL_LOADS = 1 << 14
# What a busy machine seems to take to wake a thread must not keep all later runs on one.
_MOST_SERIAL_LOADS = 1 << 20
# NumPy compares a type with an instance faster than with the class.
_FLOAT32 = np.dtype(np.float32)
_TRIES = 3
_CACHED = 1 << 12  # numbers that lie in the first cache
# Reads of a row of X by a thread, below which packing costs more than it gives.
_LEAST_READS = 3


@dataclass(frozen=True)
class ThreadedStructure(ABC):
    """Where the entries of a matrix (rows, columns) are, row after row, cut for threads."""

    shape: tuple[int, int]
    #: Into ``indices``: where rows begin.
    pointers: NDArray[np.int32]
    #: Columns.
    indices: NDArray[np.uint16]
    #: (threads + 1,) rows at which the work of each thread begins.
    splits: NDArray[np.int64]
    #: Loads below which threads cost more than they give.
    serial_loads: int

    @property
    def nbytes(self) -> int:
        return self.pointers.nbytes + self.indices.nbytes

    @abstractmethod
    def loads(self, n: int) -> int:
        """Return about how many cycles a product takes."""

    @abstractmethod
    def reads(self) -> float:
        """Return how often a thread reads each row of X."""

    def serial(self, n: int) -> bool:
        """Return whether threads cost more than they give."""
        return self.splits.size == 2 or self.loads(n) < self.serial_loads

    def packs(self, n: int) -> bool:
        """Return whether tiles of X are packed: where each row is read often enough to pay."""
        return n > TILE and self.reads() >= _LEAST_READS

    def explain_packing(self, n: int) -> Choice:
        """Return whether tiles of X are packed, and why."""
        return Choice(
            "tiles of X packed",
            "yes" if self.packs(n) else "no",
            f"batch {n}; a thread reads a row {self.reads():.1f} times: packing pays beyond {TILE} "
            f"columns and from {_LEAST_READS} reads",
        )


def check_layout(*arrays: Array) -> None:
    """Raise if an array is not laid out as the loops read it.

    Raises:
        ValueError: if it is not fp32 in C order.
    """
    for array in arrays:
        if not array.flags.c_contiguous or array.dtype != _FLOAT32:
            raise ValueError(
                f"array of dtype {array.dtype} with strides {array.strides}: must be float32 in C "
                "order (numpy.ascontiguousarray)"
            )


def require_layout(array: Array) -> None:
    """Raise if an array is not laid out as the loops read it; for compiled code, where it is free.

    Raises:
        ValueError: if it is not fp32 in C order.
    """
    check_layout(array)


@overload(require_layout)
def _require_layout(array):  # type: ignore[no-untyped-def]
    # Decided when a function is compiled for the types that it is called with.
    laid_out = array.dtype == types.float32 and array.layout == "C"

    def check(array):  # type: ignore[no-untyped-def]
        if not laid_out:
            raise ValueError("array must be float32 in C order (numpy.ascontiguousarray)")

    return check


def serial_loads() -> int:
    """Return below how many loads threads cost more than they give; measured once."""
    threads = numba.get_num_threads()
    return chosen("serial_loads", _SERIAL_LOADS, _measured_serial_loads, threads)


def explain_threads(loads: int, below: int, cuts: NDArray[np.int64], work: Array) -> Choice:
    """Return why a product of so many ``loads`` is cut at ``cuts`` or done by one thread."""
    threads = cuts.size - 1
    if threads == 1 or loads < below:
        why = f"{loads:,} loads; a second thread pays from {below:,}" if threads > 1 else "all"
        return Choice("threads", "1", why)
    sums = np.add.reduceat(np.append(work, 0), np.minimum(cuts[:-1], work.size))
    most = sums.max() / max(1.0, sums.mean())
    why = f"{loads:,} loads, of at least {below:,}; the busiest has {most:.2f} of the mean"
    return Choice("threads", f"{threads}", why)


def explain_vectors(tile: int) -> Choice:
    """Return how wide vectors are, and how much of a row of X stays in registers."""
    vectors = tile // LANES
    return Choice(
        "vectors",
        f"{vectors} of {LANES} fp32",
        f"the processor has registers of {32 * LANES} bits; a tile is {tile} columns of X",
    )


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
def rows_of(x, panel, first, count, left, width, apart):  # type: ignore[no-untyped-def]
    """Return (address of row ``first``, stride in bytes) of a tile of rows of X.

    In place where ``apart`` is 0, else packed: so many floats apart, as many as a tile has. Only
    ``count`` rows are there to be read.
    """
    there = np.int64(min(count, x.shape[0] - first))
    source = address(x) + 4 * (first * x.shape[1] + left)
    return tile_of(source, np.int64(4 * x.shape[1]), panel, there, width, apart)


@numba.njit(cache=True)
def tile_of(source, stride, panel, count, width, apart):  # type: ignore[no-untyped-def]
    """Return (address, stride in bytes) of ``count`` rows at an address; ``apart`` as above."""
    if not apart:
        return source, stride
    start = (address(panel) + 63) // 64 * 64
    copy_rows(source, stride, count, start, np.int64(4 * apart), np.int64(width))
    return start, np.int64(4 * apart)


@numba.njit(cache=True)
def room_for(rows, apart):  # type: ignore[no-untyped-def]
    """Return room for a tile of so many rows, ``apart`` as in ``rows_of``."""
    return np.empty(rows * apart + 16 if apart else 0, np.float32)


def _measured_serial_loads(threads: int) -> int:
    """Return how many loads one thread does while ``threads`` are woken and waited for.

    As a power of two: runs on a machine should agree. A busy moment lengthens what it meets: of
    each part the least of several tries counts, apart from each other in time.
    """
    if threads == 1:
        return _SERIAL_LOADS
    numbers, parts = np.ones(_CACHED, np.float32), np.zeros(threads, np.float32)
    tries = [
        (
            shortest_s(lambda: _on_threads(numbers[:0], parts)),
            shortest_s(lambda: _sum_strided(numbers[:0])),
            shortest_s(lambda: _sum_strided(numbers)),
        )
        for _ in range(_TRIES)
    ]
    woken, alone, summed = map(min, zip(*tries, strict=True))
    saved = (summed - alone) / _CACHED * (1 - 1 / threads)
    loads = 1 << round(math.log2(max(1.0, (woken - alone) / max(saved, 1e-12))))
    return min(loads, _MOST_SERIAL_LOADS)


@numba.njit(cache=True)
def _sum_strided(numbers):  # type: ignore[no-untyped-def]
    """Return the sum, a load after the other: four chains keep the additions from waiting."""
    a = b = c = d = np.float32(0)
    for i in range(0, numbers.size, 4):
        a += numbers[i]
        b += numbers[i + 1]
        c += numbers[i + 2]
        d += numbers[i + 3]
    return a + b + c + d


@numba.njit(parallel=True, cache=True)
def _on_threads(numbers, parts):  # type: ignore[no-untyped-def]
    for part in numba.prange(parts.size):
        parts[part] = _sum_strided(numbers)
