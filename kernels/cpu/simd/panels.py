"""X packed: tiles of its rows side by side, and panels.

Panels are (blocks of four rows, columns, 4), so that a column of a block is one load. Rows beyond
the last are zero. A single column is its own panel where its blocks are whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from numba.core import types

from .blocks import SIDE, least
from .emitting import apart
from .quads import QUAD_BYTES, Quads, for_few
from .vectors import (
    DOT_VECTORS,
    F32,
    I32,
    I64,
    PAIR_VECTORS,
    TILE_VECTORS,
    Emitter,
    emitted,
    first_lanes,
    loop,
)
from .widths import for_width


@emitted(types.void, *[types.int64] * 6)
@apart
def pack_panels(
    builder: Any, x: Any, rows: Any, n: Any, begin: Any, stop: Any, panels: Any
) -> None:
    """Write blocks ``begin`` to ``stop`` of four rows of ``x`` (rows, n) to ``panels``.

    Addresses; rows beyond the last are zero.
    """
    quads = Quads(builder)
    size = builder.mul(n, I64(QUAD_BYTES))  # of four rows, and of their panel
    whole = least(builder, stop, builder.udiv(rows, I64(SIDE)))

    def place(b: Any) -> tuple[Any, Any]:
        source = builder.add(x, builder.mul(b, size))
        return source, builder.add(panels, builder.mul(builder.sub(b, begin), size))

    def narrow(columns: int, b: Any, _: Any) -> list[Any]:
        source, target = place(b)
        four_rows = Emitter(builder, lanes=SIDE * columns).load(source, 0)
        lanes = [i * columns + j for j in range(columns) for i in range(SIDE)]
        quads.store(quads.shuffled(four_rows, four_rows, lanes), target)
        return []

    def block(b: Any, _: Any) -> list[Any]:
        source, target = place(b)
        there = builder.sub(rows, builder.mul(b, I64(SIDE)))
        _pack_block(quads, source, n, there, target)
        return []

    def emit(columns: int | None) -> None:
        if columns is None:
            loop(builder, begin, stop, 1, [], block)
            return
        reached, _ = loop(builder, begin, whole, 1, [], partial(narrow, columns))
        loop(builder, reached, stop, 1, [], block)

    for_few(builder, n, SIDE, emit)


def _pack_block(quads: Quads, source: Any, n: Any, there: Any, target: Any) -> None:
    """Write the panel of four rows, of which so many are ``there``."""
    builder = quads.builder
    mask, last = first_lanes(builder, there, SIDE), builder.sub(there, I64(1))
    lines = [
        builder.add(source, builder.mul(least(builder, I64(i), last), builder.mul(n, I64(4))))
        for i in range(SIDE)
    ]

    def write(j: Any, columns: Sequence[Any]) -> None:
        at = builder.add(target, builder.mul(j, I64(QUAD_BYTES)))
        for i, numbers in enumerate(columns):
            kept = builder.select(mask, numbers, quads.quad.zero)
            quads.store(kept, builder.add(at, I64(QUAD_BYTES * i)))

    def four(j: Any, _: Any) -> list[Any]:
        offset = builder.mul(j, I64(4))
        write(j, quads.transposed([quads.numbers(builder.add(line, offset)) for line in lines]))
        return []

    def one(j: Any, _: Any) -> list[Any]:
        numbers = quads.quad.zero
        for i, line in enumerate(lines):
            numbers = builder.insert_element(numbers, quads.quad.read(line, j, F32), I32(i))
        write(j, [numbers])
        return []

    reached, _ = loop(builder, I64(0), n, SIDE, [], four)
    loop(builder, reached, n, 1, [], one)


@emitted(types.void, *[types.int64] * 6)
@apart
def copy_rows(
    builder: Any, x: Any, stride: Any, count: Any, panel: Any, panel_stride: Any, width: Any
) -> None:
    """Copy ``width`` numbers of each of ``count`` rows of ``x`` to ``panel``.

    Addresses, and strides in bytes; at most as many numbers as any tile has.
    """

    def emit(emitter: Emitter) -> None:
        def body(j: Any, _: Any) -> list[Any]:
            source = builder.add(x, builder.mul(j, stride))
            target = builder.add(panel, builder.mul(j, panel_stride))
            emitter.store_tile(emitter.load_tile(source), target)
            return []

        loop(builder, I64(0), count, 1, [], body)

    for_width(builder, width, emit, max(TILE_VECTORS, PAIR_VECTORS, DOT_VECTORS))
