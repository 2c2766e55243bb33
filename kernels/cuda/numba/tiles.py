"""How threads of the tiled CUDA kernels share the work: one choice by size, and what to try else.

The choice follows a race of all :func:`candidates` on an H200 (132 multiprocessors, 64 Ki registers
and 2,048 threads each; fifteen problems, 90 % sparse for the most part; see kernels/TUNING.md): a
whole warp on a row, the longer along the batch the better for the caches, as long as there are
threads enough; where there are not, the warp's parts share the row's nonzeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from ...base import Choice, Pass

_WARP = 32
#: About 1,024 threads for each of 132 multiprocessors: enough to hide the caches' latency.
_ENOUGH_THREADS = 1 << 17
#: Half of them do, if two turns of loads are in flight per thread instead of one.
_FEW_THREADS = 1 << 16
#: Threads of a block; the larger one where there is work enough, for its rows share X's rows.
_SMALL_BLOCK, _LARGE_BLOCK = 128, 1024
#: Rows with fewer nonzeros are over before a warp's loads are in flight: half a warp does.
_LONG_ROW = 96
#: Below this batch a subwarp along the batch would idle: SDDMM gives each thread a nonzero.
_NARROW = 16


@dataclass(frozen=True)
class Tile:
    """How a block's threads share the work of a pass."""

    #: Subwarps that share the nonzeros of a row.
    splits: int
    #: Threads along the batch.
    lanes: int
    #: Elements per load: 4, or 1 where rows of X are not aligned.
    vector: int
    #: Loads per thread and row of X.
    pieces: int
    #: Rows of W per block.
    rows: int
    #: The most registers per thread.
    registers: int = 64

    @property
    def columns(self) -> int:
        """Return how many columns of the batch the threads of a row hold."""
        return self.lanes * self.vector * self.pieces

    @property
    def width(self) -> int:
        """Return the threads of a row."""
        return self.splits * self.lanes

    @property
    def name(self) -> str:
        """Return splits, lanes, vector and pieces, then rows and registers."""
        return (
            f"{self.splits}x{self.lanes}x{self.vector}x{self.pieces}-r{self.rows}-g{self.registers}"
        )


