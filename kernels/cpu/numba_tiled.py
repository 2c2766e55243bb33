"""CSR in vector registers: a tile of the batch stays in them while a pair of rows goes by.

Technique: Gale et al. 2020 (Sputnik) and Wilkinson et al. 2023 (Sparse Register Tiling), on a CPU:
one weight is broadcast over a tile of the batch, and a row of X serves two rows of W. W is gone
through in blocks along k whose rows of X fit the first cache, entries in the order in which they
lie, with 16-bit indices. Wᵀ has a layout of its own. Each thread takes as many nonzeros.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numba
import numpy as np

from ..base import ONLY_FP32, Choice, Look, Pass, Problem, Weight
from ..processor import aligned, aligned_empty
from ..sparse import SparseKernel
from .simd.emitting import keep_alive
from .simd.pair_dots import DOT_VECTORS, dot_pairs, outer_pairs
from .simd.pairs import PIECE, sum_pairs
from .simd.vectors import LANES, PAIR_VECTORS, TILE, address
from .threads import require_layout, room_for, rows_of
from .tiled_layouts import (
    FILL,
    MOST_COLUMNS,
    TiledOperand,
    loads_of,
    packs_tiles,
)
from .tuning import chosen, fastest

# The loops get a *table* instead of arrays, so that a call costs little: addresses of values,
# columns and pieces; the columns of a block, how many blocks and shares, entries; below how many
# loads one thread is faster, whether packing pays; then for each block where each share begins.
_VALUES, _COLUMNS, _PIECES, _BLOCK, _BLOCKS, _SHARES, _ENTRIES, _SERIAL, _PACKS, _STARTS = range(10)


@numba.njit(cache=True)
def sum_share(table, share, packs, x, out):  # type: ignore[no-untyped-def]
    """Write a share of the rows of W X."""
    n, block = x.shape[1], table[_BLOCK]
    tiles, vectors = _tiles(n, PAIR_VECTORS)
    panel = room_for(block, LANES * PAIR_VECTORS if packs else 0)
    for tile in range(tiles):
        first, width = _tile(tile, tiles, vectors, n)
        apart = (width + LANES - 1) // LANES * LANES if packs else 0
        for b in range(table[_BLOCKS]):
            base, stride = rows_of(x, panel, b * block, block, first, width, apart)
            piece, count, value, column = _share(table, b, share)
            sum_pairs(
                table[_VALUES] + 4 * value, table[_COLUMNS] + 2 * column,
                table[_PIECES] + 4 * PIECE * piece, count, base, stride,
                address(out) + 4 * first, 4 * n, width, np.int64(b > 0),
            )  # fmt: skip
    keep_alive(panel)


@numba.njit(cache=True)
def _dot_share(table, share, packs, dy, x, out):  # type: ignore[no-untyped-def]
    """Write dY Xᵀ at the nonzeros of a share of the rows."""
    n, block = x.shape[1], table[_BLOCK]
    tiles, vectors = _tiles(n, DOT_VECTORS)
    panel = room_for(block, LANES * DOT_VECTORS if packs else 0)
    for tile in range(tiles):
        first, width = _tile(tile, tiles, vectors, n)
        apart = (width + LANES - 1) // LANES * LANES if packs else 0
        for b in range(table[_BLOCKS]):
            base, stride = rows_of(x, panel, b * block, block, first, width, apart)
            piece, count, value, column = _share(table, b, share)
            columns, pieces = table[_COLUMNS] + 2 * column, table[_PIECES] + 4 * PIECE * piece
            if n == 1:
                outer_pairs(address(dy), columns, pieces, count, base, address(out) + 4 * value)
            else:
                dot_pairs(
                    address(dy) + 4 * first, 4 * n, columns, pieces, count, base, stride,
                    address(out) + 4 * value, width, np.int64(tile > 0),
                )  # fmt: skip
    keep_alive(panel)


@numba.njit(cache=True)
def _tiles(n, most):  # type: ignore[no-untyped-def]
    """Return into how many tiles a batch is cut, and how many vectors they are together."""
    vectors = (n + LANES - 1) // LANES
    return (vectors + most - 1) // most, vectors


@numba.njit(cache=True)
def _tile(tile, tiles, vectors, n):  # type: ignore[no-untyped-def]
    """Return (first column, columns) of a tile: only the last one's may fill no whole vectors."""
    first = vectors * tile // tiles * LANES
    return first, min(n, vectors * (tile + 1) // tiles * LANES) - first


@numba.njit(cache=True)
def _share(table, block, share):  # type: ignore[no-untyped-def]
    """Return (first piece, pieces, first value, first column) of a share of a block."""
    at = _STARTS + 3 * (block * (table[_SHARES] + 1) + share)
    return table[at], table[at + 3] - table[at], table[at + 1], table[at + 2]


@numba.njit(parallel=True, cache=True)
def _multiply(table, x, out):  # type: ignore[no-untyped-def]
    require_layout(x)
    require_layout(out)
    packs = packs_tiles(x.shape[1], table[_PACKS])
    if loads_of(table[_ENTRIES], x.shape[1]) < table[_SERIAL]:
        for share in range(table[_SHARES]):
            sum_share(table, share, packs, x, out)
    else:
        for share in numba.prange(table[_SHARES]):
            sum_share(table, np.int64(share), packs, x, out)


@numba.njit(parallel=True, cache=True)
def _dot(table, dy, x, out):  # type: ignore[no-untyped-def]
    require_layout(dy)
    require_layout(x)
    require_layout(out)
    packs = packs_tiles(x.shape[1], table[_PACKS])
    if loads_of(table[_ENTRIES], x.shape[1]) < table[_SERIAL]:
        for share in range(table[_SHARES]):
            _dot_share(table, share, packs, dy, x, out)
    else:
        for share in numba.prange(table[_SHARES]):
            _dot_share(table, np.int64(share), packs, dy, x, out)


class NumbaTiled(SparseKernel):
    """Register-tiled CSR on the CPU."""

    name = "numba-tiled"
    title = "Numba CSR in registers"
    device = "cpu"
    format = "csr"
    arithmetic = ONLY_FP32
    source = "register tiling: Gale et al. 2020, Wilkinson et al. 2023; LLVM through numba"
    look = Look("#1a6fe6", "^", "-")

    def unsupported(self, problem: Problem) -> str | None:
        if max(problem.m, problem.k) > MOST_COLUMNS:
            return f"{self.name} has 16-bit indices: at most {MOST_COLUMNS:,} rows and columns."
        return super().unsupported(problem)

    def prepare(self, weight: Weight) -> TiledOperand:
        fill = chosen("fill-of-pairs", FILL, _measured_fill, numba.get_num_threads())
        return TiledOperand.of(weight.values, weight.pattern, fill)

    def ready(self, operand: TiledOperand, pass_: Pass, n: int) -> TiledOperand:
        found = replace(operand, layouts={(False, False): operand.main})
        if pass_ != "backward_weight":
            found.layout(pass_ == "backward_input", n)
        return found

    def explain(self, operand: TiledOperand, pass_: Pass, n: int) -> list[Choice]:
        if pass_ == "backward_weight":
            return operand.main.explain(n)
        return operand.layout(pass_ == "backward_input", n).explain(n)

    def forward(self, operand: TiledOperand, x: Any, out: Any) -> Any:
        _multiply(operand.layout(False, x.shape[1]).table, x, out)
        return out

    def backward_input(self, operand: TiledOperand, dy: Any, out: Any) -> Any:
        _multiply(operand.layout(True, dy.shape[1]).table, dy, out)
        return out

    def backward_weight(self, operand: TiledOperand, dy: Any, x: Any, out: Any) -> Any:
        _dot(operand.main.table, dy, x, out)
        return out

    def update(self, operand: TiledOperand, step: Any, rate: float) -> None:
        super().update(operand, step, rate)
        operand.refresh()


def _measured_fill(threads: int) -> int:
    """Return what percentage of the first cache the blocks of a middling product should fill."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((256, 1024), np.float32)
    values[rng.random(values.shape, np.float32) < 0.7] = 0
    x = aligned(rng.standard_normal((values.shape[1], TILE), np.float32))
    out = aligned_empty((values.shape[0], TILE), np.float32)
    fills = FILL, FILL // 2, 2 * FILL
    layouts = {fill: TiledOperand.of(values, values != 0, fill).main for fill in fills}
    return fastest(fills, lambda fill: _multiply(layouts[fill].table, x, out))
