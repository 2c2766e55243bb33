"""Loops over rows of X: weighted sums of them (SpMM), dot products with them (SDDMM), copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from kernels.simd.vectors import (
    CHAINS,
    F32,
    GROUP,
    I16,
    I32,
    I64,
    TILE,
    UNALIGNED,
    Emitter,
    for_width,
    loop,
)


def _gathered_rows(permuted: bool) -> Any:
    """Return an intrinsic that sums rows of X, each times a value, into one row of the result."""

    @intrinsic  # type: ignore[untyped-decorator]
    def rows(
        typingctx: Any, values: Any, order: Any, indices: Any, start: Any, end: Any,
        x: Any, stride: Any, out: Any, width: Any, add: Any,
    ) -> Any:  # fmt: skip
        """Write Σ values[p] x[indices[p]] over p in [start, end) to ``out``, or add it there.

        Addresses, and strides in bytes; ``width`` numbers, at most ``TILE``. Where permuted, the
        values are read through 32-bit ``order``.
        """

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            values, order, indices, start, end, x, stride, out, width, add = arguments

            def emit(emitter: Emitter) -> None:
                blocks = [builder.append_basic_block(name) for name in ("load", "sum")]
                before = builder.block
                builder.cbranch(add, *blocks)
                builder.position_at_end(blocks[0])
                loaded = emitter.load_tile(out)
                builder.branch(blocks[1])
                builder.position_at_end(blocks[1])
                first = [builder.phi(emitter.vector) for _ in loaded]
                for phi, value in zip(first, loaded, strict=True):
                    phi.add_incoming(emitter.zero, before)
                    phi.add_incoming(value, blocks[0])

                def add_row(value: Any, index: Any, tile: Sequence[Any]) -> list[Any]:
                    row, value = builder.add(x, builder.mul(index, stride)), emitter.splat(value)
                    return [
                        emitter.fma(value, emitter.load(row, v), each)
                        for v, each in enumerate(tile)
                    ]

                width, sets = emitter.vectors, min(GROUP, max(1, CHAINS // emitter.vectors))

                def several(p: Any, tiles: list[Any]) -> list[Any]:
                    found = list(tiles)
                    weights = emitter.values(values, order if permuted else None, p)
                    for i, (value, index) in enumerate(
                        zip(weights, emitter.indices(indices, p), strict=True)
                    ):
                        part = slice(i % sets * width, (i % sets + 1) * width)
                        found[part] = add_row(value, index, found[part])
                    return found

                def one(p: Any, tile: list[Any]) -> list[Any]:
                    place = builder.zext(emitter.read(order, p, I32), I64) if permuted else p
                    index = builder.zext(emitter.read(indices, p, I16), I64)
                    return add_row(emitter.read(values, place, F32), index, tile)

                others = [emitter.zero] * (width * (sets - 1))
                reached, tiles = loop(builder, start, end, GROUP, [*first, *others], several)
                tile = tiles[:width]
                for i in range(1, sets):
                    part = tiles[i * width : (i + 1) * width]
                    tile = [builder.fadd(*pair) for pair in zip(tile, part, strict=True)]
                _, tile = loop(builder, reached, end, 1, tile, one)
                emitter.store_tile(tile, out)

            for_width(builder, width, emit)
            return context.get_dummy_value()

        whole = types.int64
        signature = types.void(*[whole] * 9, types.boolean)
        return signature, codegen

    return rows


sum_rows = _gathered_rows(permuted=False)
sum_rows_permuted = _gathered_rows(permuted=True)


@intrinsic  # type: ignore[untyped-decorator]
def dot_rows(
    typingctx: Any, y: Any, indices: Any, start: Any, end: Any, x: Any, stride: Any, out: Any,
    width: Any, add: Any,
) -> Any:  # fmt: skip
    """Write y · x[indices[p]] for p in [start, end) to the fp32 ``out[p]``, or add it there.

    Addresses, and strides in bytes; ``width`` numbers, at most ``TILE``.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        y, indices, start, end, x, stride, out, width, add = arguments

        def emit(emitter: Emitter) -> None:
            tile = emitter.load_tile(y)

            def group(p: Any, size: int) -> None:
                products = []
                for i in range(size):
                    place = builder.add(p, ir.Constant(I64, i))
                    row = emitter.row_of(x, indices, place, stride)
                    total = builder.fmul(tile[0], emitter.load(row, 0))
                    for v in range(1, emitter.vectors):
                        total = emitter.fma(tile[v], emitter.load(row, v), total)
                    products.append(total)
                sums = emitter.sums([*products, *[emitter.zero] * (GROUP - size)])
                if size == 1:
                    sums = builder.extract_element(sums, ir.Constant(I32, 0))
                pointer = builder.inttoptr(
                    builder.add(out, builder.mul(p, ir.Constant(I64, 4))), sums.type.as_pointer()
                )
                before = builder.load(pointer, align=UNALIGNED)
                kept = builder.select(add, before, sums.type(None))
                builder.store(builder.fadd(kept, sums), pointer, align=UNALIGNED)

            def many(p: Any, _: Any) -> list[Any]:
                group(p, GROUP)
                return []

            def one(p: Any, _: Any) -> list[Any]:
                group(p, 1)
                return []

            reached, _ = loop(builder, start, end, GROUP, [], many)
            loop(builder, reached, end, 1, [], one)

        for_width(builder, width, emit)
        return context.get_dummy_value()

    signature = types.void(*[types.int64] * 8, types.boolean)
    return signature, codegen


@intrinsic  # type: ignore[untyped-decorator]
def copy_rows(typingctx: Any, x: Any, stride: Any, count: Any, panel: Any, width: Any) -> Any:
    """Copy ``width`` numbers of each of ``count`` rows of ``x`` to ``panel``, ``TILE`` apart.

    Addresses, and the stride of ``x`` in bytes.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, stride, count, panel, width = arguments

        def emit(emitter: Emitter) -> None:
            def body(j: Any, _: Any) -> list[Any]:
                source = builder.add(x, builder.mul(j, stride))
                target = builder.add(panel, builder.mul(j, ir.Constant(I64, 4 * TILE)))
                emitter.store_tile(emitter.load_tile(source), target)
                return []

            loop(builder, ir.Constant(I64, 0), count, 1, [], body)

        for_width(builder, width, emit)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), codegen
