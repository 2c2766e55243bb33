"""The loops of the tiled kernel over a share of W's rows, compiled once and called by address.

Whoever calls a function that Numba compiled compiles it again, on each number of threads: these
take seconds. They get a *table* instead of arrays, so that a call costs little.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types

from .simd.emitting import keep_alive
from .simd.pair_dots import dot_pairs, outer_pairs
from .simd.pairs import PIECE, PIECE_OF_FOUR, sum_fours, sum_pairs
from .simd.vectors import DOT_VECTORS, FOUR_VECTORS, I64, LANES, PAIR_VECTORS, emitted, long_at
from .threads import room_for, tile_of

#: Fields of a table: addresses of values, columns and pieces; the columns of a block, how many
#: blocks and shares, entries; below how many loads one thread is faster, whether packing pays, the
#: address of the loop that multiplies; then for each block where each share begins in the three.
VALUES, COLUMNS, PIECES, BLOCK, BLOCKS, SHARES, ENTRIES, SERIAL, PACKS, LOOP, STARTS = range(11)
#: table, share, whether tiles are packed, X, its rows, its columns, the result
_SUM = types.void(*[types.int64] * 7)
#: table, share, whether tiles are packed, dY, X, its rows, its columns, the result
_DOT = types.void(*[types.int64] * 8)


def _sum_share(table, share, packs, x, rows, n, out):  # type: ignore[no-untyped-def]
    """Write a share of the rows of W X."""
    block, (tiles, vectors) = long_at(table, BLOCK), tiles_of(n, PAIR_VECTORS)
    panel = room_for(block, LANES * PAIR_VECTORS if packs else 0)
    for tile in range(tiles):
        first, width, apart = _tile(tile, tiles, vectors, n, packs)
        for b in range(long_at(table, BLOCKS)):
            source, there = x + 4 * (b * block * n + first), min(block, rows - b * block)
            base, stride = tile_of(source, 4 * n, panel, there, width, apart)
            pieces, count, value, columns = _share(table, b, share, PIECE)
            ahead, left = _ahead(table, tile, tiles, b, x, rows, n, first, width)
            sum_pairs(
                long_at(table, VALUES) + 4 * value, columns, pieces, count, base, stride,
                out + 4 * first, 4 * n, width, np.int64(b > 0), ahead, 4 * n, left,
            )  # fmt: skip
    keep_alive(panel)


def _sum_share_of_fours(table, share, packs, x, rows, n, out):  # type: ignore[no-untyped-def]
    """Write a share of the rows of W X, whose pieces have four rows."""
    block, (tiles, vectors) = long_at(table, BLOCK), tiles_of(n, FOUR_VECTORS)
    panel = room_for(block, LANES * FOUR_VECTORS if packs else 0)
    for tile in range(tiles):
        first, width, apart = _tile(tile, tiles, vectors, n, packs)
        for b in range(long_at(table, BLOCKS)):
            source, there = x + 4 * (b * block * n + first), min(block, rows - b * block)
            base, stride = tile_of(source, 4 * n, panel, there, width, apart)
            pieces, count, value, columns = _share(table, b, share, PIECE_OF_FOUR)
            sum_fours(
                long_at(table, VALUES) + 4 * value, columns, pieces, count, base, stride,
                out + 4 * first, 4 * n, width, np.int64(b > 0),
            )  # fmt: skip
    keep_alive(panel)


def _dot_share(table, share, packs, dy, x, rows, n, out):  # type: ignore[no-untyped-def]
    """Write dY Xᵀ at the nonzeros of a share of the rows."""
    block, (tiles, vectors) = long_at(table, BLOCK), tiles_of(n, DOT_VECTORS)
    panel = room_for(block, LANES * DOT_VECTORS if packs else 0)
    for tile in range(tiles):
        first, width, apart = _tile(tile, tiles, vectors, n, packs)
        for b in range(long_at(table, BLOCKS)):
            source, there = x + 4 * (b * block * n + first), min(block, rows - b * block)
            base, stride = tile_of(source, 4 * n, panel, there, width, apart)
            pieces, count, value, columns = _share(table, b, share, PIECE)
            ahead, left = _ahead(table, tile, tiles, b, x, rows, n, first, width)
            if n == 1:
                outer_pairs(dy, columns, pieces, count, base, out + 4 * value)
            else:
                dot_pairs(
                    dy + 4 * first, 4 * n, columns, pieces, count, base, stride,
                    out + 4 * value, width, np.int64(tile > 0), ahead, 4 * n, left,
                )  # fmt: skip
    keep_alive(panel)


@numba.njit(cache=True)
def tiles_of(n, most):  # type: ignore[no-untyped-def]
    """Return into how many tiles a batch is cut, and how many vectors they are together."""
    vectors = (n + LANES - 1) // LANES
    return (vectors + most - 1) // most, vectors


@numba.njit(cache=True)
def _tile(tile, tiles, vectors, n, packs):  # type: ignore[no-untyped-def]
    """Return (first column, columns, floats between packed rows) of a tile.

    Only the last one's columns may fill no whole vectors.
    """
    first, stop = vectors * tile // tiles * LANES, vectors * (tile + 1) // tiles * LANES
    return first, min(n, stop) - first, stop - first if packs else 0


@numba.njit(cache=True)
def _share(table, block, share, size):  # type: ignore[no-untyped-def]
    """Return (address of pieces, how many, first value, address of columns) of a share."""
    at = STARTS + 3 * (block * (long_at(table, SHARES) + 1) + share)
    piece, value, column = long_at(table, at), long_at(table, at + 1), long_at(table, at + 2)
    pieces = long_at(table, PIECES) + 4 * size * piece
    return pieces, long_at(table, at + 3) - piece, value, long_at(table, COLUMNS) + 2 * column


@numba.njit(cache=True)
def _ahead(table, tile, tiles, b, x, rows, n, first, width):  # type: ignore[no-untyped-def]
    """Return (address, rows) of the tile of X that comes after block ``b`` of a tile.

    No rows where there is none, or where the rows of one lie side by side.
    """
    block = long_at(table, BLOCK)
    if tiles == 1:
        return x, 0
    if b + 1 < long_at(table, BLOCKS):
        begin = (b + 1) * block
        return x + 4 * (begin * n + first), min(block, rows - begin)
    return x + 4 * (first + width), min(block, rows) if tile + 1 < tiles else 0


@cache
def sum_loop(together: int) -> int:
    """Return the address of the loop that multiplies, compiled where it is not yet.

    It takes pieces of so many rows ``together``.
    """
    share = _sum_share if together == 2 else _sum_share_of_fours
    return int(numba.cfunc(_SUM, cache=True)(share).address)


@cache
def dot_loop() -> int:
    """Return the address of the loop of the weight gradient."""
    return int(numba.cfunc(_DOT, cache=True)(_dot_share).address)


@emitted(types.void, *[types.int64] * 8)
def call_sum(
    builder: Any, loop: Any, table: Any, share: Any, packs: Any, x: Any, rows: Any, n: Any,
    out: Any,
) -> None:  # fmt: skip
    """Call the loop that multiplies, at its address."""
    _call(builder, loop, table, share, packs, x, rows, n, out)


@emitted(types.void, *[types.int64] * 9)
def call_dot(
    builder: Any, loop: Any, table: Any, share: Any, packs: Any, dy: Any, x: Any, rows: Any,
    n: Any, out: Any,
) -> None:  # fmt: skip
    """Call the loop of the weight gradient, at its address."""
    _call(builder, loop, table, share, packs, dy, x, rows, n, out)


def _call(builder: Any, loop: Any, *given: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [I64] * len(given))
    builder.call(builder.inttoptr(loop, kind.as_pointer()), given)
