"""Loops over single entries of a vector x, for one image: scattered sums."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from .vectors import F32, GROUP, I16, I64, Emitter, emitted, loop


@emitted(types.void, types.float32, *[types.int64] * 5)
def scatter_row(
    builder: Any, factor: Any, values: Any, indices: Any, start: Any, end: Any, out: Any
) -> None:
    """Add factor values[p] to out[indices[p]] for p in [start, end); all by their addresses.

    No index may stand twice in [start, end).
    """
    emitter = Emitter(builder)
    kind = ir.FunctionType(F32, [F32] * 3)
    fma = cgutils.get_or_insert_function(builder.module, kind, "llvm.fmuladd.f32")
    target = builder.inttoptr(out, F32.as_pointer())

    def add(pairs: list[tuple[Any, Any]]) -> None:
        # All are read before any is written: the processor need not find out that they are
        # different places.
        places = [builder.gep(target, [index]) for _, index in pairs]
        sums = [
            builder.call(fma, [factor, value, builder.load(place)])
            for (value, _), place in zip(pairs, places, strict=True)
        ]
        for total, place in zip(sums, places, strict=True):
            builder.store(total, place)

    def several(p: Any, _: Any) -> list[Any]:
        add(list(zip(emitter.values(values, p), emitter.indices(indices, p), strict=True)))
        return []

    def one(p: Any, _: Any) -> list[Any]:
        index = builder.zext(emitter.read(indices, p, I16), I64)
        add([(emitter.read(values, p, F32), index)])
        return []

    reached, _ = loop(builder, start, end, GROUP, [], several)
    loop(builder, reached, end, 1, [], one)


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
