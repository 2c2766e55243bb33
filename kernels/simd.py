"""Loops of vector code that Numba's own vectorizer does not find, as LLVM intrinsics.

A row of a sparse product keeps its results in vector registers while the row's nonzeros go by.
Numba cannot hold an array in registers, so these loops are emitted by hand, for vectors as wide
as the processor's. How many vectors a row takes is chosen when it runs, so that one compiled
function, cached on disk, serves every batch; what is left of the last vector is masked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from kernels.processor import vector_lanes

LANES = vector_lanes()
#: Vectors of a row's tile that stay in registers: 64 numbers, in half of the registers.
TILE_VECTORS = max(1, 64 // LANES)
TILE = LANES * TILE_VECTORS
#: Nonzeros that are read together, and whose dot products are summed across lanes together.
_GROUP = 4
#: Multiply-adds that go side by side, so that none waits for the one before.
_CHAINS = 8

_F32, _I1, _I16, _I32, _I64 = ir.FloatType(), *(ir.IntType(bits) for bits in (1, 16, 32, 64))
_VECTOR = ir.VectorType(_F32, LANES)
_LANE_NUMBERS = ir.VectorType(_I32, LANES)
_MASK = ir.VectorType(_I1, LANES)
_ZERO = ir.Constant(_VECTOR, [0.0] * LANES)
# Loads and stores need no alignment: that they have it makes them fast, not right.
_ANY = 4


@intrinsic  # type: ignore[untyped-decorator]
def address(typingctx: Any, array: Any) -> Any:
    """Return the address of the first element of ``array``."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        struct = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        return builder.ptrtoint(struct.data, _I64)

    return types.int64(array), codegen


