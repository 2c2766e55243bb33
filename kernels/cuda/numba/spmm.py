"""SpMM and SpMV in Numba CUDA: subwarps on rows, 128-bit loads, the result in registers.

``W X`` and ``Wᵀ dY`` are the same kernel over two structures. A lane holds ``pieces`` vectors of
a row of the result; the row's nonzeros go by four at a time, their indices and values read by one
128-bit load each. Rows begin at multiples of four, so that no such load is masked.

What limits it, by arithmetic: a multiply-add takes 4 bytes of X out of the
first cache, which gives 128 bytes per cycle and multiprocessor, a quarter of what Hopper's 128
multiply-adds would take; registers cannot reuse X, for two rows seldom share a column. So 25 %
of the peak is the bound, issue slots are plenty, and what can be saved are (a) loads of indices
and values: 1 for 2 ``pieces`` loads of X, a line of each row; (b) misses: the rows that a
multiprocessor works on go through k in step and find X's rows in its first cache (rows) x
(density) times. So its blocks stay on one tile of columns as long as they can. Seen on an H200
(4096 x 4096, 90 %, n = 1024): 10.5 of a measured 51 TFLOP/s, 20 %.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .arrays import numba_cuda, simulated
from .tiles import Tile
from .vectors import operations

# numba.cuda, a global of this module because the simulator exchanges it there.
cuda: Any = None


def options(tile: Tile) -> dict[str, int]:
    """Return what the compiler is told beside the code; the simulator takes nothing."""
    return {} if simulated() else {"max_registers": tile.registers}


@cache
def spmm(tile: Tile, exact: bool) -> Any:
    """Return the kernel (table, indices, values, X, out, share, more).

    ``exact`` promises that n is a multiple of the tile's columns, and saves every test of that.
    The grid is (multiprocessors, most blocks of one); each has ``share`` blocks, the first
    ``more`` of them one more.
    """
    global cuda
    cuda = numba_cuda()
    do = operations(simulated())
    at, ahead, load4 = do.at, do.ahead, do.load4
    exchange, quotient = do.exchange, do.quotient
    load, store = (do.load4, do.store4) if tile.vector == 4 else (do.load1, do.store1)
    vector, pieces, lanes, rows = tile.vector, tile.pieces, tile.lanes, tile.rows
    span, columns, elements = tile.lanes * tile.vector, tile.columns, tile.vector * tile.pieces
    turn, width, together = 4 * tile.splits, tile.width, 32 // tile.width
    held, f32, i32 = 4 * elements, np.float32, np.int32

    @cuda.jit(**options(tile))
    def spmm(table, indices, values, x, out, share, more):  # type: ignore[no-untyped-def]
        lane, split = cuda.threadIdx.x & (lanes - 1), cuda.threadIdx.x // lanes
        # Blocks are dealt out to multiprocessors in turn (assumed; only speed depends on it):
        # number them so that each gets neighbours, which share a tile of columns.
        processor, dealt = cuda.blockIdx.x, cuda.blockIdx.y
        if dealt >= share + (1 if processor < more else 0):
            return
        block = processor * share + min(processor, more) + dealt
        stripes = (table.shape[0] + (rows - 1)) // rows
        of_columns = quotient(block, stripes)
        stripe = block - of_columns * stripes
        # A warp's rows are neighbours, of like length; a block's warps are far apart, so that
        # blocks have like work.
        warp, inner = cuda.threadIdx.y // together, cuda.threadIdx.y % together
        slot = (warp * stripes + stripe) * together + inner
        if slot >= table.shape[0]:
            return
        n = x.shape[1]
        column = of_columns * columns + lane * vector
        row = cuda.local.array(4, i32)
        load4(row, 0, table, at(table, slot * 4), 0)
        p, end = row[1] + 4 * split, row[2]
        totals, near = cuda.local.array(elements, f32), cuda.local.array(held, f32)
        js, ws = cuda.local.array(4, i32), cuda.local.array(4, f32)
        for e in range(elements):
            totals[e] = 0
        first = at(x, column)
        while p < end:
            load4(js, 0, indices, at(indices, p), 0)
            load4(ws, 0, values, at(values, p), 0)
            for q in range(4):
                place = ahead(first, js[q], n)
                for piece in range(pieces):
                    if exact or column + piece * span < n:
                        load(near, (q * pieces + piece) * vector, x, place, piece * span)
            for q in range(4):
                if p + q < end:  # padding is loaded, but never multiplied: X may not be finite
                    for piece in range(pieces):
                        if exact or column + piece * span < n:
                            for e in range(piece * vector, (piece + 1) * vector):
                                totals[e] += ws[q] * near[q * elements + e]
            p += turn
        distance = lanes
        while distance < width:
            for e in range(elements):
                totals[e] += exchange(totals[e], distance, width)
            distance *= 2
        if split == 0:
            place = ahead(at(out, column), row[0], n)
            for piece in range(pieces):
                if exact or column + piece * span < n:
                    store(out, place, piece * span, totals, piece * vector)

    return spmm


@cache
def spmv(tile: Tile) -> Any:
    """Return the kernel (table, indices, values, X, out) for a batch of one.

    The threads of a row read its nonzeros side by side, four turns at once (32 bytes in flight
    per thread: 2,048 threads cover the memory's latency at its full rate, by arithmetic), one
    element each: x's neighbours then lie in few lines of the first cache, which answers a line
    at a time; a 128-bit load per thread would spread the 32 columns over four times as many.
    """
    global cuda
    cuda = numba_cuda()
    do = operations(simulated())
    at, ahead, load1, load4, exchange = do.at, do.ahead, do.load1, do.load4, do.exchange
    rows, width = tile.rows, tile.width
    f32, i32 = np.float32, np.int32

    @cuda.jit(**options(tile))
    def spmv(table, indices, values, x, out):  # type: ignore[no-untyped-def]
        slot = cuda.blockIdx.x * rows + cuda.threadIdx.y
        if slot >= table.shape[0]:
            return
        row = cuda.local.array(4, i32)
        load4(row, 0, table, at(table, slot * 4), 0)
        p, end = row[1] + cuda.threadIdx.x, row[2]
        js = cuda.local.array(4, i32)
        ws, near = cuda.local.array(4, f32), cuda.local.array(4, f32)
        first, total = at(x, 0), f32(0)
        while p < end:
            for q in range(4):
                # Beyond the end the last one is read again, but not added.
                place = min(p + q * width, end - 1)
                load1(js, q, indices, at(indices, place), 0)
                load1(ws, q, values, at(values, place), 0)
            for q in range(4):
                load1(near, q, x, ahead(first, js[q], 1), 0)
            for q in range(4):
                if p + q * width < end:
                    total += ws[q] * near[q]
            p += 4 * width
        distance = 1
        while distance < width:
            total += exchange(total, distance, width)
            distance *= 2
        if cuda.threadIdx.x == 0:
            out[row[0], 0] = total

    return spmv
