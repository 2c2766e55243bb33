"""Which rows of a sparse matrix go together, and their entries in the order they are run."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from ..base import Array
from ..processor import aligned_empty
from .simd.pairs import PIECE, PIECE_OF_FOUR
from .threads import splits

# Rows that are looked at for a partner, and words of their masks in all.
_WINDOW = 64
_MOST_LOOKS = 1 << 28
_WORD = 64


@dataclass(frozen=True)
class Groups:
    """A matrix (rows, columns) as pieces of rows that go together, block by block."""

    shape: tuple[int, int]
    #: Columns of a block.
    block: int
    #: Rows of a piece: 2 or 4.
    together: int
    #: (pieces, 5 or 19): see ``simd.pairs``.
    pieces: NDArray[np.int32]
    #: Of entries, within their block.
    columns: NDArray[np.uint16]
    #: (nnz,) which entry of the matrix, row after row, each value is; empty where nobody asks.
    order: NDArray[np.int32]
    #: (blocks, threads + 1, 3): where pieces, values and columns of each thread's share begin.
    starts: NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        return self.pieces.nbytes + self.columns.nbytes + self.starts.nbytes

    @property
    def shared(self) -> float:
        """Return how many of the loads of rows of X are saved, of all that single rows take."""
        values = int(self.starts[-1, -1, 1])
        return 1 - self.columns.size / max(1, values)

    @classmethod
    def of(
        cls,
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        shape: tuple[int, int],
        block: int,
        together: int = 2,
    ) -> Groups:
        """Return the groups of rows of nonzeros that are sorted by row, then by column."""
        counts = np.bincount(rows, minlength=shape[0])
        pointers, cuts = np.append(0, np.cumsum(counts)), splits(counts)
        blocks, words = max(1, -(-shape[1] // block)), -(-min(block, shape[1]) // _WORD)
        window = max(1, min(_WINDOW, _MOST_LOOKS // max(1, shape[0] * blocks * words)))
        size = PIECE if together == 2 else PIECE_OF_FOUR
        pieces = np.empty((blocks * (shape[0] + cuts.size), size), np.int32)
        places = np.empty(columns.size, np.uint16)
        order = np.empty(columns.size, np.int32)
        starts = np.zeros((blocks, cuts.size, 3), np.int64)
        how = block, max(1, words), window
        used = _grouped(pointers, columns, cuts, *how, pieces, places, order, starts)
        kept = aligned_empty((used[1],), np.uint16)
        kept[...] = places[: used[1]]
        return cls(shape, block, together, pieces[: used[0]].copy(), kept, order, starts)


def _grouped(
    pointers: Array, columns: Array, cuts: Array, block: int, words: int, window: int,
    pieces: Array, places: Array, order: Array, starts: Array,
) -> tuple[int, int]:  # fmt: skip
    """Fill ``pieces``, ``places``, ``order`` and ``starts``; return pieces and columns written."""
    rows = pointers.size - 1
    masks, used = np.empty((rows, words), np.uint64), np.empty(rows, np.bool_)
    # Where a block begins and ends in each row.
    at, end = np.empty(rows, np.int64), pointers[:-1].copy()
    alone = np.empty((2, int(np.diff(pointers).max(initial=0))), np.int64)
    write = _pair if pieces.shape[1] == PIECE else _put_in_fours
    reached = np.zeros(3, np.int64)
    for b in range(starts.shape[0]):
        masks[...], used[...], at[...] = 0, False, end
        _enter(pointers, columns, b * block, block, masks, at, end)
        given = cuts, b, window, masks, used, at, end, columns, b * block, alone
        write(*given, pieces, places, order, starts, reached)
    return int(reached[0]), int(reached[2])


@numba.njit(cache=True)
def _enter(pointers, columns, first, block, masks, at, end):  # type: ignore[no-untyped-def]
    """Find where a block ends in each row, and set a bit of ``masks`` for each of its columns."""
    for i in range(at.size):
        p = at[i]
        while p < pointers[i + 1] and columns[p] < first + block:
            c = columns[p] - first
            masks[i, c >> 6] |= np.uint64(1) << np.uint64(c & 63)
            p += 1
        end[i] = p


@numba.njit(cache=True)
def _pair(  # type: ignore[no-untyped-def]
    cuts, b, window, masks, used, at, end, columns, first, alone, pieces, places, order, starts,
    reached
):  # fmt: skip
    """Write the pieces of block ``b``; ``reached`` (pieces, values, columns) goes on with them."""
    for part in range(cuts.size):
        for field in range(3):
            starts[b, part, field] = reached[field]
        stop = cuts[part + 1] if part + 1 < cuts.size else 0
        for i in range(cuts[part], stop):
            if used[i] or (at[i] == end[i] and b > 0):
                continue
            used[i] = True
            partner = _partner(masks[i], masks, used, i, stop, window)
            if partner >= 0:
                used[partner] = True
            _write_piece(i, partner, at, end, columns, first, alone, pieces, places, order, reached)


@numba.njit(cache=True)
def _partner(mask, masks, used, i, stop, window):  # type: ignore[no-untyped-def]
    """Return the row after ``i`` that has most of the columns in ``mask``; -1 if there is none."""
    best, most, seen = -1, -1, 0
    for r in range(i + 1, stop):
        if used[r]:
            continue
        common = 0
        for w in range(masks.shape[1]):
            common += _count_ones(mask[w] & masks[r, w])
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
    i, partner, at, end, columns, first, alone, pieces, places, order, reached
):
    """Write what rows ``i`` and ``partner`` have of a block."""
    if partner >= 0 and end[partner] - at[partner] > end[i] - at[i]:  # the longer one goes first
        i, partner = partner, i
    p, stop = at[i], end[i]
    q, other = (at[partner], end[partner]) if partner >= 0 else (0, 0)
    piece, value, column = reached[0], reached[1], reached[2]
    lone_p = lone_q = 0
    while p < stop or q < other:
        if q >= other or (p < stop and columns[p] < columns[q]):
            alone[0, lone_p] = p
            lone_p += 1
            p += 1
        elif p >= stop or columns[q] < columns[p]:
            alone[1, lone_q] = q
            lone_q += 1
            q += 1
        else:
            places[column] = columns[p] - first
            order[value] = p
            order[value + 1] = q
            value += 2
            column += 1
            p += 1
            q += 1
    both, turns = column - reached[2], min(lone_p, lone_q)
    for t in range(lone_p + turns):
        # Of both rows in turn as long as there are two.
        entry = alone[t & 1, t >> 1] if t < 2 * turns else alone[0, t - turns]
        places[column + t] = columns[entry] - first
        order[value + t] = entry
    pieces[piece, 0] = i
    pieces[piece, 1] = partner if partner >= 0 else i
    pieces[piece, 2] = both
    pieces[piece, 3] = turns
    pieces[piece, 4] = lone_p - turns
    reached[0] = piece + 1
    reached[1] = value + lone_p + turns
    reached[2] = column + lone_p + turns


@numba.njit(cache=True)
def _put_in_fours(  # type: ignore[no-untyped-def]
    cuts, b, window, masks, used, at, end, columns, first, alone, pieces, places, order, starts,
    reached
):  # fmt: skip
    """Write the pieces of four rows of block ``b``; ``reached`` goes on with them."""
    members = np.empty(4, np.int64)
    for part in range(cuts.size):
        for field in range(3):
            starts[b, part, field] = reached[field]
        stop = cuts[part + 1] if part + 1 < cuts.size else 0
        for i in range(cuts[part], stop):
            if used[i] or (at[i] == end[i] and b > 0):
                continue
            used[i] = True
            members[:] = i
            mask, count = masks[i].copy(), 1
            while count < 4:
                partner = _partner(mask, masks, used, i, stop, window)
                if partner < 0:
                    break
                used[partner] = True
                members[count] = partner
                mask |= masks[partner]
                count += 1
            _write_four(members, count, at, end, columns, first, pieces, places, order, reached)


@numba.njit(cache=True)
def _write_four(  # type: ignore[no-untyped-def]
    members, count, at, end, columns, first, pieces, places, order, reached
):
    """Write what ``count`` rows have of a block, pattern by pattern."""
    piece = pieces[reached[0]]
    piece[:4] = members
    piece[4:] = 0
    p = at[members]
    while True:
        pattern, _ = _next_pattern(members, count, p, end, columns)
        if not pattern:
            break
        piece[3 + pattern] += 1
    value, column = np.empty(16, np.int64), np.empty(16, np.int64)
    value[1], column[1] = reached[1], reached[2]
    for pattern in range(1, 15):
        value[pattern + 1] = value[pattern] + piece[3 + pattern] * _count_ones(np.uint64(pattern))
        column[pattern + 1] = column[pattern] + piece[3 + pattern]
    reached[0] += 1
    p[:] = at[members]
    while True:
        before = p.copy()
        pattern, place = _next_pattern(members, count, p, end, columns)
        if not pattern:
            break
        places[column[pattern]] = place - first
        column[pattern] += 1
        for r in range(count):
            if pattern >> r & 1:
                order[value[pattern]] = before[r]
                value[pattern] += 1
    reached[1], reached[2] = value[15], column[15]


@numba.njit(cache=True)
def _next_pattern(members, count, p, end, columns):  # type: ignore[no-untyped-def]
    """Return which rows have the next column, as bits, and the column; 0 at the end.

    ``p`` goes on beyond it.
    """
    least = np.int64(-1)
    for r in range(count):
        if p[r] < end[members[r]] and (least < 0 or columns[p[r]] < least):
            least = columns[p[r]]
    pattern = 0
    if least >= 0:
        for r in range(count):
            if p[r] < end[members[r]] and columns[p[r]] == least:
                pattern |= 1 << r
                p[r] += 1
    return pattern, least
