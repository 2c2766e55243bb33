"""Loops over rows of X: weighted sums of them (SpMM), dot products with them (SDDMM), copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import types

from ...processor import LINE
from .vectors import (
    CHAINS,
    F32,
    GROUP,
    I16,
    I32,
    I64,
    TILE,
    UNALIGNED,
    Emitter,
    emit_prefetch,
    emitted,
    for_stride,
    for_width,
    loop,
)

# Rows whose entries are asked for before they are needed.
_ROWS_AHEAD = 4


def _gathered_rows(permuted: bool) -> Any:
    """Return an intrinsic that sums rows of X, each times a value, into rows of the result."""

    @emitted(types.void, *[types.int64] * 12, types.boolean, types.boolean)
    def rows(
        builder: Any, values: Any, order: Any, indices: Any, starts: Any, ends: Any,
        begin: Any, stop: Any, x: Any, stride: Any, out: Any, out_stride: Any, width: Any,
        add: Any, apart: Any,
    ) -> None:  # fmt: skip
        """For rows ``begin`` to ``stop`` write Σ values[p] x[indices[p]], or add it, to the result.

        p goes over [starts[i], ends[i]). Addresses, and strides in bytes; ``width`` numbers, at
        most ``TILE``. Where permuted, the values are read through 32-bit ``order``. ``apart``
        says that the entries of one row do not follow those of the row before.
        """
        named = order if permuted else None

        def emit_rows(emitter: Emitter, stride: Any) -> None:
            def row(i: Any, start: Any, end: Any) -> None:
                streams = (order if permuted else values, 4), (indices, 2)
                _ask_ahead(builder, starts, ends, i, stop, apart, streams)
                target = builder.add(out, builder.mul(i, out_stride))
                nothing = builder.and_(add, builder.icmp_signed("==", start, end))
                with builder.if_then(builder.not_(nothing)):
                    before = _loaded_if(emitter, add, target)
                    entries = values, named, indices
                    total = _weighted_sum(emitter, *entries, start, end, x, stride, before)
                    emitter.store_tile(total, target)

            _each_row(emitter, starts, ends, begin, stop, row)

        for_width(builder, width, lambda e: for_stride(e, stride, emit_rows))

    return rows


sum_rows = _gathered_rows(permuted=False)
sum_rows_permuted = _gathered_rows(permuted=True)


@emitted(types.void, *[types.int64] * 11, types.boolean, types.boolean)
def dot_rows(
    builder: Any, y: Any, y_stride: Any, indices: Any, starts: Any, ends: Any, begin: Any,
    stop: Any, x: Any, stride: Any, out: Any, width: Any, add: Any, apart: Any,
) -> None:  # fmt: skip
    """For rows ``begin`` to ``stop`` write y[i] · x[indices[p]] to the fp32 ``out[p]``, or add it.

    p goes over [starts[i], ends[i]). Addresses, and strides in bytes; ``width`` numbers, at most
    ``TILE``. ``apart`` as in ``sum_rows``.
    """

    def emit_rows(emitter: Emitter) -> None:
        def row(i: Any, start: Any, end: Any) -> None:
            _ask_ahead(builder, starts, ends, i, stop, apart, ((indices, 2), (out, 4)))
            with builder.if_then(builder.icmp_signed("<", start, end)):
                tile = emitter.load_tile(builder.add(y, builder.mul(i, y_stride)))
                _dots(emitter, tile, indices, start, end, x, stride, out, add)

        _each_row(emitter, starts, ends, begin, stop, row)

    for_width(builder, width, emit_rows)


@emitted(types.void, *[types.int64] * 5)
def copy_rows(builder: Any, x: Any, stride: Any, count: Any, panel: Any, width: Any) -> None:
    """Copy ``width`` numbers of each of ``count`` rows of ``x`` to ``panel``, ``TILE`` apart.

    Addresses, and the stride of ``x`` in bytes.
    """

    def emit(emitter: Emitter) -> None:
        def body(j: Any, _: Any) -> list[Any]:
            source = builder.add(x, builder.mul(j, stride))
            target = builder.add(panel, builder.mul(j, ir.Constant(I64, 4 * TILE)))
            emitter.store_tile(emitter.load_tile(source), target)
            return []

        loop(builder, ir.Constant(I64, 0), count, 1, [], body)

    for_width(builder, width, emit)


def _each_row(
    emitter: Emitter, starts: Any, ends: Any, begin: Any, stop: Any,
    emit: Callable[[Any, Any, Any], None],
) -> None:  # fmt: skip
    """Emit ``emit`` (row, where its entries start, where they end) for each row."""

    def body(i: Any, _: Any) -> list[Any]:
        emit(i, emitter.read_int(starts, i), emitter.read_int(ends, i))
        return []

    loop(emitter.builder, begin, stop, 1, [], body)


def _ask_ahead(
    builder: Any, starts: Any, ends: Any, i: Any, stop: Any, apart: Any,
    streams: Sequence[tuple[Any, int]],
) -> None:  # fmt: skip
    """Emit prefetches of a later row's entries, from ``streams`` of (address, bytes of an entry).

    The entries of a block's rows lie ``apart``: the processor cannot guess where the next are.
    """
    bases, sizes = zip(*streams, strict=True)
    with builder.if_then(apart):
        asker = _asker(builder.module, sizes)
        builder.call(asker, [starts, ends, i, stop, *bases])


def _asker(module: Any, sizes: Sequence[int]) -> Any:
    """Return a function that asks for a later row's entries of so many bytes each.

    A function, since LLVM would compile it anew in the loop of each width.
    """
    name = f"ask_ahead_{'_'.join(map(str, sizes))}"
    if name in module.globals:
        return module.globals[name]
    kind = ir.FunctionType(ir.VoidType(), [I64] * (4 + len(sizes)))
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    starts, ends, i, stop, *bases = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    emitter = Emitter(builder)
    later, last = builder.add(i, I64(_ROWS_AHEAD)), builder.sub(stop, I64(1))
    later = builder.select(builder.icmp_signed("<", later, last), later, last)
    first, after = emitter.read_int(starts, later), emitter.read_int(ends, later)
    for base, size in zip(bases, sizes, strict=True):

        def line(place: Any, _: Any, base: Any = base) -> list[Any]:
            emit_prefetch(builder, builder.add(base, place))
            return []

        # Whole steps up to here are all that begin before the end.
        limit = builder.add(builder.mul(after, I64(size)), I64(LINE - 1))
        loop(builder, builder.mul(first, I64(size)), limit, LINE, [], line)
    builder.ret_void()
    return function


def _loaded_if(emitter: Emitter, condition: Any, base: Any) -> list[Any]:
    """Return the tile at the address ``base`` where ``condition`` holds, zeros where not."""
    builder = emitter.builder
    before = builder.block
    with builder.if_then(condition):
        loaded = emitter.load_tile(base)
        inside = builder.block
    found = []
    for value in loaded:
        phi = builder.phi(emitter.vector)
        phi.add_incoming(emitter.zero, before)
        phi.add_incoming(value, inside)
        found.append(phi)
    return found


def _weighted_sum(
    emitter: Emitter, values: Any, order: Any, indices: Any, start: Any, end: Any, x: Any,
    stride: Any, before: list[Any],
) -> list[Any]:  # fmt: skip
    """Return ``before`` and Σ values[p] x[indices[p]] over p in [start, end), as a tile."""
    builder, width = emitter.builder, emitter.vectors
    # As many sums side by side as keep the multiply-adds from waiting for each other.
    sets = min(GROUP, max(1, CHAINS // width))

    def add_row(value: Any, index: Any, tile: Sequence[Any]) -> list[Any]:
        row = builder.add(x, builder.mul(index, stride))
        return [emitter.fma(value, emitter.load(row, v), each) for v, each in enumerate(tile)]

    def several(p: Any, tiles: list[Any]) -> list[Any]:
        found = list(tiles)
        entries = zip(emitter.values(values, order, p), emitter.indices(indices, p), strict=True)
        for i, (value, index) in enumerate(entries):
            part = slice(i % sets * width, (i % sets + 1) * width)
            found[part] = add_row(emitter.splat(value), index, found[part])
        return found

    def one(p: Any, tile: list[Any]) -> list[Any]:
        place = p if order is None else builder.zext(emitter.read(order, p, I32), I64)
        index = builder.zext(emitter.read(indices, p, I16), I64)
        return add_row(emitter.splat(emitter.read(values, place, F32)), index, tile)

    others = [emitter.zero] * (width * (sets - 1))
    reached, tiles = loop(builder, start, end, GROUP, [*before, *others], several)
    tile = tiles[:width]
    for i in range(1, sets):
        part = tiles[i * width : (i + 1) * width]
        tile = [builder.fadd(*pair) for pair in zip(tile, part, strict=True)]
    _, total = loop(builder, reached, end, 1, tile, one)
    return total


def _dots(
    emitter: Emitter, tile: list[Any], indices: Any, start: Any, end: Any, x: Any, stride: Any,
    out: Any, add: Any,
) -> None:  # fmt: skip
    """Write the products of ``tile`` with x[indices[p]] to ``out[p]``, or add them there."""
    builder = emitter.builder

    def group(p: Any, places: Sequence[Any]) -> None:
        products = []
        for index in places:
            row = builder.add(x, builder.mul(index, stride))
            total = builder.fmul(tile[0], emitter.load(row, 0))
            for v in range(1, emitter.vectors):
                total = emitter.fma(tile[v], emitter.load(row, v), total)
            products.append(total)
        sums = emitter.sums([*products, *[emitter.zero] * (GROUP - len(places))])
        if len(places) == 1:
            sums = builder.extract_element(sums, I32(0))
        pointer = builder.inttoptr(builder.add(out, builder.mul(p, I64(4))), sums.type.as_pointer())
        kept = builder.select(add, builder.load(pointer, align=UNALIGNED), sums.type(None))
        builder.store(builder.fadd(kept, sums), pointer, align=UNALIGNED)

    def several(p: Any, _: Any) -> list[Any]:
        group(p, emitter.indices(indices, p))
        return []

    def one(p: Any, _: Any) -> list[Any]:
        group(p, [builder.zext(emitter.read(indices, p, I16), I64)])
        return []

    reached, _ = loop(builder, start, end, GROUP, [], several)
    loop(builder, reached, end, 1, [], one)
