"""Products with blocks that hold all of W: vectors go along the batch.

As in ``blocks``, but where each block lies follows from its place, and where a row of X fills fewer
vectors than stay in registers, more rows of blocks share it.
"""

from __future__ import annotations

from typing import Any

from numba.core import types

from .blocks import (
    BLOCK_BYTES,
    BLOCK_VECTORS,
    BLOCKS_AHEAD,
    SIDE,
    block_added,
    least,
    rows_at,
)
from .emitting import apart
from .vectors import I64, Emitter, emit_prefetch, emitted, loop
from .widths import for_width


def _summed_tiles(transposed: bool) -> Any:
    """Return an intrinsic that multiplies rows of blocks that hold all of W, or columns of them."""

    def sum_tiles(
        builder: Any, values: Any, begin: Any, stop: Any, down: Any, along: Any, count: Any,
        x: Any, stride: Any, last: Any, out: Any, out_stride: Any, rows: Any, width: Any,
    ) -> None:  # fmt: skip
        """Write ``width`` columns of the product of block rows [begin, stop) to ``out``.

        Addresses, and strides in bytes; at most ``BLOCK_TILE`` columns, and ``rows`` rows of the
        result. From one block row to the next it is ``down`` blocks, and to the next of ``count``
        blocks of a row ``along``.
        """

        def emit(emitter: Emitter) -> None:
            together = max(1, BLOCK_VECTORS // emitter.vectors)
            each = SIDE * emitter.vectors
            ahead = builder.mul(along, I64(BLOCKS_AHEAD * BLOCK_BYTES))

            def some_rows(i: Any, _: Any) -> list[Any]:
                starts = _places(builder, values, i, builder.sub(stop, I64(1)), down, together)

                def add(p: Any, sums: list[Any]) -> list[Any]:
                    offset = builder.mul(builder.mul(p, along), I64(BLOCK_BYTES))
                    rows_of_x = rows_at(builder, x, p, stride, last)
                    found: list[Any] = []
                    for r, start in enumerate(starts):
                        block = builder.add(start, offset)
                        if transposed:
                            emit_prefetch(builder, builder.add(block, ahead))
                        before = sums[r * each : (r + 1) * each]
                        found += block_added(emitter, transposed, block, rows_of_x, before)
                    return found

                _, sums = loop(builder, I64(0), count, 1, [emitter.zero] * (each * together), add)
                _store_rows(emitter, sums, i, stop, rows, out, out_stride)
                return []

            loop(builder, begin, builder.add(stop, I64(together - 1)), together, [], some_rows)

        for_width(builder, width, emit, BLOCK_VECTORS)

    # Two functions: that of a name is compiled once.
    sum_tiles.__name__ += "_transposed" if transposed else ""
    return emitted(types.void, *[types.int64] * 13)(apart(sum_tiles))


def _store_rows(
    emitter: Emitter, sums: list[Any], i: Any, stop: Any, rows: Any, out: Any, out_stride: Any
) -> None:
    """Write the sums of block rows from the ``i``-th on, as far as there are such."""
    builder, width = emitter.builder, emitter.vectors
    first = builder.mul(i, I64(SIDE))
    end = least(builder, builder.mul(stop, I64(SIDE)), rows)
    for r in range(len(sums) // width):
        row = builder.add(first, I64(r))
        with builder.if_then(builder.icmp_signed("<", row, end)):
            tile = sums[r * width : (r + 1) * width]
            emitter.store_tile(tile, builder.add(out, builder.mul(row, out_stride)))


def _places(builder: Any, values: Any, i: Any, last: Any, down: Any, count: int) -> list[Any]:
    """Return where ``count`` block rows from the ``i``-th on begin, none beyond the ``last``."""
    found = []
    for r in range(count):
        row = least(builder, builder.add(i, I64(r)), last)
        offset = builder.mul(builder.mul(row, down), I64(BLOCK_BYTES))
        found.append(builder.add(values, offset))
    return found


sum_tiles = _summed_tiles(transposed=False)
sum_tiles_transposed = _summed_tiles(transposed=True)
