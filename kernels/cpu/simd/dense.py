"""Products of a dense W in blocks of 4 x 4 with few columns, and its weight gradient.

A vector holds a block, or rows of one. It is multiplied with the four numbers of x that its columns
meet, repeated for each of its rows, so that a single image fills all lanes, and no value of W is
broadcast. X comes in *panels*, (blocks of four rows, columns, 4), which pad it with zeros; that of
one column is the column itself. Vectors are summed across lanes once, at the end.

Blocks beyond the last are read as the last one, and nothing is written for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

from llvmlite import ir
from numba.core import types

from .blocks import BLOCK_BYTES, SIDE, least
from .vectors import (
    F32,
    I16,
    I32,
    I64,
    LANES,
    UNALIGNED,
    Emitter,
    apart,
    emitted,
    first_lanes,
    loop,
    splat,
)

# Rows of a block that a vector holds, and vectors of a block.
_ROWS = LANES // SIDE
_VECTORS = SIDE // _ROWS
#: Columns of X that are gone through together, by one sum each: of 32 registers half are sums, of
#: 16 half as well.
MOST_COLUMNS = 4 if LANES == 16 else 2
# Per number of columns: blocks of W that each column of X is multiplied with once it is loaded.
_FORWARD_BLOCKS = {1: 8, 2: 8, 3: 4, 4: 4} if LANES == 16 else {1: 4, 2: 2}
_BACKWARD_BLOCKS = {1: 16, 2: 8, 3: 4, 4: 4} if LANES == 16 else {1: 8 // _VECTORS, 2: 2}
# (block rows, block columns) of the weight gradient that stay in registers.
_TILE = {16: (4, 4), 8: (2, 2), 4: (1, 2)}[LANES]
_ROW_BYTES = 4 * SIDE


class _Quads:
    """Emits the pieces that the loops are made of; a quad is four lanes."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.emitter = Emitter(builder)
        self.quad = Emitter(builder, lanes=SIDE)

    def numbers(self, base: Any) -> Any:
        """Return the four numbers at an address."""
        return self.quad.load(base, 0)

    def in_every_row(self, numbers: Any) -> Any:
        """Return four numbers repeated for each row of a vector."""
        return self.shuffled(numbers, numbers, [lane % SIDE for lane in range(LANES)])

    def along_rows(self, numbers: Any, v: int) -> Any:
        """Return, for the ``v``-th vector of a block, each row's number in all of its lanes."""
        return self.shuffled(numbers, numbers, [v * _ROWS + i // SIDE for i in range(LANES)])

    def sums_of_rows(self, vectors: Sequence[Any]) -> Any:
        """Return the sums of each row of up to four vectors: a quad per row, a lane per vector."""
        filled = [*vectors, *[self.emitter.zero] * (SIDE - len(vectors))]
        return self._folded(filled, 1, SIDE)

    def sums_of_columns(self, vectors: Sequence[Any]) -> Any:
        """Return the sums of the columns of as many vectors as there are quads, a quad each."""
        return self._folded(list(vectors), SIDE, LANES)

    def transposed(self, vectors: Sequence[Any]) -> list[Any]:
        """Return up to four vectors with lanes and vectors swapped within each quad."""
        zeros = [vectors[0].type(None)] * (SIDE - len(vectors))
        a, b, c, d = [*vectors, *zeros]
        lanes = a.type.count
        places = [(i % SIDE, i - i % SIDE) for i in range(lanes)]  # in its quad, where that begins
        found = []
        for half in (0, 2):
            pairs = [quad + half + i // 2 + i % 2 * lanes for i, quad in places]
            ab, cd = self.shuffled(a, b, pairs), self.shuffled(c, d, pairs)
            for first in (0, 2):
                chosen = [quad + first + i % 2 + i // 2 * lanes for i, quad in places]
                found.append(self.shuffled(ab, cd, chosen))
        return found

    def quad_of(self, vector: Any, i: int) -> Any:
        """Return the ``i``-th quad of a vector."""
        return self.shuffled(vector, vector, range(SIDE * i, SIDE * (i + 1)))

    def joined(self, vectors: Sequence[Any]) -> Any:
        """Return the vectors of a block as one."""
        while len(vectors) > 1:
            lanes = range(2 * vectors[0].type.count)
            vectors = [
                self.shuffled(*pair, lanes)
                for pair in zip(vectors[::2], vectors[1::2], strict=True)
            ]
        return vectors[0]

    def store(self, vector: Any, base: Any) -> None:
        """Write a vector to an address."""
        pointer = self.builder.inttoptr(base, vector.type.as_pointer())
        self.builder.store(vector, pointer, align=UNALIGNED)

    def shuffled(self, a: Any, b: Any, lanes: Sequence[int]) -> Any:
        chosen = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(a, b, chosen)

    def _folded(self, vectors: list[Any], part: int, span: int) -> Any:
        """Return the sums of the ``part``-long parts of each ``span`` lanes, a part per vector."""
        while len(vectors) > 1:
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [self._halved(a, b, part, span) for a, b in pairs]
        return vectors[0]

    def _halved(self, a: Any, b: Any, part: int, span: int) -> Any:
        even, odd = [], []
        half = span // part // 2
        for lane in range(LANES):
            place = lane % span // part
            source = (LANES if place >= half else 0) + lane // span * span + lane % part
            even.append(source + 2 * (place % half) * part)
            odd.append(source + (2 * (place % half) + 1) * part)
        return self.builder.fadd(self.shuffled(a, b, even), self.shuffled(a, b, odd))


def _for_count(builder: Any, count: Any, most: int, emit: Callable[[int], None]) -> None:
    """Emit ``emit`` for 1 to ``most``, and choose by ``count`` as it runs."""
    done = builder.append_basic_block("done")
    switch = builder.switch(count, done)
    for each in range(1, most + 1):
        block = builder.append_basic_block(f"columns{each}")
        switch.add_case(I64(each), block)
        builder.position_at_end(block)
        emit(each)
        builder.branch(done)
    builder.position_at_end(done)


def _row_writer(quads: _Quads, out: Any, n: Any, left: Any, end: Any) -> Callable[..., None]:
    """Return a function that writes lanes of a quad to a row of ``out`` before the ``end``."""
    builder = quads.builder

    def write(row: Any, quad: Any, first: int, count: int) -> None:
        with builder.if_then(builder.icmp_signed("<", row, end)):
            place = builder.add(builder.mul(row, n), left)
            target = builder.add(out, builder.mul(place, I64(4)))
            quads.store(quads.shuffled(quad, quad, range(first, first + count)), target)

    return write


def _for_few(builder: Any, count: Any, most: int, emit: Callable[[int | None], None]) -> None:
    """Emit ``emit`` for 1 to ``most``, and once for all other numbers, which get None."""
    with builder.if_else(builder.icmp_signed("<=", count, I64(most))) as (few, many):
        with few:
            _for_count(builder, count, most, emit)
        with many:
            emit(None)


@emitted(types.void, *[types.int64] * 6)
@apart
def pack_panels(
    builder: Any, x: Any, rows: Any, n: Any, begin: Any, stop: Any, panels: Any
) -> None:
    """Write blocks ``begin`` to ``stop`` of four rows of ``x`` (rows, n) to ``panels``.

    Addresses; rows beyond the last are zero.
    """
    quads = _Quads(builder)
    size = builder.mul(n, I64(_ROW_BYTES))  # of four rows, and of their panel
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

    _for_few(builder, n, SIDE, emit)


def _pack_block(quads: _Quads, source: Any, n: Any, there: Any, target: Any) -> None:
    """Write the panel of four rows, of which so many are ``there``."""
    builder = quads.builder
    mask, last = first_lanes(builder, there, SIDE), builder.sub(there, I64(1))
    lines = [
        builder.add(source, builder.mul(least(builder, I64(i), last), builder.mul(n, I64(4))))
        for i in range(SIDE)
    ]

    def write(j: Any, columns: Sequence[Any]) -> None:
        at = builder.add(target, builder.mul(j, I64(_ROW_BYTES)))
        for i, numbers in enumerate(columns):
            kept = builder.select(mask, numbers, quads.quad.zero)
            quads.store(kept, builder.add(at, I64(_ROW_BYTES * i)))

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
    quads = _Quads(builder)

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
                step * _VECTORS * columns,
            )
            _store_rows(quads, columns, step, sums, i, stop, rows, out, n, left)
            return []

        # The last, incomplete step too.
        limit = builder.add(stop, I64(step - 1))
        loop(builder, begin, limit, step, [], some_rows)

    _for_count(builder, count, MOST_COLUMNS, emit)


def _summed(quads: _Quads, count: Any, add: Any, sums: int) -> list[Any]:
    zeros = [quads.emitter.zero] * sums
    _, found = loop(quads.builder, I64(0), count, 1, zeros, add)
    return found


def _forward_block(
    quads: _Quads, columns: int, starts: Sequence[Any], panels: Any, n: Any, left: Any, c: Any,
    sums: Sequence[Any],
) -> list[Any]:  # fmt: skip
    """Return the sums with the ``c``-th block of each row added; by row, vector, column."""
    builder = quads.builder
    place = builder.add(builder.mul(c, n), left)
    x = builder.add(panels, builder.mul(place, I64(_ROW_BYTES)))
    factors = [
        quads.in_every_row(quads.numbers(builder.add(x, I64(_ROW_BYTES * j))))
        for j in range(columns)
    ]
    offset = builder.mul(c, I64(BLOCK_BYTES))
    found = list(sums)
    for r, start in enumerate(starts):
        for v in range(_VECTORS):
            block = quads.emitter.load(builder.add(start, offset), v)
            for j, factor in enumerate(factors):
                at = (r * _VECTORS + v) * columns + j
                found[at] = quads.emitter.fma(block, factor, found[at])
    return found


def _store_rows(
    quads: _Quads, columns: int, step: int, sums: Sequence[Any], i: Any, stop: Any, rows: Any,
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
                    sums[((r + b) * _VECTORS + v) * columns + j]
                    for b in range(together)
                    for j in range(columns)
                ]
            )
            for v in range(_VECTORS)
        ]
        for r in range(0, step, together)
    ]

    def rows_apart() -> None:
        for r, vectors in zip(range(0, step, together), totals, strict=True):
            for v, vector in enumerate(vectors):
                for i in range(_ROWS):
                    quad = quads.quad_of(vector, i)
                    for b in range(together):
                        row = builder.add(first, I64(SIDE * (r + b) + v * _ROWS + i))
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
    quads = _Quads(builder)
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

            sums = _summed(quads, down, add, step * _VECTORS * columns)
            _store_columns(quads, columns, step, sums, c, stop, columns_of_w, out, n, left)
            return []

        limit = builder.add(stop, I64(step - 1))
        loop(builder, begin, limit, step, [], some_columns)

    _for_count(builder, count, MOST_COLUMNS, emit)


