"""Loops over pairs of rows that write a product for each entry: the gradient of W.

Entries lie as ``pairs`` has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import types

from .emitting import apart
from .pairs import Entries, ask_for_rows, piece_at
from .vectors import (
    DOT_VECTORS,
    DOT_VECTORS_OF_BOTH,
    F32,
    GROUP,
    I32,
    I64,
    UNALIGNED,
    Emitter,
    emitted,
    loop,
)
from .widths import for_width


@emitted(types.void, *[types.int64] * 13)
@apart
def dot_pairs(
    builder: Any, dy: Any, dy_stride: Any, columns: Any, pieces: Any, count: Any, x: Any,
    stride: Any, out: Any, width: Any, add: Any, ahead: Any, ahead_stride: Any, ahead_rows: Any,
) -> None:  # fmt: skip
    """Write the dot product of rows of dY and X for each entry of ``count`` pieces to ``out``.

    As ``sum_pairs``; ``out`` is where the value of the first entry belongs. At most
    ``DOT_VECTORS`` vectors. Meanwhile ``ahead_rows`` rows of the next tile, at ``ahead``, are asked
    for.
    """
    adds = builder.icmp_signed("!=", add, I64(0))

    def emit_pieces(emitter: Emitter) -> None:
        def piece(i: Any, places: list[Any]) -> list[Any]:
            rows, counts = piece_at(emitter, pieces, i)
            ask_for_rows(emitter, i, ahead, ahead_stride, ahead_rows)
            dots = _Dots(Entries(emitter, x, stride, *places), adds)
            tiles = [builder.add(dy, builder.mul(row, dy_stride)) for row in rows]
            both = emitter.vectors <= DOT_VECTORS_OF_BOTH
            (dots.of_both if both else dots.of_each)(tiles, *counts)
            return [dots.entries.values, dots.entries.columns]

        loop(builder, I64(0), count, 1, [out, columns], piece)

    for_width(builder, width, emit_pieces, DOT_VECTORS, most_whole=1)


@emitted(types.void, *[types.int64] * 6)
@apart
def outer_pairs(
    builder: Any, dy: Any, columns: Any, pieces: Any, count: Any, x: Any, out: Any
) -> None:
    """Write dy x for each entry of ``count`` pieces to ``out``, where both are of one column."""
    emitter = Emitter(builder, lanes=1)

    def piece(i: Any, places: list[Any]) -> list[Any]:
        rows, (shared, turns, rest) = piece_at(emitter, pieces, i)
        factors = [emitter.read(dy, row, F32) for row in rows]
        entries = Entries(emitter, x, I64(4), *places)

        def over(count: Any, values: int, columns: int) -> None:
            def body(p: Any, _: Any) -> list[Any]:
                for r in range(values):
                    column = builder.add(builder.mul(p, I64(columns)), I64(r % columns))
                    number = emitter.read(entries.row(column), I64(0), F32)
                    target = builder.add(builder.mul(p, I64(values)), I64(r))
                    pointer = builder.inttoptr(entries.values, F32.as_pointer())
                    product = builder.fmul(factors[r], number)
                    builder.store(product, builder.gep(pointer, [target]))
                return []

            loop(builder, I64(0), count, 1, [], body)
            entries.advance(count, values, columns)

        over(shared, 2, 1)
        over(turns, 2, 2)
        over(rest, 1, 1)
        return [entries.values, entries.columns]

    loop(builder, I64(0), count, 1, [out, columns], piece)


class _Dots:
    """Emits the loops that write a dot product for each of a piece's entries."""

    def __init__(self, entries: Entries, adds: Any) -> None:
        self.entries, self.adds = entries, adds
        self.emitter, self.builder = entries.emitter, entries.builder

    def of_both(self, rows: Sequence[Any], shared: Any, turns: Any, rest: Any) -> None:
        """Write all products; a row of X that both rows want is loaded once."""
        tiles = [self.emitter.load_tile(row) for row in rows]
        self._section(shared, tiles, 2, 1)
        self._section(turns, tiles, 2, 2)
        self._section(rest, tiles[:1], 1, 1)

    def of_each(self, rows: Sequence[Any], shared: Any, turns: Any, rest: Any) -> None:
        """Write all products, those of one row after those of the other."""
        begin = self.entries.values, self.entries.columns
        for r, row in reversed(list(enumerate(rows))):
            self.entries.values, self.entries.columns = begin
            tile = self.emitter.load_tile(row)
            self._section(shared, [tile], 2, 1, r)
            self._section(turns, [tile], 2, 2, r)
        self._section(rest, [tile], 1, 1)

    def _section(
        self, count: Any, tiles: list[list[Any]], values: int, columns: int, only: int = 0
    ) -> None:
        """Write products of ``count`` places with so many values and columns, and go on.

        Of all their values, or of the one that the only tile is for.
        """
        builder, here = self.builder, range(len(tiles))
        together = GROUP // len(tiles)

        def products(p: Any) -> list[Any]:
            place = builder.mul(p, I64(columns))
            if columns == 1:
                return self._products(place, tiles)
            return [self._products(builder.add(place, I64(only + r)), [tiles[r]])[0] for r in here]

        def write(p: Any, sums: Any, places: int) -> None:
            first = builder.mul(p, I64(values))
            if len(tiles) == values and places > 1:
                self._write(sums, first)
                return
            for i in range(places * len(tiles)):
                step, r = divmod(i, len(tiles))
                number = builder.extract_element(sums, I32(i))
                self._write(number, builder.add(first, I64(step * values + only + r)))

        def several(p: Any, _: Any) -> list[Any]:
            found: list[Any] = []
            for i in range(together):
                found += products(builder.add(p, I64(i)))
            write(p, self.emitter.sums(found), together)
            return []

        def one(p: Any, _: Any) -> list[Any]:
            padding = [self.emitter.zero] * (GROUP - len(tiles))
            write(p, self.emitter.sums([*products(p), *padding]), 1)
            return []

        reached, _ = loop(builder, I64(0), count, together, [], several)
        loop(builder, reached, count, 1, [], one)
        self.entries.advance(count, values, columns)

    def _products(self, place: Any, tiles: list[list[Any]]) -> list[Any]:
        """Return the products of tiles with one row of X, before they are summed across lanes."""
        row, totals = self.entries.row(place), list[Any]()
        for v in range(self.emitter.vectors):
            vector = self.emitter.load(row, v)
            totals = [
                self.emitter.fma(tile[v], vector, totals[r])
                if v
                else self.builder.fmul(tile[v], vector)
                for r, tile in enumerate(tiles)
            ]
        return totals

    def _write(self, sums: Any, place: Any) -> None:
        builder = self.builder
        target = builder.add(self.entries.values, builder.mul(place, I64(4)))
        pointer = builder.inttoptr(target, sums.type.as_pointer())
        before = builder.load(pointer, align=UNALIGNED)
        kept = builder.select(self.adds, before, sums.type(None if _is_vector(sums) else 0.0))
        builder.store(builder.fadd(kept, sums), pointer, align=UNALIGNED)


def _is_vector(value: Any) -> bool:
    return isinstance(value.type, ir.VectorType)
