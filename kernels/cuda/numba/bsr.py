"""Blocks of W on the tensor cores, in Numba CUDA: TF32 by ``mma.sync``, from inline PTX.

W is kept in blocks of 16 x 8, stored whole where any entry is, each in the order in which a
warp's threads hold it: one 128-bit load a thread. A thread's 128 bits of X are the same place in
four products, so that X, too, comes by 128-bit loads, unshuffled. It is meant for weights pruned in
such blocks; a weight pruned entry by entry fills nearly every block, and this is then a dense
product.

By arithmetic (nothing was timed): 16 rows share what is loaded of X, so that a block takes 12
turns of the first cache for 4,096 multiply-adds (one piece; two: 20 for 8,192), 340 to 410 per
cycle, three times what Hopper's fp32 units do; SpMM by single entries gets 32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from ... import formats
from ...base import TF32, Arithmetic, Array, Kernel, Look, Problem, Weight
from .arrays import OnNumbaCuda, launch, launch_flat, numba_cuda, simulated
from .rows import Rows, padded_places, padded_rows
from .tiled import aligned, sample
from .vectors import operations

# numba.cuda, a global of this module because the simulator exchanges it there.
cuda: Any = None

_ROWS, _DEPTH = 16, 8
_WARPS = 4
#: The most registers per thread: 5 blocks of 4 warps on a multiprocessor.
REGISTERS = 96
_COLUMNS = 32


@dataclass(frozen=True)
class Blocks:
    """Blocks (count, 32 threads, 4), by rows of blocks: ``pointers``, ``indices`` as in BSR."""

    pointers: Any
    indices: Any
    values: Any

    @property
    def nbytes(self) -> int:
        return int(self.pointers.nbytes + self.indices.nbytes + self.values.nbytes)


@dataclass(frozen=True)
class BlockOperand:
    """W and Wᵀ in blocks, and W's entries by padded rows, for its gradient.

    ``places`` and ``transposed_places`` (padded nnz,) are where the blocks hold an entry, or -1.
    """

    shape: tuple[int, int]
    forward: Blocks
    transposed: Blocks
    entries: Rows
    places: Any
    transposed_places: Any
    #: On the host: where each entry lies in a gradient, in the blocks' values, and in W.ravel().
    in_gradient: Array
    in_blocks: Array
    positions: Array

    @property
    def nbytes(self) -> int:
        parts = self.forward, self.transposed, self.entries, self.places, self.transposed_places
        return sum(int(part.nbytes) for part in parts)

    @property
    def stored_entries(self) -> int:
        # Blocks that reach beyond the edges hold no more of W than there is.
        return min(int(self.forward.values.size), self.shape[0] * self.shape[1])


@cache
def bsr_spmm(pieces: int, vector: int) -> Any:
    """Return the kernel (pointers, indices, values, X, out): a warp per row of blocks.

    A warp holds ``pieces`` times 32 columns; ``vector`` is 4, or 1 where rows are not aligned.
    """
    global cuda
    cuda = numba_cuda()
    do = operations(simulated())
    at, ahead, load1, load4, multiply = do.at, do.ahead, do.load1, do.load4, do.multiply_blocks
    load, store = (do.load4, do.store4) if vector == 4 else (do.load1, do.store1)
    span, sums, held = _COLUMNS * pieces, 16 * pieces, 8 * pieces
    depth, high, f32, i32 = _DEPTH, _ROWS, np.float32, np.int32

    @cuda.jit(**({} if simulated() else {"max_registers": REGISTERS}))
    def bsr_spmm(pointers, indices, values, x, out):  # type: ignore[no-untyped-def]
        block_row = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
        if block_row >= pointers.size - 1:
            return
        group, within = cuda.threadIdx.x // 4, cuda.threadIdx.x & 3
        k, n = x.shape
        column = cuda.blockIdx.y * span + 4 * group
        totals, near = cuda.local.array(sums, f32), cuda.local.array(held, f32)
        ws, js = cuda.local.array(4, f32), cuda.local.array(1, i32)
        for e in range(sums):
            totals[e] = 0
        first = at(x, column)
        for p in range(pointers[block_row], pointers[block_row + 1]):
            load1(js, 0, indices, at(indices, p), 0)
            load4(ws, 0, values, at(values, p * 128), 4 * cuda.threadIdx.x)
            for part in range(2):
                row = js[0] * depth + within + 4 * part
                place = ahead(first, row, n)
                for piece in range(pieces):
                    start = (2 * piece + part) * 4
                    for e in range(4):
                        near[start + e] = 0  # beyond the edge: a zero weight may not meet a NaN
                    for e in range(0, 4, vector):
                        if row < k and column + piece * 32 + e < n:
                            load(near, start + e, x, place, piece * 32 + e)
            for piece in range(pieces):
                for e in range(4):
                    # Column g of product e is column 4 g + e of X.
                    start = (4 * piece + e) * 4
                    multiply(totals, start, ws, near, 8 * piece + e, 8 * piece + 4 + e)
        four = cuda.local.array(4, f32)
        for piece in range(pieces):
            for i in range(4):
                row = block_row * high + group + 8 * (i // 2)
                left = cuda.blockIdx.y * span + piece * 32 + 8 * within + 4 * (i & 1)
                for e in range(4):
                    four[e] = totals[(4 * piece + e) * 4 + i]
                for e in range(0, 4, vector):
                    if row < out.shape[0] and left + e < n:
                        store(out, ahead(at(out, left), row, n), e, four, e)

    return bsr_spmm


@cache
def update() -> Any:
    """Return the kernel (both blocks' values, where entries lie in them, step, rate)."""
    global cuda
    cuda = numba_cuda()

    @cuda.jit
    def update(values, transposed, places, transposed_places, step, rate):  # type: ignore[no-untyped-def]
        p = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if p < places.size and places[p] >= 0:
            value = values[places[p]] - rate * step[p]
            values[places[p]] = value
            transposed[transposed_places[p]] = value

    return update


class NumbaCudaBsr(OnNumbaCuda, Kernel):
    """Blocks of 16 x 8 on the tensor cores; the weight gradient as ``numba-cuda-tiled``, in fp32.

    An update changes stored entries alone, so that what fills a block up stays zero.
    """

    name = "numba-cuda-bsr"
    title = "Numba CUDA blocks, TF32"
    format = "bsr"
    arithmetic: ClassVar[Mapping[str, Arithmetic]] = {"float32": TF32}
    source = "numba.cuda with inline PTX: mma.sync.m16n8k8, TF32"
    look = Look("#cf2a1a", "s", "-")

    def unavailable(self) -> str | None:
        return super().unavailable() or _too_old()

    def needed_bytes(self, problem: Problem) -> int:
        # As if every block of both copies were full.
        dense = problem.m * problem.k * 4
        return super().needed_bytes(problem) + 2 * dense

    def prepare(self, weight: Weight) -> BlockOperand:
        csr = formats.to_csr(weight)
        rows, columns = np.nonzero(weight.pattern)
        in_gradient = padded_places(csr.indptr)
        entries = padded_rows(csr.indptr, in_gradient, csr.indices, csr.data)
        forward, in_blocks = _blocks(rows, columns, csr.data, weight.shape)
        transposed, in_transposed = _blocks(columns, rows, csr.data, weight.shape[::-1])
        places = np.full((2, entries.values.size), -1, np.int32)
        places[:, in_gradient] = in_blocks, in_transposed
        put = self.put
        return BlockOperand(
            weight.shape,
            Blocks(*(put(each) for each in forward)),
            Blocks(*(put(each) for each in transposed)),
            Rows(put(entries.table), put(entries.indices), np.zeros(0, np.float32), entries.nnz),
            put(places[0].copy()),
            put(places[1].copy()),
            in_gradient,
            in_blocks,
            formats.flat_positions(csr),
        )

    def forward(self, operand: BlockOperand, x: Any, out: Any) -> Any:
        return _multiply(operand.forward, x, out)

    def backward_input(self, operand: BlockOperand, dy: Any, out: Any) -> Any:
        return _multiply(operand.transposed, dy, out)

    def backward_weight(self, operand: BlockOperand, dy: Any, x: Any, out: Any) -> Any:
        # At the nonzeros (padded nnz,), zero in the padding.
        return sample(operand.entries, dy, x, out)

    def update(self, operand: BlockOperand, step: Any, rate: float) -> None:
        both = operand.forward.values, operand.transposed.values
        places = operand.places, operand.transposed_places
        launch_flat(update(), operand.places.size, *both, *places, step, np.float32(rate))

    def gradient_shape(self, operand: BlockOperand) -> tuple[int, ...]:
        # (padded nnz,)
        return (int(operand.places.size),)

    def dense_weight(self, operand: BlockOperand) -> Array:
        entries = self.fetch(operand.forward.values)[operand.in_blocks]
        return formats.scattered(entries, operand.positions, operand.shape)

    def dense_gradient(self, operand: BlockOperand, gradient: Any) -> Array:
        entries = self.fetch(gradient)[operand.in_gradient]
        return formats.scattered(entries, operand.positions, operand.shape)


def _multiply(blocks: Blocks, x: Any, out: Any) -> Any:
    """Return the product of ``blocks`` with ``x``."""
    n = x.shape[1]
    vector = 4 if n % 4 == 0 and aligned(x, out) else 1
    pieces = 2 if n > _COLUMNS and vector == 4 else 1  # by scalars, two take 129 registers
    block_rows = blocks.pointers.size - 1
    warps = min(_WARPS, block_rows)
    grid = -(-block_rows // warps), -(-n // (_COLUMNS * pieces))
    structure = blocks.pointers, blocks.indices, blocks.values
    launch(bsr_spmm(pieces, vector), grid, (32, warps), *structure, x, out)
    return out


def _blocks(
    rows: Array, columns: Array, values: Array, shape: tuple[int, ...]
) -> tuple[tuple[Array, Array, Array], Array]:
    """Return (pointers, indices, values) of the blocks of entries, and where each entry lies."""
    down, across = -(-shape[0] // _ROWS), -(-shape[1] // _DEPTH)
    of_block = rows // _ROWS * across + columns // _DEPTH
    stored, number = np.unique(of_block, return_inverse=True)
    # mma.m16n8k8: thread 4 (row % 8) + column % 4 holds four entries, rows first.
    thread = rows % 8 * 4 + columns % 4
    part = rows % _ROWS // 8 + columns % _DEPTH // 4 * 2
    places = number.ravel() * (_ROWS * _DEPTH) + thread * 4 + part
    filled = np.zeros(stored.size * _ROWS * _DEPTH, np.float32)
    filled[places] = values
    pointers = np.searchsorted(stored, np.arange(down + 1) * across).astype(np.int32)
    return (pointers, (stored % across).astype(np.int32), filled), places


@cache
def _too_old() -> str | None:
    """Return that the GPU has no TF32, or None."""
    if simulated():
        return None
    capability = numba_cuda().get_current_device().compute_capability
    if capability >= (8, 0):
        return None
    return f"TF32 needs compute capability 8.0, and this GPU has {capability[0]}.{capability[1]}."
