"""What loops over blocks of 4 x 4 are made of: vectors as groups of four lanes, called quads.

A vector holds a block, or some of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from .blocks import SIDE
from .vectors import I32, I64, LANES, UNALIGNED, Emitter

#: Rows of a block that a vector holds, and vectors of a block.
ROWS = LANES // SIDE
VECTORS = SIDE // ROWS
QUAD_BYTES = 4 * SIDE


class Quads:
    """Emits the pieces that the loops are made of; a quad is four lanes."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.emitter = Emitter(builder)
        self.quad = Emitter(builder, lanes=SIDE)

    def numbers(self, base: Any) -> Any:
        """Return the four numbers at an address."""
        return self.quad.load(base, 0)

    def in_every_row(self, numbers: Any) -> Any:
        """Return four numbers repeated for each row of a vector."""
        return self.shuffled(numbers, numbers, [lane % SIDE for lane in range(LANES)])

    def along_rows(self, numbers: Any, v: int) -> Any:
        """Return, for the ``v``-th vector of a block, each row's number in all of its lanes."""
        return self.shuffled(numbers, numbers, [v * ROWS + i // SIDE for i in range(LANES)])

    def sums_of_rows(self, vectors: Sequence[Any]) -> Any:
        """Return the sums of each row of up to four vectors: a quad per row, a lane per vector."""
        filled = [*vectors, *[self.emitter.zero] * (SIDE - len(vectors))]
        return self._folded(filled, 1, SIDE)

    def sums_of_columns(self, vectors: Sequence[Any]) -> Any:
        """Return the sums of the columns of as many vectors as there are quads, a quad each."""
        return self._folded(list(vectors), SIDE, LANES)

    def transposed(self, vectors: Sequence[Any]) -> list[Any]:
        """Return up to four vectors with lanes and vectors swapped within each quad."""
        zeros = [vectors[0].type(None)] * (SIDE - len(vectors))
        a, b, c, d = [*vectors, *zeros]
        lanes = a.type.count
        places = [(i % SIDE, i - i % SIDE) for i in range(lanes)]  # in its quad, where that begins
        found = []
        for half in (0, 2):
            pairs = [quad + half + i // 2 + i % 2 * lanes for i, quad in places]
            ab, cd = self.shuffled(a, b, pairs), self.shuffled(c, d, pairs)
            for first in (0, 2):
                chosen = [quad + first + i % 2 + i // 2 * lanes for i, quad in places]
                found.append(self.shuffled(ab, cd, chosen))
        return found

    def quad_of(self, vector: Any, i: int) -> Any:
        """Return the ``i``-th quad of a vector."""
        return self.shuffled(vector, vector, range(SIDE * i, SIDE * (i + 1)))

    def joined(self, vectors: Sequence[Any]) -> Any:
        """Return the vectors of a block as one."""
        while len(vectors) > 1:
            lanes = range(2 * vectors[0].type.count)
            vectors = [
                self.shuffled(*pair, lanes)
                for pair in zip(vectors[::2], vectors[1::2], strict=True)
            ]
        return vectors[0]

    def store(self, vector: Any, base: Any) -> None:
        """Write a vector to an address."""
        pointer = self.builder.inttoptr(base, vector.type.as_pointer())
        self.builder.store(vector, pointer, align=UNALIGNED)

    def shuffled(self, a: Any, b: Any, lanes: Sequence[int]) -> Any:
        chosen = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(a, b, chosen)

    def _folded(self, vectors: list[Any], part: int, span: int) -> Any:
        """Return the sums of the ``part``-long parts of each ``span`` lanes, a part per vector."""
        while len(vectors) > 1:
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [self._halved(a, b, part, span) for a, b in pairs]
        return vectors[0]

    def _halved(self, a: Any, b: Any, part: int, span: int) -> Any:
        even, odd = [], []
        half = span // part // 2
        for lane in range(LANES):
            place = lane % span // part
            source = (LANES if place >= half else 0) + lane // span * span + lane % part
            even.append(source + 2 * (place % half) * part)
            odd.append(source + (2 * (place % half) + 1) * part)
        return self.builder.fadd(self.shuffled(a, b, even), self.shuffled(a, b, odd))


def for_count(builder: Any, count: Any, most: int, emit: Callable[[int], None]) -> None:
    """Emit ``emit`` for 1 to ``most``, and choose by ``count`` as it runs."""
    done = builder.append_basic_block("done")
    switch = builder.switch(count, done)
    for each in range(1, most + 1):
        block = builder.append_basic_block(f"columns{each}")
        switch.add_case(I64(each), block)
        builder.position_at_end(block)
        emit(each)
        builder.branch(done)
    builder.position_at_end(done)


def for_few(builder: Any, count: Any, most: int, emit: Callable[[int | None], None]) -> None:
    """Emit ``emit`` for 1 to ``most``, and once for all other numbers, which get None."""
    with builder.if_else(builder.icmp_signed("<=", count, I64(most))) as (few, many):
        with few:
            for_count(builder, count, most, emit)
        with many:
            emit(None)