@lru_cache(maxsize=1024)
def choose(pass_: Pass, rows: int, nnz: int, n: int, aligned: bool = True) -> Tile:
    """Return the tile for a matrix of ``rows`` with ``nnz`` nonzeros, and a batch of n.

    For ``backward_input`` the matrix is Wᵀ. ``aligned`` says whether X and the result begin at
    a multiple of 16 bytes.
    """
    mean = nnz / max(rows, 1)
    vector = 4 if n % 4 == 0 and aligned else 1
    if n == 1 or (pass_ == "backward_weight" and n < _NARROW):
        # A thread per nonzero, four turns a row.
        return _blocked(Tile(_power(mean / 4, 4, _WARP), 1, vector, 1, 0), rows)
    if pass_ == "backward_weight":
        return _sampling(rows, mean, n, vector)
    if vector == 1 or n < 4 * _NARROW:
        lanes = _power(n / vector, 1, 8 if vector == 4 else _WARP)
        threads = rows * lanes * -(-n // (lanes * vector))
        tile = Tile(_splits(threads, mean, lanes), lanes, vector, 1, 0)
        return _blocked(tile, rows, threads)
    for tile, enough, least in _PRODUCTS:
        threads = rows * tile.width * -(-n // tile.columns)
        if n >= tile.columns and threads >= enough and mean >= least:
            break
    # A turn of four nonzeros for each part at least.
    splits = _power(mean / 4, 1, tile.splits)
    return _blocked(replace(tile, splits=splits), rows, threads)


#: What a product of aligned rows is shared by, with the least threads and nonzeros of a row: the
#: first for which there are as many, or else the last.
_PRODUCTS = (
    (Tile(1, 32, 4, 2, 0), _ENOUGH_THREADS, _LONG_ROW),
    (Tile(1, 32, 4, 1, 0), _ENOUGH_THREADS, _LONG_ROW),
    (Tile(1, 16, 4, 2, 0), 2 * _ENOUGH_THREADS, 0),
    (Tile(2, 16, 4, 2, 0), _FEW_THREADS, 0),
    (Tile(4, 8, 4, 2, 0), _FEW_THREADS, 0),
    (Tile(4, 8, 4, 1, 0), 0, 0),
)


def candidates(pass_: Pass, rows: int, nnz: int, n: int) -> tuple[Tile, ...]:
    """Return the tiles worth timing for a problem, the chosen one first."""
    chosen = choose(pass_, rows, nnz, n)
    found = [chosen]
    if chosen.lanes == 1:
        found += [replace(chosen, splits=splits) for splits in (4, 8, 16, 32)]
    else:
        widths = [lanes for lanes in (4, 8, 16, 32) if lanes * chosen.vector <= n]
        found += [
            replace(chosen, lanes=lanes, pieces=pieces, splits=splits, registers=_registers(pieces))
            for lanes in widths
            for pieces in (1, 2, 4)
            for splits in (1, 2, 4)
            if lanes * splits <= _WARP and lanes * chosen.vector * pieces <= n
        ]
    sized = [
        replace(tile, rows=block // tile.width)
        for tile in found
        for block in (128, 256, 512, 1024)
        if tile.registers * block <= 1 << 16
    ]
    return tuple(dict.fromkeys([chosen, *sized]))


def explain(pass_: Pass, rows: int, nnz: int, n: int, chosen: Tile) -> list[Choice]:
    """Return the tile of a pass and those worth timing beside it, with the work of each.

    ``crossover.kernels.variants.cuda_tiles`` has a kernel for each.
    """
    others = [tile for tile in candidates(pass_, rows, nnz, n) if tile != chosen]
    wanted = f"about {_ENOUGH_THREADS:,} threads hide the caches' latency"
    return [
        Choice("tile", chosen.name, f"{_work(pass_, chosen, rows, nnz, n)}; {wanted}"),
        *(Choice("or", tile.name, _work(pass_, tile, rows, nnz, n)) for tile in others),
    ]


def _work(pass_: Pass, tile: Tile, rows: int, nnz: int, n: int) -> str:
    """Return how many threads a pass has by ``tile``, and what one of them loads."""
    mean, sampling = nnz / max(rows, 1), pass_ == "backward_weight"
    if tile.lanes > 1:
        turn, loads = 4 * tile.splits, 4 * tile.pieces + (1 if sampling else 2)
    elif sampling:
        turn, loads = tile.splits, 1 + 2 * -(-n // tile.vector)
    else:
        turn, loads = 4 * tile.splits, 12
    parts = 1 if sampling or n == 1 else -(-n // tile.columns)
    return (
        f"{rows * tile.width * parts:,} threads, {tile.columns} columns at a time; a row of "
        f"{mean:.1f} nonzeros takes {math.ceil(mean / turn)} turns of {loads} loads"
    )


def _sampling(rows: int, mean: float, n: int, vector: int) -> Tile:
    """Return the SDDMM tile: a warp on a row where that fills the GPU, else parts of one."""
    if vector == 4 and rows * _WARP >= _ENOUGH_THREADS and n >= 4 * _WARP:
        if n >= 8 * _WARP:
            return _blocked(Tile(1, 32, 4, 2, 0), rows, _ENOUGH_THREADS)
        return _blocked(Tile(2, 16, 4, 2, 0), rows)
    # As much of dY's row in registers as fits: up to 4 loads, the largest power of two that n
    # fills. The sums of four nonzeros are reduced over four lanes or more.
    lanes = _power(n / vector, 1, 8 if vector == 4 else _WARP)
    pieces = min(_power(n / (lanes * vector) + 1, 2, 8) // 2, 4)
    lanes = max(lanes, 4)
    splits = _splits(rows * lanes, mean, lanes)
    return _blocked(Tile(splits, lanes, vector, pieces, 0, _registers(pieces)), rows)


def _registers(pieces: int) -> int:
    """Return the most registers for a tile: what keeps the compiler from spilling, no more."""
    return 96 if pieces == 4 else 64


def _splits(threads: int, mean: float, lanes: int) -> int:
    """Return how many subwarps share a row: until there are enough, with two turns for each."""
    wanted = min(_ENOUGH_THREADS / max(threads, 1), mean / 8)
    return _power(wanted / 2 + 0.5, 1, _WARP // lanes)


def _blocked(tile: Tile, rows: int, threads: int = 0) -> Tile:
    """Return ``tile`` with the rows of its block, whole warps but no more than there are."""
    block = _LARGE_BLOCK if threads >= _ENOUGH_THREADS else _SMALL_BLOCK
    most = block // tile.width
    return replace(tile, rows=min(most, max(_power(rows, 1, most), _WARP // tile.width)))


def _power(least: float, low: int, high: int) -> int:
    """Return the smallest power of two that is at least ``least``, between two such powers."""
    power = low
    while power < min(least, high):
        power *= 2
    return power
