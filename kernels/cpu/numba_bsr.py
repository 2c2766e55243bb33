"""BSR in vector registers, for weights pruned in blocks of 4 x 4 or of a multiple of that.

Each row of X that is loaded serves the four rows of a block, so multiply-adds bound the product
where in CSR loads do. A pattern without blocks is computed rightly, with zeros stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ..base import ONLY_FP32, Array, Choice, Look, Pass, Problem, Weight
from ..processor import aligned_empty
from ..sparse import SparseKernel
from .simd.blocks import (
    BLOCK_TILE,
    BLOCKS_AHEAD,
    SIDE,
    dot_blocks,
    sum_blocks,
    sum_blocks_transposed,
)
from .simd.vectors import LANES, address
from .threads import (
    ThreadedStructure,
    check_layout,
    explain_threads,
    explain_vectors,
    room_for,
    rows_of,
    serial_loads,
    splits,
)

_MOST_BLOCKS = 1 << 16


@dataclass(frozen=True)
class BlockStructure(ThreadedStructure):
    """Where blocks are: rows and columns are counted in blocks, but for ``shape``."""

    @classmethod
    def of(cls, stored: NDArray[np.bool_], shape: tuple[int, int]) -> BlockStructure:
        """Return the structure of the ``stored`` (block rows, block columns) of a matrix."""
        counts = stored.sum(axis=1)
        pointers = np.append(0, np.cumsum(counts)).astype(np.int32)
        return cls(
            shape,
            pointers,
            np.nonzero(stored)[1].astype(np.uint16),
            splits(counts),
            serial_loads(),
        )

    def loads(self, n: int) -> int:
        # Multiply-adds, a cycle each.
        return int(self.indices.size * SIDE * SIDE * -(-n // LANES))

    def reads(self) -> float:
        return SIDE * self.indices.size / max(1, self.shape[1] * (self.splits.size - 1))


@dataclass
class BlockOperand:
    """Blocks in the order of the forward structure; the transposed one reads them by ``order``."""

    shape: tuple[int, int]
    #: (blocks, 4, 4), zero where W stores nothing.
    values: Array
    forward: BlockStructure
    transposed: BlockStructure
    #: (blocks + BLOCKS_AHEAD,), for the prefetches that go beyond the end.
    order: NDArray[np.int32]
    #: (blocks, 4, 4): which entries W stores; None where it is all of them.
    stored: NDArray[np.bool_] | None

    @property
    def nbytes(self) -> int:
        structures = self.forward.nbytes + self.transposed.nbytes + self.order.nbytes
        return self.values.nbytes + structures + (0 if self.stored is None else self.stored.nbytes)

    @property
    def stored_entries(self) -> int:
        # Blocks that reach beyond the edges hold no more of W than there is.
        return min(self.values.size, self.shape[0] * self.shape[1])


class NumbaBsr(SparseKernel):
    """Register-tiled BSR on the CPU."""

    name = "numba-bsr"
    title = "Numba BSR in registers"
    device = "cpu"
    format = "bsr"
    arithmetic = ONLY_FP32
    source = "register blocking: OSKI (Vuduc et al. 2005), a tile of the batch per block row"
    look = Look("#cf2a1a", "s", "-")

    def unsupported(self, problem: Problem) -> str | None:
        most = SIDE * _MOST_BLOCKS
        if max(problem.m, problem.k) > most:
            return f"{self.name} has 16-bit indices: at most {most:,} rows and columns."
        return super().unsupported(problem)

    def needed_bytes(self, problem: Problem) -> int:
        # The worst pattern: each nonzero in a block of its own.
        blocks = min(problem.nnz, -(-problem.m // SIDE) * -(-problem.k // SIDE))
        sides = (problem.m + problem.k) * problem.n * 4
        return blocks * SIDE * SIDE * 4 * 2 + 2 * sides

    def prepare(self, weight: Weight) -> BlockOperand:
        pattern = in_blocks(weight.pattern)
        stored = np.asarray(pattern.any(axis=(2, 3)))
        values = aligned_empty((int(stored.sum()), SIDE, SIDE), weight.values.dtype)
        values[...] = in_blocks(weight.values)[stored]
        m, k = weight.shape
        number = np.cumsum(stored).reshape(stored.shape) - 1
        kept = pattern[stored]
        return BlockOperand(
            weight.shape,
            values,
            BlockStructure.of(stored, (m, k)),
            BlockStructure.of(stored.T, (k, m)),
            np.append(number.T[stored.T], np.zeros(BLOCKS_AHEAD)).astype(np.int32),
            None if kept.all() else kept,
        )

    def explain(self, operand: BlockOperand, pass_: Pass, n: int) -> list[Choice]:
        structure = operand.transposed if pass_ == "backward_input" else operand.forward
        full = 1.0 if operand.stored is None else float(operand.stored.mean())
        return [
            Choice("blocks", f"{SIDE} x {SIDE}", f"a cache line each; {full:.0%} of them is W's"),
            explain_vectors(BLOCK_TILE),
            structure.explain_packing(n),
            explain_threads(
                structure.loads(n),
                structure.serial_loads,
                structure.splits,
                np.diff(structure.pointers).astype(np.int64),
            ),
        ]

    def forward(self, operand: BlockOperand, x: Any, out: Any) -> Any:
        return _product(operand, operand.forward, False, x, out)

    def backward_input(self, operand: BlockOperand, dy: Any, out: Any) -> Any:
        return _product(operand, operand.transposed, True, dy, out)

    def backward_weight(self, operand: BlockOperand, dy: Any, x: Any, out: Any) -> Any:
        # At the blocks (blocks, 4, 4), zero where W stores nothing.
        check_layout(dy, x, out)
        structure = operand.forward
        given = structure.pointers, structure.indices, dy, x, out
        if structure.serial(x.shape[1]):
            _dot(0, structure.pointers.size - 1, *given)
        else:
            _dot_on_threads(structure.splits, *given)
        if operand.stored is not None:
            _clear(out.reshape(-1), operand.stored.reshape(-1))
        return out

    def dense_gradient(self, operand: BlockOperand, gradient: Any) -> Array:
        (m, k), structure = operand.shape, operand.forward
        rows, columns = structure.pointers.size - 1, operand.transposed.pointers.size - 1
        dense = np.zeros((rows, columns, SIDE, SIDE), gradient.dtype)
        row_of = np.repeat(np.arange(rows), np.diff(structure.pointers))
        dense[row_of, structure.indices] = gradient
        whole = dense.swapaxes(1, 2).reshape(rows * SIDE, columns * SIDE)
        return np.ascontiguousarray(whole[:m, :k])


def in_blocks(matrix: Array) -> Array:
    """Return ``matrix`` (m, k) as blocks (m/4, k/4, 4, 4), both rounded up, filled with zeros."""
    m, k = matrix.shape
    rows, columns = -(-m // SIDE), -(-k // SIDE)
    padded = np.zeros((rows * SIDE, columns * SIDE), matrix.dtype)
    padded[:m, :k] = matrix
    return padded.reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2)


def _product(
    operand: BlockOperand, structure: BlockStructure, transposed: bool, x: Array, out: Array
) -> Array:
    check_layout(x, out)
    given = (
        transposed, structure.packs(x.shape[1]), operand.values, operand.order,
        structure.pointers, structure.indices, x, out,
    )  # fmt: skip
    if structure.serial(x.shape[1]):
        _sum(0, structure.pointers.size - 1, *given)
    else:
        _sum_on_threads(structure.splits, *given)
    return out


@numba.njit(cache=True)
def _sum(  # type: ignore[no-untyped-def]
    begin, stop, transposed, packs, values, order, pointers, indices, x, out
):
    """Write block rows ``begin`` to ``stop`` of the product."""
    n, (rows, last) = x.shape[1], (out.shape[0], x.shape[0] - 1)
    apart = BLOCK_TILE if packs else 0
    panel = room_for(x.shape[0], apart)
    for left in range(0, n, BLOCK_TILE):
        width = min(BLOCK_TILE, n - left)
        base, stride = rows_of(x, panel, 0, x.shape[0], left, width, apart)
        for i in range(begin, stop):
            first = SIDE * i
            given = (
                address(values), address(order), address(indices), pointers[i], pointers[i + 1],
                base, stride, last, address(out) + 4 * (first * n + left), 4 * n,
                min(SIDE, rows - first), width,
            )  # fmt: skip
            if transposed:
                sum_blocks_transposed(*given)
            else:
                sum_blocks(*given)


@numba.njit(parallel=True, cache=True)
def _sum_on_threads(  # type: ignore[no-untyped-def]
    splits, transposed, packs, values, order, pointers, indices, x, out
):
    for part in numba.prange(splits.size - 1):
        begin, stop = splits[part], splits[part + 1]
        _sum(begin, stop, transposed, packs, values, order, pointers, indices, x, out)


@numba.njit(cache=True)
def _clear(entries, stored):  # type: ignore[no-untyped-def]
    """Set to zero the ``entries`` that are not ``stored``, whatever they are now."""
    for p in range(entries.size):
        if not stored[p]:
            entries[p] = 0


@numba.njit(cache=True)
def _dot(begin, stop, pointers, indices, dy, x, out):  # type: ignore[no-untyped-def]
    """Write dY Xᵀ at the blocks of block rows ``begin`` to ``stop``."""
    for i in range(begin, stop):
        dot_blocks(
            address(dy), i, dy.shape[0] - 1, address(indices), pointers[i], pointers[i + 1],
            address(x), x.shape[0] - 1, x.shape[1], address(out),
        )  # fmt: skip


@numba.njit(parallel=True, cache=True)
def _dot_on_threads(splits, pointers, indices, dy, x, out):  # type: ignore[no-untyped-def]
    for part in numba.prange(splits.size - 1):
        _dot(splits[part], splits[part + 1], pointers, indices, dy, x, out)