def _backward_block(
    quads: _Quads, columns: int, starts: Sequence[Any], stride: Any, panels: Any, n: Any, left: Any,
    r: Any, sums: Sequence[Any],
) -> list[Any]:  # fmt: skip
    """Return the sums with the ``r``-th block of each column added; by block, vector, column."""
    builder = quads.builder
    place = builder.add(builder.mul(r, n), left)
    dy = builder.add(panels, builder.mul(place, I64(_ROW_BYTES)))
    given = [quads.numbers(builder.add(dy, I64(_ROW_BYTES * j))) for j in range(columns)]
    factors = [[quads.along_rows(each, v) for each in given] for v in range(_VECTORS)]
    offset = builder.mul(r, stride)
    found = list(sums)
    for b, start in enumerate(starts):
        for v in range(_VECTORS):
            block = quads.emitter.load(builder.add(start, offset), v)
            for j in range(columns):
                at = (b * _VECTORS + v) * columns + j
                found[at] = quads.emitter.fma(block, factors[v][j], found[at])
    return found


def _store_columns(
    quads: _Quads, columns: int, step: int, sums: Sequence[Any], c: Any, stop: Any, length: Any,
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
            sums[(b * _VECTORS + v) * columns : (b * _VECTORS + v + 1) * columns]
            for v in range(_VECTORS)
        ]
        blocks.append([reduce(builder.fadd, each) for each in zip(*parts, strict=True)])
    # By vector, then by column.
    lines = [
        [quads.sums_of_columns([each[j] for each in blocks[b : b + _ROWS]]) for j in range(columns)]
        for b in range(0, step, _ROWS)
    ]

    def rows_apart() -> None:
        for b, line in zip(range(0, step, _ROWS), lines, strict=True):
            turned = quads.transposed(line)
            for i in range(_ROWS):
                for q in range(SIDE):
                    row = builder.add(first, I64(SIDE * (b + i) + q))
                    write(row, quads.quad_of(turned[q], i), 0, columns)

    def one_column() -> None:
        for b, line in zip(range(0, step, _ROWS), lines, strict=True):
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


