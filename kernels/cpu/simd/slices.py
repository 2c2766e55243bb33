"""Loops for one image: of sliced ELLPACK, and over single entries.

Sliced ELLPACK takes one entry of as many rows as a vector has lanes, at a time. A group of columns
of x lies in registers, where the entries look their factors up: no cache is asked. Without the
lookup of AVX-512 the group lies in memory, and its lanes are read one by one.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from .vectors import F32, GROUP, I8, I16, I32, I64, LANES, Emitter, emitted, first_lanes, loop

#: Places of a group: as many as AVX-512 looks up at once. The last one holds a zero, for lanes
#: that have no entry: their product is 0 even where x is infinite or NaN.
PLACES = 32
COLUMNS = PLACES - 1
_INDICES = ir.VectorType(I32, LANES)


@emitted(types.int64, *[types.int64] * 7)
def add_group(
    builder: Any, values: Any, places: Any, steps: Any, slices: Any, x: Any, columns: Any,
    sums: Any,
) -> Any:  # fmt: skip
    """Add a group's entries times x to ``sums``, and return how many steps that took.

    Addresses of: values (steps, lanes), the 8-bit places in the group of their columns, the 8-bit
    number of steps of each slice, the group's first column of x, fp32 sums (slices, lanes).
    ``columns`` of x are there to be read.
    """
    emitter = Emitter(builder)
    look_up = _lookup(emitter, x, columns)
    values, sums = (builder.inttoptr(a, emitter.vector.as_pointer()) for a in (values, sums))
    places = builder.inttoptr(places, ir.VectorType(I8, LANES).as_pointer())
    steps = builder.inttoptr(steps, I8.as_pointer())

    def one_slice(s: Any, carried: Any) -> list[Any]:
        end = builder.add(carried[0], builder.zext(builder.load(builder.gep(steps, [s])), I64))

        def step(p: Any, total: Any) -> list[Any]:
            factors = look_up(builder.load(builder.gep(places, [p]), align=LANES))
            value = builder.load(builder.gep(values, [p]), align=4 * LANES)
            return [emitter.fma(value, factors, total[0])]

        before = builder.load(builder.gep(sums, [s]), align=4 * LANES)
        _, total = loop(builder, carried[0], end, 1, [before], step)
        builder.store(total[0], builder.gep(sums, [s]), align=4 * LANES)
        return [end]

    _, taken = loop(builder, I64(0), slices, 1, [I64(0)], one_slice)
    return taken[0]


def _lookup(emitter: Emitter, x: Any, columns: Any) -> Any:
    """Return what emits the lookup of a vector of places in the group that begins at ``x``."""
    builder = emitter.builder
    group = [_part(emitter, x, columns, first) for first in range(0, PLACES, LANES)]
    if len(group) == 2:
        kind = ir.FunctionType(emitter.vector, [emitter.vector, _INDICES, emitter.vector])
        name = "llvm.x86.avx512.vpermi2var.ps.512"
        permute = cgutils.get_or_insert_function(builder.module, kind, name)
        return lambda places: builder.call(
            permute, [group[0], builder.zext(places, _INDICES), group[1]]
        )
    kept = cgutils.alloca_once(builder, ir.ArrayType(emitter.vector, len(group)))
    for v, part in enumerate(group):
        builder.store(part, builder.gep(kept, [I32(0), I32(v)]))
    numbers = builder.bitcast(kept, F32.as_pointer())

    def one_by_one(places: Any) -> Any:
        found = emitter.zero
        for lane in range(LANES):
            place = builder.zext(builder.extract_element(places, I32(lane)), I64)
            number = builder.load(builder.gep(numbers, [place]))
            found = builder.insert_element(found, number, I32(lane))
        return found

    return one_by_one


def _part(emitter: Emitter, x: Any, columns: Any, first: int) -> Any:
    """Return places ``first`` on of the group: zero beyond ``columns`` and in the last place."""
    builder = emitter.builder
    mask = first_lanes(builder, builder.sub(columns, I64(first)), LANES)
    if first + LANES == PLACES:
        mask = builder.and_(mask, ir.Constant(mask.type, [1] * (LANES - 1) + [0]))
    base = builder.add(x, I64(4 * first))
    return Emitter(builder, 1, mask).load(base, 0)


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
