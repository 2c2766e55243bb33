"""The weight gradient of a dense W in blocks of 4 x 4, and W's update by a masked step.

A tile of blocks stays in registers while the columns of dY and X go by, each an outer product.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from llvmlite import ir
from numba.core import types

from .blocks import BLOCK_BYTES, SIDE, least
from .emitting import apart
from .quads import QUAD_BYTES, VECTORS, Quads, for_few
from .vectors import I16, I64, LANES, Emitter, emitted, loop, splat

# (block rows, block columns) of the weight gradient that stay in registers.
_TILE = {16: (4, 4), 8: (2, 2), 4: (1, 2)}[LANES]


@emitted(types.void, *[types.int64] * 6)
@apart
def outer_dense(builder: Any, dy: Any, down: Any, x: Any, across: Any, n: Any, out: Any) -> None:
    """Write dY Xᵀ, ``down`` times ``across`` blocks, to ``out``.

    Addresses; dY and X in panels of ``n`` columns. Blocks beyond the last are computed as the last
    one, again.
    """
    quads = Quads(builder)
    for_few(
        builder, n, SIDE, lambda columns: _outer_tiles(quads, dy, down, x, across, n, columns, out)
    )


def _outer_tiles(
    quads: Quads, dy: Any, down: Any, x: Any, across: Any, n: Any, columns: int | None, out: Any
) -> None:
    """Emit the loop over tiles; ``columns`` is n where that is known as the loop is emitted."""
    builder = quads.builder
    panel = builder.mul(n, I64(QUAD_BYTES)) if columns is None else I64(columns * QUAD_BYTES)

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
        zeros = [quads.emitter.zero] * (_TILE[0] * _TILE[1] * VECTORS)

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
                for v in range(VECTORS):
                    quads.store(next(sums), builder.add(target, I64(4 * LANES * v)))

    def row_of_tiles(i: Any, _: Any) -> list[Any]:
        def one(j: Any, _: Any) -> list[Any]:
            tile(i, j)
            return []

        loop(builder, I64(0), builder.add(across, I64(_TILE[1] - 1)), _TILE[1], [], one)
        return []

    loop(builder, I64(0), builder.add(down, I64(_TILE[0] - 1)), _TILE[0], [], row_of_tiles)


def _outer_step(
    quads: Quads, left: Sequence[Any], right: Sequence[Any], p: Any, sums: Sequence[Any]
) -> list[Any]:
    """Return the sums with the outer products of the ``p``-th column of each panel added."""
    builder = quads.builder
    offset = builder.mul(p, I64(QUAD_BYTES))
    x = [quads.in_every_row(quads.numbers(builder.add(each, offset))) for each in right]
    dy = [quads.numbers(builder.add(each, offset)) for each in left]
    sides = [[quads.along_rows(each, v) for v in range(VECTORS)] for each in dy]
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
        for v in range(VECTORS):
            mask = ir.Constant(bits, [1 << (v * LANES + lane) & 0xFFFF for lane in range(LANES)])
            chosen = builder.icmp_unsigned("!=", builder.and_(spread, mask), bits(None))
            before, change = (emitter.load(builder.add(base, offset), v) for base in (values, step))
            after = builder.select(chosen, emitter.fma(minus, change, before), before)
            at = builder.add(builder.add(values, offset), I64(4 * LANES * v))
            emitter.store_tile([after], at)
        return []

    loop(builder, begin, stop, 1, [], block)
