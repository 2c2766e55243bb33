"""Loops over single entries of a vector x, for one image: dot products, scattered sums."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from .vectors import CHAINS, F32, GROUP, I16, I32, I64, Emitter, emitted, loop


def _gathered_dot(permuted: bool) -> Any:
    """Return an intrinsic for the dot product of stored values with the places they name."""

    @emitted(types.float32, *[types.int64] * 6)
    def dot(
        builder: Any, values: Any, order: Any, indices: Any, start: Any, end: Any, x: Any
    ) -> Any:
        """Return Σ values[p] x[indices[p]] over p in [start, end); all by their addresses.

        Number by number: processors gather a vector more slowly than they load its lanes.
        """
        emitter = Emitter(builder)
        kind = ir.FunctionType(F32, [F32] * 3)
        fma = cgutils.get_or_insert_function(builder.module, kind, "llvm.fmuladd.f32")

        def step(p: Any, total: Any) -> Any:
            place = builder.zext(emitter.read(order, p, I32), I64) if permuted else p
            index = builder.zext(emitter.read(indices, p, I16), I64)
            pair = emitter.read(values, place, F32), emitter.read(x, index, F32)
            return builder.call(fma, [*pair, total])

        def several(p: Any, totals: list[Any]) -> list[Any]:
            return [
                step(builder.add(p, ir.Constant(I64, i)), total) for i, total in enumerate(totals)
            ]

        zero = ir.Constant(F32, 0.0)
        reached, totals = loop(builder, start, end, CHAINS, [zero] * CHAINS, several)
        total = totals[0]
        for other in totals[1:]:
            total = builder.fadd(total, other)
        _, rest = loop(builder, reached, end, 1, [total], lambda p, t: [step(p, t[0])])
        return rest[0]

    return dot


gathered_dot = _gathered_dot(permuted=False)
gathered_dot_permuted = _gathered_dot(permuted=True)


def _scatter(permuted: bool) -> Any:
    """Return an intrinsic that adds multiples of stored values to the places they name."""

    @emitted(types.void, types.float32, *[types.int64] * 6)
    def scatter(
        builder: Any, factor: Any, values: Any, order: Any, indices: Any, start: Any, end: Any,
        out: Any,
    ) -> None:  # fmt: skip
        """Add factor values[p] to out[indices[p]] for p in [start, end); all by their addresses.

        No index may stand twice in [start, end).
        """
        emitter = Emitter(builder)
        kind = ir.FunctionType(F32, [F32] * 3)
        fma = cgutils.get_or_insert_function(builder.module, kind, "llvm.fmuladd.f32")
        target = builder.inttoptr(out, F32.as_pointer())

        def add(pairs: list[tuple[Any, Any]]) -> None:
            # All are read before any is written: the processor need not find out that they
            # are different places.
            places = [builder.gep(target, [index]) for _, index in pairs]
            sums = [
                builder.call(fma, [factor, value, builder.load(place)])
                for (value, _), place in zip(pairs, places, strict=True)
            ]
            for total, place in zip(sums, places, strict=True):
                builder.store(total, place)

        def several(p: Any, _: Any) -> list[Any]:
            group = emitter.values(values, order if permuted else None, p)
            add(list(zip(group, emitter.indices(indices, p), strict=True)))
            return []

        def one(p: Any, _: Any) -> list[Any]:
            place = builder.zext(emitter.read(order, p, I32), I64) if permuted else p
            index = builder.zext(emitter.read(indices, p, I16), I64)
            add([(emitter.read(values, place, F32), index)])
            return []

        reached, _ = loop(builder, start, end, GROUP, [], several)
        loop(builder, reached, end, 1, [], one)

    return scatter


scatter_row = _scatter(permuted=False)
scatter_row_permuted = _scatter(permuted=True)


@emitted(types.void, types.float32, *[types.int64] * 5)
def scaled_entries(
    builder: Any, factor: Any, indices: Any, start: Any, end: Any, x: Any, out: Any
) -> None:
    """Write factor x[indices[p]] for p in [start, end) to ``out[p]``; all by their addresses."""
    emitter = Emitter(builder)
    target = builder.inttoptr(out, F32.as_pointer())

    def body(p: Any, _: Any) -> list[Any]:
        index = builder.zext(emitter.read(indices, p, I16), I64)
        value = builder.fmul(factor, emitter.read(x, index, F32))
        builder.store(value, builder.gep(target, [p]))
        return []

    loop(builder, start, end, 1, [], body)


@emitted(types.void, *[types.int64] * 7)
def add_entries(
    builder: Any, values: Any, rows: Any, columns: Any, start: Any, end: Any, x: Any, out: Any
) -> None:
    """Add values[p] x[columns[p]] to out[rows[p]] for p in [start, end); all by their addresses.

    Rows and columns are of 16 bits; a row may stand there any number of times.
    """
    emitter = Emitter(builder)
    target = builder.inttoptr(out, F32.as_pointer())

    def body(p: Any, _: Any) -> list[Any]:
        row, column = (builder.zext(emitter.read(base, p, I16), I64) for base in (rows, columns))
        place = builder.gep(target, [row])
        product = builder.fmul(emitter.read(values, p, F32), emitter.read(x, column, F32))
        builder.store(builder.fadd(builder.load(place), product), place)
        return []

    loop(builder, start, end, 1, [], body)
