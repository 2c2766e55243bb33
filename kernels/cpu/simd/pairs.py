"""Loops over rows of W in pairs and in fours: a row of X that several want is loaded once for all.

Technique: Wilkinson et al. 2023 (Sparse Register Tiling). What a pair holds of a block of columns
is a *piece*: five 32-bit integers, which are both rows, and how many columns
 1. both rows have, two values each,
 2. one row has, of both in turn, so that the sums of two rows go side by side,
 3. the first row has beyond these.
A piece of four rows has their numbers, and how many columns each of the 15 patterns has; a pattern
is a number whose bits are the rows that have a column. Entries lie in this order, piece after
piece: W is read from its beginning to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numba.core import types

from .emitting import apart, load_here
from .vectors import (
    CHAINS,
    F32,
    FOUR_VECTORS,
    GROUP,
    I16,
    I64,
    PAIR_VECTORS,
    Emitter,
    emit_prefetch,
    emitted,
    loop,
)
from .widths import for_overlap, for_several, for_stride

#: 32-bit integers of a piece of two rows, and of four.
PIECE = 5
PATTERNS = range(1, 16)
PIECE_OF_FOUR = 4 + len(PATTERNS)

_LINE = 64  # bytes of a line of a cache

Sums = list[list[Any]]


@emitted(types.void, *[types.int64] * 13)
@apart
def sum_pairs(
    builder: Any, values: Any, columns: Any, pieces: Any, count: Any, x: Any, stride: Any,
    out: Any, out_stride: Any, width: Any, add: Any, ahead: Any, ahead_stride: Any,
    ahead_rows: Any,
) -> None:  # fmt: skip
    """Write the products of ``count`` pieces with rows of X to their rows of ``out``.

    Addresses, and strides in bytes. ``values`` and 16-bit ``columns`` are those of the first piece
    on; ``x`` is the first row of the block. At most ``PAIR_VECTORS`` vectors of ``width`` numbers.
    Where ``add`` is not 0 products are added to what is there. Meanwhile it asks for the rows at
    ``ahead``, which come next.
    """
    adds = builder.icmp_signed("!=", add, I64(0))

    def emit_pieces(emitter: Emitter, stride: Any) -> None:
        def piece(i: Any, places: list[Any]) -> list[Any]:
            rows, counts = piece_at(emitter, pieces, i)
            targets = [builder.add(out, builder.mul(row, out_stride)) for row in rows]
            sums = [emitter.load_tile_if(adds, target) for target in targets]
            ask_for_rows(emitter, i, ahead, ahead_stride, ahead_rows)
            entries = Entries(emitter, x, stride, *places)
            sums = entries.shared(counts[0], sums)
            first, second = entries.in_turn(counts[1], sums)
            # Where there is no second row it is the first, whose own sum is written after it.
            emitter.store_tile(second, targets[1])
            emitter.store_tile(entries.alone(counts[2], first), targets[0])
            return [entries.values, entries.columns]

        loop(builder, I64(0), count, 1, [values, columns], piece)

    for_overlap(builder, width, lambda e: for_stride(e, stride, emit_pieces), PAIR_VECTORS)


@emitted(types.void, *[types.int64] * 10)
@apart
def sum_fours(
    builder: Any, values: Any, columns: Any, pieces: Any, count: Any, x: Any, stride: Any,
    out: Any, out_stride: Any, width: Any, add: Any,
) -> None:  # fmt: skip
    """Do as :func:`sum_pairs` does with pieces of four rows, for 2 to ``FOUR_VECTORS`` vectors."""
    adds = builder.icmp_signed("!=", add, I64(0))

    def emit_pieces(emitter: Emitter) -> None:
        def piece(i: Any, places: list[Any]) -> list[Any]:
            rows, counts = piece_at(emitter, pieces, i, 4)
            targets = [builder.add(out, builder.mul(row, out_stride)) for row in rows]
            sums = [emitter.load_tile_if(adds, target) for target in targets]
            entries = Entries(emitter, x, stride, *places)
            for pattern, number in zip(PATTERNS, counts, strict=True):
                among = [r for r in range(4) if pattern >> r & 1]
                found = entries.shared(number, [sums[r] for r in among])
                for r, total in zip(among, found, strict=True):
                    sums[r] = total
            # Where there are fewer rows the others are the first, whose own sum is written last.
            for target, total in reversed(list(zip(targets, sums, strict=True))):
                emitter.store_tile(total, target)
            return [entries.values, entries.columns]

        loop(builder, I64(0), count, 1, [values, columns], piece)

    for_several(builder, width, emit_pieces, FOUR_VECTORS)


def piece_at(
    emitter: Emitter, pieces: Any, i: Any, together: int = 2
) -> tuple[list[Any], list[Any]]:
    """Return the rows of the ``i``-th piece, and its counts."""
    builder, size = emitter.builder, PIECE if together == 2 else PIECE_OF_FOUR
    record = builder.add(pieces, builder.mul(i, I64(4 * size)))
    fields = [emitter.read_int(record, I64(field)) for field in range(size)]
    load_here(builder)
    return fields[:together], fields[together:]


def ask_for_rows(emitter: Emitter, i: Any, first: Any, stride: Any, count: Any) -> None:
    """Emit requests for the ``i``-th of ``count`` rows of a later tile, into the second cache.

    They lie so far apart that the processor does not ask for them by itself.
    """
    if emitter.vectors == 1:  # there is no later tile
        return
    builder = emitter.builder
    with builder.if_then(builder.icmp_signed("<", i, count)):
        row = builder.add(first, builder.mul(i, stride))
        for line in range(-(-emitter.vectors * emitter.lanes * 4 // _LINE)):
            emit_prefetch(builder, builder.add(row, I64(_LINE * line)), cache=2)


class Entries:
    """Emits the loops over a piece's entries; ``values`` and ``columns`` are where it got to."""

    def __init__(self, emitter: Emitter, x: Any, stride: Any, values: Any, columns: Any) -> None:
        self.emitter, self.builder = emitter, emitter.builder
        self.x, self.stride = x, stride
        self.values, self.columns = values, columns

    def shared(self, count: Any, sums: Sums) -> Sums:
        """Return the sums of some rows with ``count`` columns added that all of them have."""
        rows = len(sums)

        def add(sums: Sums, place: Any) -> Sums:
            row = self.row(place)
            first = self.builder.mul(place, I64(rows))
            factors = [self.value(self.builder.add(first, I64(r))) for r in range(rows)]
            found: Sums = [[] for _ in sums]
            for v in range(self.emitter.vectors):
                vector = self.emitter.load(row, v)
                for factor, total, new in zip(factors, sums, found, strict=True):
                    new.append(self.emitter.fma(factor, vector, total[v]))
            return found

        sums = self._over(count, sums, add)
        self.advance(count, rows, 1)
        return sums

    def in_turn(self, count: Any, sums: Sums) -> Sums:
        """Return both sums with ``count`` entries added to each, first and second in turn."""

        def add(sums: Sums, place: Any) -> Sums:
            first = self.builder.mul(place, I64(2))
            return [
                self._added(self.builder.add(first, I64(r)), total) for r, total in enumerate(sums)
            ]

        sums = self._over(count, sums, add)
        self.advance(count, 2, 2)
        return sums

    def alone(self, count: Any, total: list[Any]) -> list[Any]:
        """Return a sum with ``count`` entries added."""
        [total] = self._over(count, [total], lambda sums, p: [self._added(p, sums[0])])
        self.advance(count, 1, 1)
        return total

    def row(self, place: Any) -> Any:
        """Return the address of the row of X that the ``place``-th column names."""
        index = self.builder.zext(self.emitter.read(self.columns, place, I16), I64)
        return self.builder.add(self.x, self.builder.mul(index, self.stride))

    def value(self, place: Any) -> Any:
        """Return the ``place``-th value in every lane."""
        return self.emitter.splat(self.emitter.read(self.values, place, F32))

    def advance(self, count: Any, values: int, columns: int) -> None:
        """Go on to what follows ``count`` times as many values and columns."""
        builder = self.builder
        self.values = builder.add(self.values, builder.mul(count, I64(4 * values)))
        self.columns = builder.add(self.columns, builder.mul(count, I64(2 * columns)))

    def _added(self, place: Any, total: Sequence[Any]) -> list[Any]:
        row, factor = self.row(place), self.value(place)
        return [
            self.emitter.fma(factor, self.emitter.load(row, v), each)
            for v, each in enumerate(total)
        ]

    def _over(self, count: Any, sums: Sums, add: Callable[[Sums, Any], Sums]) -> Sums:
        """Return the sums after ``add`` (sums, place) for each of ``count`` places.

        As many sets of sums side by side as keep the multiply-adds from waiting for each other.
        """
        width, rows = self.emitter.vectors, len(sums)
        sets = min(GROUP, max(1, CHAINS // (2 * width))) if rows <= 2 else 1

        def nested(flat: Sequence[Any], part: int) -> Sums:
            start = part * rows * width
            return [list(flat[start + r * width : start + (r + 1) * width]) for r in range(rows)]

        def several(p: Any, flat: list[Any]) -> list[Any]:
            found = [nested(flat, part) for part in range(sets)]
            for i in range(sets):
                found[i] = add(found[i], self.builder.add(p, I64(i)))
            return [each for part in found for total in part for each in total]

        zeros = [self.emitter.zero] * (rows * width * (sets - 1))
        first = [each for total in sums for each in total]
        reached, flat = loop(self.builder, I64(0), count, sets, [*first, *zeros], several)
        sums = nested(flat, 0)
        if sets == 1:
            return sums
        for part in range(1, sets):
            sums = [
                [self.builder.fadd(*both) for both in zip(*totals, strict=True)]
                for totals in zip(sums, nested(flat, part), strict=True)
            ]

        def one(p: Any, flat: list[Any]) -> list[Any]:
            return [each for total in add(nested(flat, 0), p) for each in total]

        _, flat = loop(
            self.builder, reached, count, 1, [each for total in sums for each in total], one
        )
        return nested(flat, 0)
