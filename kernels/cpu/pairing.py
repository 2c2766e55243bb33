"""Which rows of a sparse matrix go in pairs, and their entries in the order they are run."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from ..processor import aligned_empty
from .simd.pairs import PIECE
from .threads import splits

# Rows that are looked at for a partner, and words of their masks in all.
_WINDOW = 64
_MOST_LOOKS = 1 << 28
_WORD = 64


@dataclass(frozen=True)
class Pairs:
    """A matrix (rows, columns) as pieces, block by block of its columns, cut for threads."""

    shape: tuple[int, int]
    #: Columns of a block.
    block: int
    #: (pieces, 5): see ``simd.pairs``.
    pieces: NDArray[np.int32]
    #: Of entries, within their block.
    columns: NDArray[np.uint16]
    #: (nnz,) which entry of the matrix, row after row, each value is.
    order: NDArray[np.int32]
    #: (blocks, threads + 1, 3): where pieces, values and columns of each thread's share begin.
    starts: NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        return self.pieces.nbytes + self.columns.nbytes + self.starts.nbytes

    @property
    def shared(self) -> float:
        """Return the share of the entries whose row of X is loaded for another one, too."""
        return 2 * (1 - self.columns.size / max(1, self.order.size))

    @classmethod
    def of(
        cls,
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        shape: tuple[int, int],
        block: int,
    ) -> Pairs:
        """Return the pairs of nonzeros that are sorted by row, then by column."""
        counts = np.bincount(rows, minlength=shape[0])
        pointers, cuts = np.append(0, np.cumsum(counts)), splits(counts)
        blocks, words = max(1, -(-shape[1] // block)), -(-min(block, shape[1]) // _WORD)
        window = max(1, min(_WINDOW, _MOST_LOOKS // max(1, shape[0] * blocks * words)))
        pieces = np.empty((blocks * (shape[0] + cuts.size), PIECE), np.int32)
        places = np.empty(columns.size, np.uint16)
        order = np.empty(columns.size, np.int32)
        starts = np.zeros((blocks, cuts.size, 3), np.int64)
        how = block, max(1, words), window
        used = _paired(pointers, columns, cuts, *how, pieces, places, order, starts)
        kept = aligned_empty((used[1],), np.uint16)
        kept[...] = places[: used[1]]
        return cls(shape, block, pieces[: used[0]].copy(), kept, order, starts)


@numba.njit(cache=True)
def _paired(pointers, columns, cuts, block, words, window, pieces, places, order, starts):  # type: ignore[no-untyped-def]
    """Fill ``pieces``, ``places``, ``order`` and ``starts``; return pieces and columns written."""
    rows = pointers.size - 1
    at = pointers[:-1].copy()  # where the block begins in each row
    end = at.copy()
    masks = np.zeros((rows, words), np.uint64)
    used = np.zeros(rows, np.bool_)
    piece = value = column = 0
    for b in range(starts.shape[0]):
        first = b * block
        masks[:] = 0
        used[:] = False
        for i in range(rows):
            p = at[i] = end[i]
            while p < pointers[i + 1] and columns[p] < first + block:
                c = columns[p] - first
                masks[i, c >> 6] |= np.uint64(1) << np.uint64(c & 63)
                p += 1
            end[i] = p
        for part in range(cuts.size - 1):
            starts[b, part] = piece, value, column
            for i in range(cuts[part], cuts[part + 1]):
                if used[i] or (at[i] == end[i] and b > 0):
                    continue
                used[i] = True
                partner = _partner(masks, used, i, cuts[part + 1], window)
                if partner >= 0:
                    used[partner] = True
                value, column = _write_piece(
                    i, partner, at, end, columns, first, pieces[piece], places, order, value, column
                )
                piece += 1
        starts[b, cuts.size - 1] = piece, value, column
    return piece, column


@numba.njit(cache=True)
def _partner(masks, used, i, stop, window):  # type: ignore[no-untyped-def]
    """Return the row after ``i`` that shares most columns with it; -1 if there is none."""
    best, most, seen = -1, -1, 0
    for r in range(i + 1, stop):
        if used[r]:
            continue
        common = 0
        for w in range(masks.shape[1]):
            common += _count_ones(masks[i, w] & masks[r, w])
        if common > most:
            best, most = r, common
        seen += 1
        if seen == window:
            break
    return best


@numba.njit(cache=True)
def _count_ones(word):  # type: ignore[no-untyped-def]
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + (
        (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@numba.njit(cache=True)
def _write_piece(  # type: ignore[no-untyped-def]
    i, partner, at, end, columns, first, piece, places, order, value, column
):
    """Write what rows ``i`` and ``partner`` have of a block; return where to go on."""
    p, stop = at[i], end[i]
    q = at[partner] if partner >= 0 else 0
    other = end[partner] if partner >= 0 else 0
    if partner >= 0 and other - q > stop - p:  # the longer one goes first
        i, partner = partner, i
        p, stop, q, other = q, other, p, stop
    alone_p = np.empty(stop - p, np.int64)
    alone_q = np.empty(max(0, other - q), np.int64)
    both = lone_p = lone_q = 0
    while p < stop or q < other:
        if q >= other or (p < stop and columns[p] < columns[q]):
            alone_p[lone_p] = p
            lone_p += 1
            p += 1
        elif p >= stop or columns[q] < columns[p]:
            alone_q[lone_q] = q
            lone_q += 1
            q += 1
        else:
            places[column] = columns[p] - first
            order[value], order[value + 1] = p, q
            value += 2
            column += 1
            both += 1
            p += 1
            q += 1
    turns = min(lone_p, lone_q)
    for t in range(lone_p):
        for entry in (alone_p[t], alone_q[t] if t < turns else -1):
            if entry >= 0:
                places[column] = columns[entry] - first
                order[value] = entry
                value += 1
                column += 1
    piece[0] = i
    piece[1] = partner if partner >= 0 else i
    piece[2], piece[3], piece[4] = both, turns, lone_p - turns
    return value, column
