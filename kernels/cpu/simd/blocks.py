"""Loops over blocks of W: each row of X that is loaded serves all the rows of a block.

A block row's results stay in registers while its blocks go by, so that the multiply-adds bound
the loop, not the loads. Rows beyond the last of X or dY are read as the last one: what W stores
for them is zero.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from .vectors import (
    F32,
    I16,
    I32,
    I64,
    LANES,
    UNALIGNED,
    Emitter,
    emit_prefetch,
    emitted,
    first_lanes,
    loop,
)
from .widths import for_width

#: Rows and columns of a block: its values fill a cache line.
SIDE = 4
BLOCK_BYTES = 4 * SIDE * SIDE
#: Blocks that are asked for before they are needed, where they do not lie one after the other.
BLOCKS_AHEAD = 8
#: Vectors of a tile: a block row's results and a row of X take at most 20 of 32 registers with
# AVX-512, 10 of 16 elsewhere.
BLOCK_VECTORS = 4 if LANES == 16 else 2
BLOCK_TILE = BLOCK_VECTORS * LANES


def rows_at(builder: Any, base: Any, block: Any, stride: Any, last: Any) -> list[Any]:
    """Return the addresses of the rows of the ``block``-th block, none beyond row ``last``."""
    first = builder.mul(block, I64(SIDE))
    addresses = []
    for i in range(SIDE):
        row = least(builder, builder.add(first, I64(i)), last)
        addresses.append(builder.add(base, builder.mul(row, stride)))
    return addresses


def _summed_blocks(transposed: bool) -> Any:
    """Return an intrinsic that multiplies a row of blocks, or a column of them transposed."""

    @emitted(types.void, *[types.int64] * 12)
    def sum_blocks(
        builder: Any, values: Any, order: Any, indices: Any, start: Any, end: Any,
        x: Any, stride: Any, last: Any, out: Any, out_stride: Any, rows: Any, width: Any,
    ) -> None:  # fmt: skip
        """Write ``width`` columns of the product of blocks [start, end) to ``rows`` of ``out``.

        Addresses, and strides in bytes; at most ``BLOCK_TILE`` columns. Where transposed, the
        blocks are those that 32-bit ``order`` names, which goes ``BLOCKS_AHEAD`` beyond the last.
        """

        def emit(emitter: Emitter) -> None:
            def add_block(p: Any, sums: list[Any]) -> list[Any]:
                place = p
                if transposed:
                    place, later = (
                        builder.zext(emitter.read(order, at, I32), I64)
                        for at in (p, builder.add(p, I64(BLOCKS_AHEAD)))
                    )
                    emit_prefetch(
                        builder, builder.add(values, builder.mul(later, I64(BLOCK_BYTES)))
                    )
                block = builder.add(values, builder.mul(place, I64(BLOCK_BYTES)))
                index = builder.zext(emitter.read(indices, p, I16), I64)
                rows_of_x = rows_at(builder, x, index, stride, last)
                return block_added(emitter, transposed, block, rows_of_x, sums)

            zeros = [emitter.zero] * (SIDE * emitter.vectors)
            _, sums = loop(builder, start, end, 1, zeros, add_block)
            for r in range(SIDE):
                with builder.if_then(builder.icmp_signed("<", I64(r), rows)):
                    tile = sums[r * emitter.vectors : (r + 1) * emitter.vectors]
                    emitter.store_tile(tile, builder.add(out, builder.mul(I64(r), out_stride)))

        for_width(builder, width, emit, BLOCK_VECTORS)

    return sum_blocks


sum_blocks = _summed_blocks(transposed=False)
sum_blocks_transposed = _summed_blocks(transposed=True)


def block_added(
    emitter: Emitter, transposed: bool, block: Any, rows_of_x: list[Any], sums: list[Any]
) -> list[Any]:
    """Return the sums, by row and vector, with the products of a block and its rows of X added."""
    found = list(sums)
    for c, row in enumerate(rows_of_x):
        factors = emitter.load_tile(row)
        for r in range(SIDE):
            entry = SIDE * c + r if transposed else SIDE * r + c
            value = emitter.splat(emitter.read(block, I64(entry), F32))
            for v, factor in enumerate(factors):
                at = r * emitter.vectors + v
                found[at] = emitter.fma(value, factor, found[at])
    return found


def least(builder: Any, a: Any, b: Any) -> Any:
    """Return the smaller of two integers."""
    return builder.select(builder.icmp_signed("<", a, b), a, b)


@emitted(types.void, *[types.int64] * 10)
def dot_blocks(
    builder: Any, dy: Any, row: Any, last_row: Any, indices: Any, start: Any, end: Any, x: Any,
    last: Any, n: Any, out: Any,
) -> None:  # fmt: skip
    """Write the dot products of rows of dY with rows of X to blocks [start, end) of ``out``.

    Addresses of arrays with ``n`` columns; ``row`` is the block row.
    """
    stride = builder.mul(n, I64(4))
    # The last vector is masked even where it is full, so that none is empty.
    whole = builder.udiv(builder.sub(n, I64(1)), I64(LANES))
    mask = first_lanes(builder, builder.sub(n, builder.mul(whole, I64(LANES))), LANES)
    left = rows_at(builder, dy, row, stride, last_row)
    full, masked = Emitter(builder), Emitter(builder, 1, mask)

    def add(emitter: Emitter, right: list[Any], v: Any, sums: list[Any]) -> list[Any]:
        offset = builder.mul(v, I64(4 * LANES))
        a, b = ([emitter.load(builder.add(at, offset), 0) for at in side] for side in (left, right))
        return [emitter.fma(a[i // SIDE], b[i % SIDE], each) for i, each in enumerate(sums)]

    def block(p: Any, _: Any) -> list[Any]:
        index = builder.zext(full.read(indices, p, I16), I64)
        right = rows_at(builder, x, index, stride, last)
        zeros = [full.zero] * (SIDE * SIDE)
        _, sums = loop(builder, I64(0), whole, 1, zeros, lambda v, sums: add(full, right, v, sums))
        sums = add(masked, right, whole, sums)
        at = builder.add(out, builder.mul(p, I64(BLOCK_BYTES)))
        for r in range(SIDE):
            entries = full.sums(sums[r * SIDE : (r + 1) * SIDE])
            target = builder.inttoptr(
                builder.add(at, I64(4 * SIDE * r)), ir.VectorType(F32, SIDE).as_pointer()
            )
            builder.store(entries, target, align=UNALIGNED)
        return []

    loop(builder, start, end, 1, [], block)
