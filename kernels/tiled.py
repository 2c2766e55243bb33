"""CSR in vector registers: a tile of the batch stays in them while a row's nonzeros go by.

Technique: Gale et al. 2020 (Sputnik) and Wilkinson et al. 2023 (Sparse Register Tiling), on a CPU:
one weight is broadcast over a tile of the batch. W is cut along k into blocks whose rows of X fit
the first cache; the values are stored once, in that order, with 16-bit indices, and the transposed
product reads them through a permutation. Each thread takes rows with the same number of nonzeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from kernels.base import FP32, Array, Kernel, Weight
from kernels.processor import aligned_empty, cache_sizes
from kernels.simd import TILE, address, dot_rows, sum_rows, sum_rows_permuted

# Rows of X that an index of 16 bits can name.
_MOST_BLOCK = 1 << 16
# Below so many multiply-adds a second thread costs more than it gives.
_SERIAL_WORK = 40_000
# Nonzeros of a row within a block, below which blocks cost more than the first cache gives.
_LEAST_PER_BLOCK = 4


@dataclass(frozen=True)
class Structure:
    """Where the nonzeros of a matrix (rows, columns) are, block of columns after block."""

    #: Columns of a block.
    block: int
    #: (blocks, rows + 1) into ``indices``.
    pointers: NDArray[np.int32]
    #: (nnz,) columns within their block.
    indices: NDArray[np.uint16]
    #: (threads + 1,) rows at which the work of each thread begins.
    splits: NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        """Return the bytes of pointers and indices."""
        return self.pointers.nbytes + self.indices.nbytes


@dataclass
class TiledOperand:
    """Values in the order of the forward structure; the transposed one reads them by ``order``."""

    shape: tuple[int, int]
    values: Array
    forward: Structure
    transposed: Structure
    order: NDArray[np.int32]
    #: (nnz,) places of the values in W, flattened; on the host, for results only.
    places: NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        """Return the bytes that the passes read."""
        structures = self.forward.nbytes + self.transposed.nbytes
        return self.values.nbytes + structures + self.order.nbytes


@numba.njit(parallel=True, cache=True)
def _forward(pointers, indices, values, splits, block, packs, x, out):  # type: ignore[no-untyped-def]
    n = x.shape[1]
    for thread in numba.prange(splits.size - 1):
        panel = np.empty(block * TILE + 16 if packs else 1, np.float32)
        for left in range(0, n, TILE):
            width = min(TILE, n - left)
            for b in range(pointers.shape[0]):
                base, stride = _rows_of(x, panel, b * block, block, left, width, packs)
                for i in range(splits[thread], splits[thread + 1]):
                    start, end = np.int64(pointers[b, i]), np.int64(pointers[b, i + 1])
                    if start < end or b == 0:
                        sum_rows(
                            address(values), np.int64(0), address(indices), start, end, base,
                            stride, address(out) + 4 * (i * n + left), width, b > 0,
                        )  # fmt: skip


@numba.njit(parallel=True, cache=True)
def _transposed(pointers, indices, values, order, splits, block, packs, x, out):  # type: ignore[no-untyped-def]
    n = x.shape[1]
    for thread in numba.prange(splits.size - 1):
        panel = np.empty(block * TILE + 16 if packs else 1, np.float32)
        for left in range(0, n, TILE):
            width = min(TILE, n - left)
            for b in range(pointers.shape[0]):
                base, stride = _rows_of(x, panel, b * block, block, left, width, packs)
                for i in range(splits[thread], splits[thread + 1]):
                    start, end = np.int64(pointers[b, i]), np.int64(pointers[b, i + 1])
                    if start < end or b == 0:
                        sum_rows_permuted(
                            address(values), address(order), address(indices), start, end, base,
                            stride, address(out) + 4 * (i * n + left), width, b > 0,
                        )  # fmt: skip


@numba.njit(parallel=True, cache=True)
def _gradient(pointers, indices, splits, block, packs, dy, x, out):  # type: ignore[no-untyped-def]
    n = x.shape[1]
    for thread in numba.prange(splits.size - 1):
        panel = np.empty(block * TILE + 16 if packs else 1, np.float32)
        for left in range(0, n, TILE):
            width = min(TILE, n - left)
            for b in range(pointers.shape[0]):
                base, stride = _rows_of(x, panel, b * block, block, left, width, packs)
                for i in range(splits[thread], splits[thread + 1]):
                    start, end = np.int64(pointers[b, i]), np.int64(pointers[b, i + 1])
                    if start < end:
                        dot_rows(
                            address(dy) + 4 * (i * n + left), address(indices), start, end, base,
                            stride, address(out), width, left > 0,
                        )  # fmt: skip


@numba.njit(cache=True)
def _rows_of(x, panel, first, block, left, width, packs):  # type: ignore[no-untyped-def]
    """Return (address, stride in bytes) of a tile of rows of X: in place, or packed together."""
    n = x.shape[1]
    if not packs:
        return address(x) + 4 * (first * n + left), np.int64(4 * n)
    skipped = (-address(panel) % 64) // 4
    for j in range(min(block, x.shape[0] - first)):
        begin = skipped + j * TILE
        for c in range(width):
            panel[begin + c] = x[first + j, left + c]
    return address(panel) + 4 * skipped, np.int64(4 * TILE)


class NumbaTiled(Kernel):
    """Register-tiled CSR on the CPU."""

    name = "numba-tiled"
    title = "Numba CSR in registers"
    device = "cpu"
    format = "csr"
    arithmetic = {"float32": FP32}  # noqa: RUF012 - declared so by the contract
    source = "register tiling: Gale et al. 2020, Wilkinson et al. 2023; LLVM through numba"

    def prepare(self, weight: Weight) -> TiledOperand:
        """Return W cut along k, and its transposed structure cut along m."""
        rows, columns = np.nonzero(weight.pattern)
        m, k = weight.shape
        forward, by_block = _structure(rows, columns, m, k)
        transposed, by_column = _structure(columns, rows, k, m)
        place_of = np.empty(rows.size, np.int32)
        place_of[by_block] = np.arange(rows.size, dtype=np.int32)
        places = rows[by_block] * k + columns[by_block]
        values = aligned_empty((rows.size,), weight.values.dtype)
        values[...] = weight.values.ravel()[places]
        return TiledOperand(
            weight.shape, values, forward, transposed, place_of[by_column], places
        )

    def forward(self, operand: TiledOperand, x: Any, out: Any) -> Any:
        """Return ``W x``."""
        s = operand.forward
        splits, packs = _threads(s, x.shape[1]), _packs(s, x.shape[1])
        _forward(s.pointers, s.indices, operand.values, splits, s.block, packs, x, out)
        return out

    def backward_input(self, operand: TiledOperand, dy: Any, out: Any) -> Any:
        """Return ``Wᵀ dy``."""
        s = operand.transposed
        splits, packs = _threads(s, dy.shape[1]), _packs(s, dy.shape[1])
        _transposed(
            s.pointers, s.indices, operand.values, operand.order, splits, s.block, packs, dy, out
        )
        return out

    def backward_weight(self, operand: TiledOperand, dy: Any, x: Any, out: Any) -> Any:
        """Return ``dy xᵀ`` at the nonzeros (nnz,), in the order of the values."""
        s = operand.forward
        splits, packs = _threads(s, x.shape[1]), _packs(s, x.shape[1])
        _gradient(s.pointers, s.indices, splits, s.block, packs, dy, x, out)
        return out

    def update(self, operand: TiledOperand, step: Any, rate: float) -> None:
        """Subtract ``rate * step`` from the values."""
        operand.values -= operand.values.dtype.type(rate) * step

    def gradient_shape(self, operand: TiledOperand) -> tuple[int, ...]:
        """Return (nnz,)."""
        return (operand.values.size,)

    def dense_weight(self, operand: TiledOperand) -> Array:
        """Return W, scattered."""
        return self.dense_gradient(operand, operand.values)

    def dense_gradient(self, operand: TiledOperand, gradient: Any) -> Array:
        """Return the gradient, scattered."""
        dense = np.zeros(operand.shape[0] * operand.shape[1], gradient.dtype)
        dense[operand.places] = gradient
        return dense.reshape(operand.shape)


def _structure(
    rows: NDArray[np.int64], columns: NDArray[np.int64], height: int, width: int
) -> tuple[Structure, NDArray[np.int64]]:
    """Return the structure of nonzeros of a matrix (height, width), and their order in it."""
    block = _block(rows.size, height, width)
    blocks = max(1, -(-width // block))
    cell = (columns // block) * height + rows
    order = np.lexsort((columns, cell))
    pointers = np.zeros((blocks, height + 1), np.int32)
    counts = np.bincount(cell, minlength=blocks * height).reshape(blocks, height)
    pointers.ravel()[1:] = np.cumsum(np.append(counts, np.zeros((blocks, 1), int), axis=1))[:-1]
    indices = aligned_empty((rows.size,), np.uint16)
    indices[...] = (columns % block)[order]
    return Structure(block, pointers, indices, _splits(counts.sum(axis=0))), order


def _block(nnz: int, height: int, width: int) -> int:
    """Return how many columns a block has: as many as fit the first cache, or all."""
    fitting = max(16, cache_sizes().get("L1", 1 << 15) // 2 // (4 * TILE))
    per_block = nnz / max(1, height * width) * fitting
    if per_block >= _LEAST_PER_BLOCK and width > fitting:
        return fitting
    return min(_MOST_BLOCK, max(1, width))


def _splits(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows at which to cut for equal numbers of nonzeros on each thread."""
    threads = numba.get_num_threads()
    # A row costs something even where it is empty.
    work = np.cumsum(np.append(0, counts + 2))
    wanted = work[-1] * np.arange(1, threads) / threads
    return np.concatenate([[0], np.searchsorted(work, wanted), [counts.size]]).astype(np.int64)


def _threads(structure: Structure, n: int) -> NDArray[np.int64]:
    """Return the splits to use: one part where threads cost more than they give."""
    if structure.indices.size * n < _SERIAL_WORK:
        return structure.splits[[0, -1]]
    return structure.splits


def _packs(structure: Structure, n: int) -> bool:
    """Return whether tiles of X are packed: where rows would fall on the same sets of the cache."""
    return structure.pointers.shape[0] > 1 and n > TILE
