"""SDDMM and the update in Numba CUDA: a tile of dY's row in registers, four nonzeros at a time.

The sums of four nonzeros are reduced over the lanes together, each step halving either the sums
or the lanes: 4 shuffles for 8 lanes, not 12. A block goes through the tiles of the batch one
after the other and adds to what it wrote itself, so that results do not depend on the order of
blocks.

By arithmetic (nothing was timed) it is bound like SpMM by the first cache, with 4 bytes of X per
multiply-add; indices are 1 load for 4 ``pieces`` of X.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .arrays import numba_cuda, simulated
from .spmm import options
from .tiles import Tile
from .vectors import operations

# numba.cuda, a global of this module because the simulator exchanges it there.
cuda: Any = None


@cache
def sddmm(tile: Tile, exact: bool) -> Any:
    """Return the kernel (table, indices, dY, X, out); padding in ``out`` becomes zero.

    ``exact`` promises that n is a multiple of the tile's columns, and saves every test of that.
    """
    global cuda
    cuda = numba_cuda()
    do = operations(simulated())
    at, ahead, load4, exchange = do.at, do.ahead, do.load4, do.exchange
    load = do.load4 if tile.vector == 4 else do.load1
    vector, pieces, lanes, rows = tile.vector, tile.pieces, tile.lanes, tile.rows
    span, columns, elements = tile.lanes * tile.vector, tile.columns, tile.vector * tile.pieces
    turn, half, quarter = 4 * tile.splits, tile.lanes // 2, tile.lanes // 4
    f32, i32 = np.float32, np.int32

    @cuda.jit(**options(tile))
    def sddmm(table, indices, dy, x, out):  # type: ignore[no-untyped-def]
        lane, split = cuda.threadIdx.x & (lanes - 1), cuda.threadIdx.x // lanes
        slot = cuda.blockIdx.x * rows + cuda.threadIdx.y
        if slot >= table.shape[0]:
            return
        n = x.shape[1]
        row = cuda.local.array(4, i32)
        load4(row, 0, table, at(table, slot * 4), 0)
        mine, near = cuda.local.array(elements, f32), cuda.local.array(vector, f32)
        js, sums = cuda.local.array(4, i32), cuda.local.array(4, f32)
        upper, odd = (lane & half) != 0, (lane & quarter) != 0
        which = (2 if upper else 0) + (1 if odd else 0)
        begin = 0
        while begin < n:
            column = begin + lane * vector
            first, place = at(x, column), ahead(at(dy, column), row[0], n)
            for piece in range(pieces):
                if exact or column + piece * span < n:
                    load(mine, piece * vector, dy, place, piece * span)
            p = row[1] + 4 * split
            while p < row[2]:
                load4(js, 0, indices, at(indices, p), 0)
                for q in range(4):
                    place = ahead(first, js[q], n)
                    sums[q] = 0
                    for piece in range(pieces):
                        if exact or column + piece * span < n:
                            load(near, 0, x, place, piece * span)
                            for e in range(vector):
                                sums[q] += mine[piece * vector + e] * near[e]
                # Keep two of the four sums, then one of the two, then add up what is left.
                low = exchange(sums[0] if upper else sums[2], half, lanes)
                high = exchange(sums[1] if upper else sums[3], half, lanes)
                low += sums[2] if upper else sums[0]
                high += sums[3] if upper else sums[1]
                total = (high if odd else low) + exchange(low if odd else high, quarter, lanes)
                distance = quarter // 2
                while distance > 0:
                    total += exchange(total, distance, lanes)
                    distance //= 2
                if (lane & (quarter - 1)) == 0:
                    if begin > 0:
                        total += out[p + which]
                    out[p + which] = total if p + which < row[2] else f32(0)
                p += turn
            begin += columns

    return sddmm


@cache
def sddmm_narrow(tile: Tile) -> Any:
    """Return the kernel (table, indices, dY, X, out) for a small batch: a thread per nonzero."""
    global cuda
    cuda = numba_cuda()
    do = operations(simulated())
    at, ahead, load1, load4 = do.at, do.ahead, do.load1, do.load4
    load = do.load4 if tile.vector == 4 else do.load1
    vector, rows, width = tile.vector, tile.rows, tile.width
    f32, i32 = np.float32, np.int32

    @cuda.jit(**options(tile))
    def sddmm_narrow(table, indices, dy, x, out):  # type: ignore[no-untyped-def]
        slot = cuda.blockIdx.x * rows + cuda.threadIdx.y
        if slot >= table.shape[0]:
            return
        n = x.shape[1]
        row, j = cuda.local.array(4, i32), cuda.local.array(1, i32)
        load4(row, 0, table, at(table, slot * 4), 0)
        mine, near = cuda.local.array(vector, f32), cuda.local.array(vector, f32)
        from_dy, first = ahead(at(dy, 0), row[0], n), at(x, 0)
        p, end = row[1] + cuda.threadIdx.x, row[2]
        while p < (end + 3) // 4 * 4:
            total = f32(0)
            if p < end:
                load1(j, 0, indices, at(indices, p), 0)
                from_x = ahead(first, j[0], n)
                for c in range(0, n, vector):
                    load(mine, 0, dy, from_dy, c)
                    load(near, 0, x, from_x, c)
                    for e in range(vector):
                        total += mine[e] * near[e]
            out[p] = total
            p += width

    return sddmm_narrow


@cache
def update() -> Any:
    """Return the kernel (values, transposed values, mirror, step, rate): both copies at once."""
    global cuda
    cuda = numba_cuda()

    @cuda.jit
    def update(values, transposed, mirror, step, rate):  # type: ignore[no-untyped-def]
        p = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if p < values.size and mirror[p] >= 0:
            value = values[p] - rate * step[p]
            values[p] = value
            transposed[mirror[p]] = value

    return update