@emitted(types.void, *[types.int64] * 6)
@apart
def outer_dense(builder: Any, dy: Any, down: Any, x: Any, across: Any, n: Any, out: Any) -> None:
    """Write dY Xᵀ, ``down`` times ``across`` blocks, to ``out``.

    Addresses; dY and X in panels of ``n`` columns. Blocks beyond the last are computed as the last
    one, again.
    """
    quads = _Quads(builder)
    _for_few(
        builder, n, SIDE, lambda columns: _outer_tiles(quads, dy, down, x, across, n, columns, out)
    )


def _outer_tiles(
    quads: _Quads, dy: Any, down: Any, x: Any, across: Any, n: Any, columns: int | None, out: Any
) -> None:
    """Emit the loop over tiles; ``columns`` is n where that is known as the loop is emitted."""
    builder = quads.builder
    panel = builder.mul(n, I64(_ROW_BYTES)) if columns is None else I64(columns * _ROW_BYTES)

    def tile(i: Any, j: Any) -> None:
        rows, sides = [
            [
                least(builder, builder.add(first, I64(s)), builder.sub(count, I64(1)))
                for s in range(size)
            ]
            for first, count, size in ((i, down, _TILE[0]), (j, across, _TILE[1]))
        ]
        left = [builder.add(dy, builder.mul(row, panel)) for row in rows]
        right = [builder.add(x, builder.mul(side, panel)) for side in sides]
        zeros = [quads.emitter.zero] * (_TILE[0] * _TILE[1] * _VECTORS)

        def add(p: Any, sums: Sequence[Any]) -> list[Any]:
            return _outer_step(quads, left, right, p, sums)

        if columns is None:
            _, found = loop(builder, I64(0), n, 1, zeros, add)
        else:
            found = reduce(lambda sums, p: add(I64(p), sums), range(columns), zeros)
        sums = iter(found)
        for row in rows:
            for side in sides:
                place = builder.add(builder.mul(row, across), side)
                target = builder.add(out, builder.mul(place, I64(BLOCK_BYTES)))
                for v in range(_VECTORS):
                    quads.store(next(sums), builder.add(target, I64(4 * LANES * v)))

    def row_of_tiles(i: Any, _: Any) -> list[Any]:
        def one(j: Any, _: Any) -> list[Any]:
            tile(i, j)
            return []

        loop(builder, I64(0), builder.add(across, I64(_TILE[1] - 1)), _TILE[1], [], one)
        return []

    loop(builder, I64(0), builder.add(down, I64(_TILE[0] - 1)), _TILE[0], [], row_of_tiles)


