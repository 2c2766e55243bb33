"""What the loops are made of: vectors in registers, loaded, multiplied, summed and stored.

What is left of the last vector of a row is masked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ...processor import vector_lanes

LANES = vector_lanes()
#: Vectors of a row's tile that stay in registers: at most half of those there are.
TILE_VECTORS = min(8, 64 // LANES)
TILE = LANES * TILE_VECTORS
#: Vectors of a tile of which the sums of two rows are kept, at most: with a vector of X and two
#: values they must fit 16 registers.
PAIR_VECTORS = 5
#: Vectors of a tile of which the sums of four rows are kept, at most: of 32 registers they take 16.
#: None where there are 16 registers, and in narrow vectors, where nothing was measured.
FOUR_VECTORS = 4 if LANES == 16 else 0
#: Vectors of a row of dY that are kept to be multiplied by rows of X, at most. Each tile costs a
#: nonzero a sum across lanes, as dear as four vectors.
DOT_VECTORS = 8
#: As far as both rows of a pair can have them in registers.
DOT_VECTORS_OF_BOTH = 8 if LANES == 16 else 4
#: Nonzeros that are read together, and whose dot products are summed across lanes together.
GROUP = 4
#: Multiply-adds that go side by side, so that none waits for the one before.
CHAINS = 8

F32, I1, I8, I16, I32, I64 = ir.FloatType(), *(ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
# Loads and stores need no alignment: that they have it makes them fast, not right.
UNALIGNED = 4


def emitted(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make an intrinsic of a function that emits code, of Numba's types given here.

    The function gets the builder and the values of the arguments.
    """

    def decorate(emit: Callable[..., Any]) -> Any:
        @intrinsic  # type: ignore[untyped-decorator]
        @wraps(emit)
        def typed(typingctx: Any, *given: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                found = emit(builder, *values)
                return context.get_dummy_value() if found is None else found

            return result(*arguments), codegen

        return typed

    return decorate


@intrinsic  # type: ignore[untyped-decorator]
def address(typingctx: Any, array: Any) -> Any:
    """Return the address of the first element of ``array``."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        struct = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        return builder.ptrtoint(struct.data, I64)

    return types.int64(array), codegen


@emitted(types.int64, types.int64, types.int64)
def number_at(builder: Any, base: Any, index: Any) -> Any:
    """Return the ``index``-th 32-bit integer at the address ``base``."""
    return Emitter(builder).read_int(base, index)


@emitted(types.int64, types.int64, types.int64)
def long_at(builder: Any, base: Any, index: Any) -> Any:
    """Return the ``index``-th 64-bit integer at the address ``base``."""
    return Emitter(builder).read(base, index, I64)


@emitted(types.float32, types.int64, types.int64)
def float_at(builder: Any, base: Any, index: Any) -> Any:
    """Return the ``index``-th float32 at the address ``base``."""
    place = builder.add(base, builder.mul(index, I64(4)))
    return builder.load(builder.inttoptr(place, F32.as_pointer()), align=UNALIGNED)


def emit_prefetch(builder: Any, base: Any, cache: int = 1) -> None:
    """Emit a prefetch of the line at the address ``base``, to be read, into a ``cache``."""
    kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(
        function, [builder.inttoptr(base, I8.as_pointer()), I32(0), I32(4 - cache), I32(1)]
    )


class Emitter:
    """Emits the pieces that the loops are made of."""

    def __init__(
        self,
        builder: Any,
        vectors: int = 1,
        mask: Any = None,
        lanes: int = LANES,
        tail: Any = None,
    ) -> None:
        self.builder = builder
        self.vectors = vectors
        self.lanes = lanes
        #: Where the last vector begins, in bytes, if it does not follow the one before.
        self.tail = tail
        #: Lanes of the last vector that exist, or None for all.
        self.mask = mask
        self.vector = ir.VectorType(F32, lanes)
        self.zero = ir.Constant(self.vector, [0.0] * lanes)

    def load_tile(self, base: Any) -> list[Any]:
        """Return the tile at the address ``base``; zeros in lanes that do not exist."""
        return [self.load(base, v) for v in range(self.vectors)]

    def load_tile_if(self, condition: Any, base: Any) -> list[Any]:
        """Return the tile at the address ``base`` where ``condition`` holds, zeros where not."""
        before = self.builder.block
        with self.builder.if_then(condition):
            loaded = self.load_tile(base)
            inside = self.builder.block
        found = []
        for value in loaded:
            phi = self.builder.phi(self.vector)
            phi.add_incoming(self.zero, before)
            phi.add_incoming(value, inside)
            found.append(phi)
        return found

    def load(self, base: Any, v: int) -> Any:
        """Return the ``v``-th vector of the tile at the address ``base``."""
        pointer = self._pointer(base, v)
        if self.mask is None or v < self.vectors - 1:
            return self.builder.load(pointer, align=UNALIGNED)
        kinds = [pointer.type, I32, self.mask.type, self.vector]
        masked = self._function("llvm.masked.load", self.vector, kinds)
        return self.builder.call(
            masked, [pointer, ir.Constant(I32, UNALIGNED), self.mask, self.zero]
        )

    def store_tile(self, tile: Sequence[Any], base: Any) -> None:
        """Write ``tile`` to the address ``base``, but for lanes that do not exist."""
        for v, value in enumerate(tile):
            pointer = self._pointer(base, v)
            if self.mask is None or v < self.vectors - 1:
                self.builder.store(value, pointer, align=UNALIGNED)
            else:
                kinds = [self.vector, pointer.type, I32, self.mask.type]
                masked = self._function("llvm.masked.store", ir.VoidType(), kinds)
                given = [value, pointer, I32(UNALIGNED), self.mask]
                self.builder.call(masked, given)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """Return ``a b + c``, rounded once where the processor can."""
        name = f"llvm.fmuladd.v{self.lanes}f32"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [a, b, c])

    def splat(self, scalar: Any) -> Any:
        """Return a vector of ``scalar`` in every lane."""
        return splat(self.builder, scalar, self.lanes)

    def read(self, base: Any, index: Any, kind: Any) -> Any:
        """Return the ``index``-th element of type ``kind`` at the address ``base``."""
        pointer = self.builder.inttoptr(base, kind.as_pointer())
        return self.builder.load(self.builder.gep(pointer, [index]))

    def read_int(self, base: Any, index: Any) -> Any:
        """Return the ``index``-th 32-bit integer at the address ``base``."""
        return self.builder.sext(self.read(base, index, I32), I64)

    def values(self, base: Any, p: Any) -> list[Any]:
        """Return a group of values from the ``p``-th on."""
        group = self._group(base, p, F32)
        return [self.builder.extract_element(group, I32(i)) for i in range(GROUP)]

    def indices(self, base: Any, p: Any) -> list[Any]:
        """Return a group of 16-bit indices from the ``p``-th on.

        One load for all: the first cache gives a whole line or one number at a time, and a line
        of X is wanted at nearly every one of them.
        """
        pointer = self.builder.inttoptr(
            self.builder.add(base, self.builder.mul(p, I64(2))), I64.as_pointer()
        )
        packed = self.builder.load(pointer, align=2)
        return [
            self.builder.and_(self.builder.lshr(packed, I64(16 * i)), I64(0xFFFF))
            for i in range(GROUP)
        ]

    def _group(self, base: Any, p: Any, kind: Any) -> Any:
        pointer = self.builder.inttoptr(
            self.builder.add(base, self.builder.mul(p, I64(4))),
            ir.VectorType(kind, GROUP).as_pointer(),
        )
        return self.builder.load(pointer, align=UNALIGNED)

    def sums(self, vectors: Sequence[Any]) -> Any:
        """Return the sum of each of ``vectors`` across its lanes, as a short vector."""
        level = list(vectors)
        width = self.lanes  # lanes over which each sum is still spread
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=True)
            level = [self._halved(a, b, width) for a, b in pairs]
            width //= 2
        total = level[0]
        while width > 1:
            width //= 2
            other = [lane ^ width for lane in range(self.lanes)]
            total = self.builder.fadd(total, self._shuffled(total, total, other))
        return self._shuffled(total, total, [i * self.lanes // GROUP for i in self._order()])

    def _order(self) -> list[int]:
        """Return where the sum of each vector of a group lies, in units of a group's lanes."""
        places = list(range(GROUP))
        bits = GROUP.bit_length() - 1
        return [int(f"{place:0{bits}b}"[::-1], 2) for place in places]

    def _halved(self, a: Any, b: Any, width: int) -> Any:
        """Return ``a`` and ``b`` side by side, each spread over half as many lanes."""
        half = width // 2
        low, high = [], []
        for lane in range(self.lanes):
            block, inside = divmod(lane, width)
            source = 0 if inside < half else self.lanes
            low.append(source + block * width + inside % half)
            high.append(source + block * width + half + inside % half)
        return self.builder.fadd(self._shuffled(a, b, low), self._shuffled(a, b, high))

    def _shuffled(self, a: Any, b: Any, lanes: Sequence[int]) -> Any:
        chosen = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(a, b, chosen)

    def _pointer(self, base: Any, v: int) -> Any:
        last = self.tail is not None and v == self.vectors - 1
        after = self.tail if last else ir.Constant(I64, v * self.lanes * 4)
        offset = self.builder.add(base, after)
        return self.builder.inttoptr(offset, self.vector.as_pointer())

    def _function(self, name: str, result: Any, arguments: list[Any]) -> Any:
        full = f"{name}.v{self.lanes}f32.p0"
        kind = ir.FunctionType(result, arguments)
        return cgutils.get_or_insert_function(self.builder.module, kind, full)


def splat(builder: Any, scalar: Any, lanes: int) -> Any:
    """Return a vector of ``scalar`` in each of ``lanes``."""
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
    return builder.shuffle_vector(one, undefined, zeros)


def first_lanes(builder: Any, count: Any, lanes: int) -> Any:
    """Return the mask of the first ``count`` of ``lanes``."""
    ladder = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
    return builder.icmp_signed("<", ladder, splat(builder, builder.trunc(count, I32), lanes))


def loop(
    builder: Any, start: Any, end: Any, step: int, carried: Sequence[Any], body: Any
) -> tuple[Any, list[Any]]:
    """Emit a loop over [start, end) in whole steps; return (where it stopped, carried values)."""
    entry = builder.block
    head, inside, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    p = builder.phi(I64)
    values = [builder.phi(value.type) for value in carried]
    following = builder.add(p, ir.Constant(I64, step))
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