@intrinsic  # type: ignore[untyped-decorator]
def number_at(typingctx: Any, base: Any, index: Any) -> Any:
    """Return the ``index``-th 32-bit integer at the address ``base``."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emitter = _Emitter(builder, 1, None)
        return builder.sext(emitter.read(arguments[0], arguments[1], _I32), _I64)

    return types.int64(types.int64, types.int64), codegen


class _Emitter:
    """Emits the pieces that the loops are made of."""

    def __init__(self, builder: Any, vectors: int, mask: Any) -> None:
        self.builder = builder
        self.vectors = vectors
        #: Lanes of the last vector that exist, or None for all.
        self.mask = mask

    def load_tile(self, base: Any) -> list[Any]:
        """Return the tile at the address ``base``; zeros in lanes that do not exist."""
        return [self.load(base, v) for v in range(self.vectors)]

    def load(self, base: Any, v: int) -> Any:
        """Return the ``v``-th vector of the tile at the address ``base``."""
        pointer = self._pointer(base, v)
        if self.mask is None or v < self.vectors - 1:
            return self.builder.load(pointer, align=_ANY)
        masked = self._function("llvm.masked.load", _VECTOR, [pointer.type, _I32, _MASK, _VECTOR])
        return self.builder.call(masked, [pointer, ir.Constant(_I32, _ANY), self.mask, _ZERO])

    def store_tile(self, tile: Sequence[Any], base: Any) -> None:
        """Write ``tile`` to the address ``base``, but for lanes that do not exist."""
        for v, value in enumerate(tile):
            pointer = self._pointer(base, v)
            if self.mask is None or v < self.vectors - 1:
                self.builder.store(value, pointer, align=_ANY)
            else:
                masked = self._function(
                    "llvm.masked.store", ir.VoidType(), [_VECTOR, pointer.type, _I32, _MASK]
                )
                given = [value, pointer, ir.Constant(_I32, _ANY), self.mask]
                self.builder.call(masked, given)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """Return ``a b + c``."""
        name = f"llvm.fma.v{LANES}f32"
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [a, b, c])

    def splat(self, scalar: Any) -> Any:
        """Return a vector of ``scalar`` in every lane."""
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        one = self.builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
        lanes = ir.Constant(_LANE_NUMBERS, [0] * LANES)
        return self.builder.shuffle_vector(one, undefined, lanes)

    def read(self, base: Any, index: Any, kind: Any) -> Any:
        """Return the ``index``-th element of type ``kind`` at the address ``base``."""
        pointer = self.builder.inttoptr(base, kind.as_pointer())
        return self.builder.load(self.builder.gep(pointer, [index]))

    def values(self, base: Any, order: Any, p: Any) -> list[Any]:
        """Return a group of values from the ``p``-th on, or of those that ``order`` names."""
        if order is None:
            group = self._group(base, p, _F32)
            return [self.builder.extract_element(group, _I32(i)) for i in range(_GROUP)]
        places = self._group(order, p, _I32)
        return [
            self.read(
                base, self.builder.zext(self.builder.extract_element(places, _I32(i)), _I64), _F32
            )
            for i in range(_GROUP)
        ]

    def indices(self, base: Any, p: Any) -> list[Any]:
        """Return a group of 16-bit indices from the ``p``-th on.

        One load for all: the first cache gives a whole line or one number at a time, and a line
        of X is wanted at nearly every one of them.
        """
        pointer = self.builder.inttoptr(
            self.builder.add(base, self.builder.mul(p, _I64(2))), _I64.as_pointer()
        )
        packed = self.builder.load(pointer, align=2)
        return [
            self.builder.and_(self.builder.lshr(packed, _I64(16 * i)), _I64(0xFFFF))
            for i in range(_GROUP)
        ]

    def _group(self, base: Any, p: Any, kind: Any) -> Any:
        pointer = self.builder.inttoptr(
            self.builder.add(base, self.builder.mul(p, _I64(4))),
            ir.VectorType(kind, _GROUP).as_pointer(),
        )
        return self.builder.load(pointer, align=_ANY)

    def row_of(self, x: Any, indices: Any, p: Any, stride: Any) -> Any:
        """Return the address of the row of ``x`` that the ``p``-th 16-bit index names."""
        index = self.builder.zext(self.read(indices, p, _I16), _I64)
        return self.builder.add(x, self.builder.mul(index, stride))

    def sums(self, vectors: Sequence[Any]) -> Any:
        """Return the sum of each of ``vectors`` across its lanes, as a short vector."""
        level = list(vectors)
        width = LANES  # lanes over which each sum is still spread
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=True)
            level = [self._halved(a, b, width) for a, b in pairs]
            width //= 2
        total = level[0]
        while width > 1:
            width //= 2
            other = [lane ^ width for lane in range(LANES)]
            total = self.builder.fadd(total, self._shuffled(total, total, other))
        return self._shuffled(total, total, [i * LANES // _GROUP for i in self._order()])

    def _order(self) -> list[int]:
        """Return where the sum of each vector of a group lies, in units of a group's lanes."""
        places = list(range(_GROUP))
        bits = _GROUP.bit_length() - 1
        return [int(f"{place:0{bits}b}"[::-1], 2) for place in places]

    def _halved(self, a: Any, b: Any, width: int) -> Any:
        """Return ``a`` and ``b`` side by side, each spread over half as many lanes."""
        half = width // 2
        low, high = [], []
        for lane in range(LANES):
            block, inside = divmod(lane, width)
            source = 0 if inside < half else LANES
            low.append(source + block * width + inside % half)
            high.append(source + block * width + half + inside % half)
        return self.builder.fadd(self._shuffled(a, b, low), self._shuffled(a, b, high))

    def _shuffled(self, a: Any, b: Any, lanes: Sequence[int]) -> Any:
        chosen = ir.Constant(ir.VectorType(_I32, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(a, b, chosen)

    def _pointer(self, base: Any, v: int) -> Any:
        offset = self.builder.add(base, ir.Constant(_I64, v * LANES * 4))
        return self.builder.inttoptr(offset, _VECTOR.as_pointer())

    def _function(self, name: str, result: Any, arguments: list[Any]) -> Any:
        full = f"{name}.v{LANES}f32.p0"
        kind = ir.FunctionType(result, arguments)
        return cgutils.get_or_insert_function(self.builder.module, kind, full)


def _for_width(builder: Any, width: Any, emit: Callable[[_Emitter], None]) -> None:
    """Emit ``emit`` for every number of vectors, and choose by ``width`` as it runs."""
    vectors = builder.udiv(
        builder.add(width, ir.Constant(_I64, LANES - 1)), ir.Constant(_I64, LANES)
    )
    left = builder.sub(
        width, builder.mul(builder.sub(vectors, ir.Constant(_I64, 1)), ir.Constant(_I64, LANES))
    )
    full = builder.icmp_unsigned("==", left, ir.Constant(_I64, LANES))
    ladder = ir.Constant(_LANE_NUMBERS, list(range(LANES)))
    undefined = ir.Constant(_LANE_NUMBERS, ir.Undefined)
    one = builder.insert_element(undefined, builder.trunc(left, _I32), ir.Constant(_I32, 0))
    lanes = builder.shuffle_vector(one, undefined, ir.Constant(_LANE_NUMBERS, [0] * LANES))
    mask = builder.icmp_unsigned("<", ladder, lanes)
    done = builder.append_basic_block("chosen")
    choice = builder.add(vectors, builder.select(full, ir.Constant(_I64, 1000), vectors.type(0)))
    switch = builder.switch(choice, done)
    for count in range(1, TILE_VECTORS + 1):
        for offset, given in ((1000, None), (0, mask)):
            block = builder.append_basic_block(f"vectors{count + offset}")
            switch.add_case(ir.Constant(_I64, count + offset), block)
            builder.position_at_end(block)
            emit(_Emitter(builder, count, given))
            builder.branch(done)
    builder.position_at_end(done)


def _loop(builder: Any, start: Any, end: Any, step: int, carried: Sequence[Any], body: Any) -> Any:
    """Emit a loop over [start, end) in whole steps; return (where it stopped, carried values)."""
    entry = builder.block
    head, inside, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    p = builder.phi(_I64)
    values = [builder.phi(value.type) for value in carried]
    following = builder.add(p, ir.Constant(_I64, step))
    builder.cbranch(builder.icmp_signed("<=", following, end), inside, after)
    builder.position_at_end(inside)
    new = body(p, values)
    p.add_incoming(start, entry)
    p.add_incoming(following, builder.block)
    for value, first, later in zip(values, carried, new, strict=True):
        value.add_incoming(first, entry)
        value.add_incoming(later, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return p, values


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

            def emit(emitter: _Emitter) -> None:
                blocks = [builder.append_basic_block(name) for name in ("load", "sum")]
                before = builder.block
                builder.cbranch(add, *blocks)
                builder.position_at_end(blocks[0])
                loaded = emitter.load_tile(out)
                builder.branch(blocks[1])
                builder.position_at_end(blocks[1])
                first = [builder.phi(_VECTOR) for _ in loaded]
                for phi, value in zip(first, loaded, strict=True):
                    phi.add_incoming(_ZERO, before)
                    phi.add_incoming(value, blocks[0])

                def add_row(value: Any, index: Any, tile: Sequence[Any]) -> list[Any]:
                    row, value = builder.add(x, builder.mul(index, stride)), emitter.splat(value)
                    return [
                        emitter.fma(value, emitter.load(row, v), each)
                        for v, each in enumerate(tile)
                    ]

                width, sets = emitter.vectors, min(_GROUP, max(1, _CHAINS // emitter.vectors))

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
                    place = builder.zext(emitter.read(order, p, _I32), _I64) if permuted else p
                    index = builder.zext(emitter.read(indices, p, _I16), _I64)
                    return add_row(emitter.read(values, place, _F32), index, tile)

                others = [_ZERO] * (width * (sets - 1))
                reached, tiles = _loop(builder, start, end, _GROUP, [*first, *others], several)
                tile = tiles[:width]
                for i in range(1, sets):
                    part = tiles[i * width : (i + 1) * width]
                    tile = [builder.fadd(*pair) for pair in zip(tile, part, strict=True)]
                _, tile = _loop(builder, reached, end, 1, tile, one)
                emitter.store_tile(tile, out)

            _for_width(builder, width, emit)
            return context.get_dummy_value()

        whole = types.int64
        signature = types.void(*[whole] * 9, types.boolean)
        return signature, codegen

    return rows


def _gathered_dot(permuted: bool) -> Any:
    """Return an intrinsic for the dot product of stored values with the places they name."""

    @intrinsic  # type: ignore[untyped-decorator]
    def dot(
        typingctx: Any, values: Any, order: Any, indices: Any, start: Any, end: Any, x: Any
    ) -> Any:
        """Return Σ values[p] x[indices[p]] over p in [start, end); all by their addresses.

        Number by number: processors gather a vector more slowly than they load its lanes.
        """

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            values, order, indices, start, end, x = arguments
            emitter = _Emitter(builder, 1, None)
            kind = ir.FunctionType(_F32, [_F32] * 3)
            fma = cgutils.get_or_insert_function(builder.module, kind, "llvm.fma.f32")

            def step(p: Any, total: Any) -> Any:
                place = builder.zext(emitter.read(order, p, _I32), _I64) if permuted else p
                index = builder.zext(emitter.read(indices, p, _I16), _I64)
                pair = emitter.read(values, place, _F32), emitter.read(x, index, _F32)
                return builder.call(fma, [*pair, total])

            def several(p: Any, totals: list[Any]) -> list[Any]:
                return [
                    step(builder.add(p, ir.Constant(_I64, i)), total)
                    for i, total in enumerate(totals)
                ]

            zero = ir.Constant(_F32, 0.0)
            reached, totals = _loop(builder, start, end, _CHAINS, [zero] * _CHAINS, several)
            total = totals[0]
            for other in totals[1:]:
                total = builder.fadd(total, other)
            _, rest = _loop(builder, reached, end, 1, [total], lambda p, t: [step(p, t[0])])
            return rest[0]

        return types.float32(*[types.int64] * 6), codegen

    return dot


gathered_dot = _gathered_dot(permuted=False)
gathered_dot_permuted = _gathered_dot(permuted=True)
sum_rows = _gathered_rows(permuted=False)
sum_rows_permuted = _gathered_rows(permuted=True)


def _scatter(permuted: bool) -> Any:
    """Return an intrinsic that adds multiples of stored values to the places they name."""

    @intrinsic  # type: ignore[untyped-decorator]
    def scatter(
        typingctx: Any, factor: Any, values: Any, order: Any, indices: Any, start: Any, end: Any,
        out: Any,
    ) -> Any:  # fmt: skip
        """Add factor values[p] to out[indices[p]] for p in [start, end); all by their addresses.

        No index may stand twice in [start, end).
        """

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            factor, values, order, indices, start, end, out = arguments
            emitter = _Emitter(builder, 1, None)
            kind = ir.FunctionType(_F32, [_F32] * 3)
            fma = cgutils.get_or_insert_function(builder.module, kind, "llvm.fma.f32")
            target = builder.inttoptr(out, _F32.as_pointer())

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
                place = builder.zext(emitter.read(order, p, _I32), _I64) if permuted else p
                index = builder.zext(emitter.read(indices, p, _I16), _I64)
                add([(emitter.read(values, place, _F32), index)])
                return []

            reached, _ = _loop(builder, start, end, _GROUP, [], several)
            _loop(builder, reached, end, 1, [], one)
            return context.get_dummy_value()

        return types.void(types.float32, *[types.int64] * 6), codegen

    return scatter


scatter_row = _scatter(permuted=False)
scatter_row_permuted = _scatter(permuted=True)


@intrinsic  # type: ignore[untyped-decorator]
def scaled_entries(
    typingctx: Any, factor: Any, indices: Any, start: Any, end: Any, x: Any, out: Any
) -> Any:
    """Write factor x[indices[p]] for p in [start, end) to ``out[p]``; all by their addresses."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        factor, indices, start, end, x, out = arguments
        emitter = _Emitter(builder, 1, None)
        target = builder.inttoptr(out, _F32.as_pointer())

        def body(p: Any, _: Any) -> list[Any]:
            index = builder.zext(emitter.read(indices, p, _I16), _I64)
            value = builder.fmul(factor, emitter.read(x, index, _F32))
            builder.store(value, builder.gep(target, [p]))
            return []

        _loop(builder, start, end, 1, [], body)
        return context.get_dummy_value()

    return types.void(types.float32, *[types.int64] * 5), codegen


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

        def emit(emitter: _Emitter) -> None:
            tile = emitter.load_tile(y)

            def group(p: Any, size: int) -> None:
                products = []
                for i in range(size):
                    place = builder.add(p, ir.Constant(_I64, i))
                    row = emitter.row_of(x, indices, place, stride)
                    total = builder.fmul(tile[0], emitter.load(row, 0))
                    for v in range(1, emitter.vectors):
                        total = emitter.fma(tile[v], emitter.load(row, v), total)
                    products.append(total)
                sums = emitter.sums([*products, *[_ZERO] * (_GROUP - size)])
                if size == 1:
                    sums = builder.extract_element(sums, ir.Constant(_I32, 0))
                pointer = builder.inttoptr(
                    builder.add(out, builder.mul(p, ir.Constant(_I64, 4))), sums.type.as_pointer()
                )
                before = builder.load(pointer, align=_ANY)
                kept = builder.select(add, before, sums.type(None))
                builder.store(builder.fadd(kept, sums), pointer, align=_ANY)

            def many(p: Any, _: Any) -> list[Any]:
                group(p, _GROUP)
                return []

            def one(p: Any, _: Any) -> list[Any]:
                group(p, 1)
                return []

            reached, _ = _loop(builder, start, end, _GROUP, [], many)
            _loop(builder, reached, end, 1, [], one)

        _for_width(builder, width, emit)
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

        def emit(emitter: _Emitter) -> None:
            def body(j: Any, _: Any) -> list[Any]:
                source = builder.add(x, builder.mul(j, stride))
                target = builder.add(panel, builder.mul(j, ir.Constant(_I64, 4 * TILE)))
                emitter.store_tile(emitter.load_tile(source), target)
                return []

            _loop(builder, ir.Constant(_I64, 0), count, 1, [], body)

        _for_width(builder, width, emit)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), codegen