def _outer_step(
    quads: _Quads, left: Sequence[Any], right: Sequence[Any], p: Any, sums: Sequence[Any]
) -> list[Any]:
    """Return the sums with the outer products of the ``p``-th column of each panel added."""
    builder = quads.builder
    offset = builder.mul(p, I64(_ROW_BYTES))
    x = [quads.in_every_row(quads.numbers(builder.add(each, offset))) for each in right]
    dy = [quads.numbers(builder.add(each, offset)) for each in left]
    sides = [[quads.along_rows(each, v) for v in range(_VECTORS)] for each in dy]
    pairs = [(part, factor) for side in sides for factor in x for part in side]
    return [quads.emitter.fma(*pair, total) for pair, total in zip(pairs, sums, strict=True)]


@emitted(types.void, *[types.int64] * 5, types.float32)
def masked_update(
    builder: Any, values: Any, step: Any, kept: Any, begin: Any, stop: Any, rate: Any
) -> None:
    """Subtract ``rate`` times the step from the entries of blocks [begin, stop) that are kept.

    Addresses of blocks, and of 16 bits for each that say which of its entries are kept.
    """
    emitter = Emitter(builder)
    bits = ir.VectorType(I16, LANES)
    minus = emitter.splat(builder.fneg(rate))

    def block(p: Any, _: Any) -> list[Any]:
        offset = builder.mul(p, I64(BLOCK_BYTES))
        word = emitter.read(kept, p, I16)
        spread = splat(builder, word, LANES)
        for v in range(_VECTORS):
            mask = ir.Constant(bits, [1 << (v * LANES + lane) & 0xFFFF for lane in range(LANES)])
            chosen = builder.icmp_unsigned("!=", builder.and_(spread, mask), bits(None))
            before, change = (emitter.load(builder.add(base, offset), v) for base in (values, step))
            after = builder.select(chosen, emitter.fma(minus, change, before), before)
            at = builder.add(builder.add(values, offset), I64(4 * LANES * v))
            emitter.store_tile([after], at)
        return []

    loop(builder, begin, stop, 1, [], block)
