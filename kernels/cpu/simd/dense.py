"""Products of a dense W in blocks of 4 x 4 with few columns.

A vector of W is multiplied with the four numbers of x that its columns meet, repeated for each of
its rows, so that a single image fills all lanes, and no value of W is broadcast. X comes in panels.
Vectors are summed across lanes once, at the end.

Blocks beyond the last are read as the last one, and nothing is written for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from numba.core import types

from .blocks import BLOCK_BYTES, SIDE, least
from .emitting import apart
from .quads import QUAD_BYTES, ROWS, VECTORS, Quads, for_count
from .vectors import I64, LANES, emitted, loop

#: Columns of X that are gone through together. Half of the registers hold sums.
MOST_COLUMNS = 4 if LANES == 16 else 2
# Per number of columns: blocks of W that each column of X is multiplied with once it is loaded.
_FORWARD_BLOCKS = {1: 8, 2: 8, 3: 4, 4: 4} if LANES == 16 else {1: 4, 2: 2}
_BACKWARD_BLOCKS = {1: 16, 2: 8, 3: 4, 4: 4} if LANES == 16 else {1: 8 // VECTORS, 2: 2}


@emitted(types.void, *[types.int64] * 10)
@apart
def sum_dense_rows(
    builder: Any, values: Any, across: Any, begin: Any, stop: Any, panels: Any, n: Any, out: Any,
    rows: Any, left: Any, count: Any,
) -> None:  # fmt: skip
    """Write columns ``left`` on of W X to the rows of ``out`` of block rows ``begin`` to ``stop``.

    Addresses of W, ``across`` blocks wide, of the panels of X and of ``out`` (rows, n); ``count``
    columns, at most ``MOST_COLUMNS``.
    """
    quads = Quads(builder)

    def emit(columns: int) -> None:
        step = _FORWARD_BLOCKS[columns]

        def some_rows(i: Any, _: Any) -> list[Any]:
            last = builder.sub(stop, I64(1))
            starts = []
            for r in range(step):
                row = least(builder, builder.add(i, I64(r)), last)
                offset = builder.mul(builder.mul(row, across), I64(BLOCK_BYTES))
                starts.append(builder.add(values, offset))
            sums = _summed(
                quads,
                across,
                lambda c, s: _forward_block(quads, columns, starts, panels, n, left, c, s),
                step * VECTORS * columns,
            )
            _store_rows(quads, columns, step, sums, i, stop, rows, out, n, left)
            return []

        # The last, incomplete step too.
        limit = builder.add(stop, I64(step - 1))
        loop(builder, begin, limit, step, [], some_rows)

    for_count(builder, count, MOST_COLUMNS, emit)


def _summed(quads: Quads, count: Any, add: Any, sums: int) -> list[Any]:
    zeros = [quads.emitter.zero] * sums
    _, found = loop(quads.builder, I64(0), count, 1, zeros, add)
    return found


def _forward_block(
    quads: Quads, columns: int, starts: Sequence[Any], panels: Any, n: Any, left: Any, c: Any,
    sums: Sequence[Any],
) -> list[Any]:  # fmt: skip
    """Return the sums with the ``c``-th block of each row added; by row, vector, column."""
    builder = quads.builder
    place = builder.add(builder.mul(c, n), left)
    x = builder.add(panels, builder.mul(place, I64(QUAD_BYTES)))
    factors = [
        quads.in_every_row(quads.numbers(builder.add(x, I64(QUAD_BYTES * j))))
        for j in range(columns)
    ]
    offset = builder.mul(c, I64(BLOCK_BYTES))
    found = list(sums)
    for r, start in enumerate(starts):
        for v in range(VECTORS):
            block = quads.emitter.load(builder.add(start, offset), v)
            for j, factor in enumerate(factors):
                at = (r * VECTORS + v) * columns + j
                found[at] = quads.emitter.fma(block, factor, found[at])
    return found


def _store_rows(
    quads: Quads, columns: int, step: int, sums: Sequence[Any], i: Any, stop: Any, rows: Any,
    out: Any, n: Any, left: Any,
) -> None:  # fmt: skip
    """Write the sums of ``step`` block rows from the ``i``-th on."""
    builder = quads.builder
    together = SIDE // columns  # block rows whose sums fill a quad
    end = least(builder, builder.mul(stop, I64(SIDE)), rows)
    first = builder.mul(i, I64(SIDE))
    whole = builder.icmp_signed("<=", builder.add(first, I64(SIDE * step)), end)
    write = _row_writer(quads, out, n, left, end)
    totals = [
        [
            quads.sums_of_rows(
                [
                    sums[((r + b) * VECTORS + v) * columns + j]
                    for b in range(together)
                    for j in range(columns)
                ]
            )
            for v in range(VECTORS)
        ]
        for r in range(0, step, together)
    ]

    def rows_apart() -> None:
        for r, vectors in zip(range(0, step, together), totals, strict=True):
            for v, vector in enumerate(vectors):
                for i in range(ROWS):
                    quad = quads.quad_of(vector, i)
                    for b in range(together):
                        row = builder.add(first, I64(SIDE * (r + b) + v * ROWS + i))
                        write(row, quad, b * columns, columns)

    def one_column() -> None:
        in_order = [SIDE * (i % SIDE) + i // SIDE for i in range(SIDE * SIDE)]
        for r, vectors in zip(range(0, step, SIDE), totals, strict=True):
            block = quads.joined(vectors)
            line = quads.shuffled(block, block, in_order)
            place = builder.add(first, I64(SIDE * r))
            quads.store(line, builder.add(out, builder.mul(place, I64(4))))

    _stored(builder, columns, n, whole, one_column, rows_apart)


@emitted(types.void, *[types.int64] * 11)
@apart
def sum_dense_columns(
    builder: Any, values: Any, down: Any, across: Any, begin: Any, stop: Any, panels: Any, n: Any,
    out: Any, columns_of_w: Any, left: Any, count: Any,
) -> None:  # fmt: skip
    """Write columns ``left`` on of Wᵀ dY to the rows of ``out`` of block columns [begin, stop).

    Addresses of W, ``down`` times ``across`` blocks, of the panels of dY and of ``out``
    (columns_of_w, n); ``count`` columns, at most ``MOST_COLUMNS``.
    """
    quads = Quads(builder)
    stride = builder.mul(across, I64(BLOCK_BYTES))

    def emit(columns: int) -> None:
        step = _BACKWARD_BLOCKS[columns]

        def some_columns(c: Any, _: Any) -> list[Any]:
            last = builder.sub(stop, I64(1))
            starts = []
            for b in range(step):
                column = least(builder, builder.add(c, I64(b)), last)
                starts.append(builder.add(values, builder.mul(column, I64(BLOCK_BYTES))))

            def add(r: Any, sums: Sequence[Any]) -> list[Any]:
                return _backward_block(quads, columns, starts, stride, panels, n, left, r, sums)

            sums = _summed(quads, down, add, step * VECTORS * columns)
            _store_columns(quads, columns, step, sums, c, stop, columns_of_w, out, n, left)
            return []

        limit = builder.add(stop, I64(step - 1))
        loop(builder, begin, limit, step, [], some_columns)

    for_count(builder, count, MOST_COLUMNS, emit)


def _backward_block(
    quads: Quads, columns: int, starts: Sequence[Any], stride: Any, panels: Any, n: Any, left: Any,
    r: Any, sums: Sequence[Any],
) -> list[Any]:  # fmt: skip
    """Return the sums with the ``r``-th block of each column added; by block, vector, column."""
    builder = quads.builder
    place = builder.add(builder.mul(r, n), left)
    dy = builder.add(panels, builder.mul(place, I64(QUAD_BYTES)))
    given = [quads.numbers(builder.add(dy, I64(QUAD_BYTES * j))) for j in range(columns)]
    factors = [[quads.along_rows(each, v) for each in given] for v in range(VECTORS)]
    offset = builder.mul(r, stride)
    found = list(sums)
    for b, start in enumerate(starts):
        for v in range(VECTORS):
            block = quads.emitter.load(builder.add(start, offset), v)
            for j in range(columns):
                at = (b * VECTORS + v) * columns + j
                found[at] = quads.emitter.fma(block, factors[v][j], found[at])
    return found


def _store_columns(
    quads: Quads, columns: int, step: int, sums: Sequence[Any], c: Any, stop: Any, length: Any,
    out: Any, n: Any, left: Any,
) -> None:  # fmt: skip
    """Write the sums of ``step`` block columns from the ``c``-th on."""
    builder = quads.builder
    end = least(builder, builder.mul(stop, I64(SIDE)), length)
    first = builder.mul(c, I64(SIDE))
    whole = builder.icmp_signed("<=", builder.add(first, I64(SIDE * step)), end)
    write = _row_writer(quads, out, n, left, end)
    blocks = []
    for b in range(step):
        parts = [
            sums[(b * VECTORS + v) * columns : (b * VECTORS + v + 1) * columns]
            for v in range(VECTORS)
        ]
        blocks.append([reduce(builder.fadd, each) for each in zip(*parts, strict=True)])
    # By vector, then by column.
    lines = [
        [quads.sums_of_columns([each[j] for each in blocks[b : b + ROWS]]) for j in range(columns)]
        for b in range(0, step, ROWS)
    ]

    def rows_apart() -> None:
        for b, line in zip(range(0, step, ROWS), lines, strict=True):
            turned = quads.transposed(line)
            for i in range(ROWS):
                for q in range(SIDE):
                    row = builder.add(first, I64(SIDE * (b + i) + q))
                    write(row, quads.quad_of(turned[q], i), 0, columns)

    def one_column() -> None:
        for b, line in zip(range(0, step, ROWS), lines, strict=True):
            place = builder.add(first, I64(SIDE * b))
            quads.store(line[0], builder.add(out, builder.mul(place, I64(4))))

    _stored(builder, columns, n, whole, one_column, rows_apart)


def _stored(
    builder: Any, columns: int, n: Any, whole: Any, one_column: Callable[[], None],
    rows_apart: Callable[[], None],
) -> None:  # fmt: skip
    """Emit how results are written: as vectors of the only column of ``out``, or row by row."""
    if columns > 1:
        rows_apart()
        return
    only = builder.and_(whole, builder.icmp_signed("==", n, I64(1)))
    with builder.if_else(only) as (then, otherwise):
        with then:
            one_column()
        with otherwise:
            rows_apart()


def _row_writer(quads: Quads, out: Any, n: Any, left: Any, end: Any) -> Callable[..., None]:
    """Return a function that writes lanes of a quad to a row of ``out`` before the ``end``."""
    builder = quads.builder

    def write(row: Any, quad: Any, first: int, count: int) -> None:
        with builder.if_then(builder.icmp_signed("<", row, end)):
            place = builder.add(builder.mul(row, n), left)
            target = builder.add(out, builder.mul(place, I64(4)))
            quads.store(quads.shuffled(quad, quad, range(first, first + count)), target)

    return write
