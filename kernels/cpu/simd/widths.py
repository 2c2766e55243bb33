"""How many vectors a row takes, chosen when a loop runs.

So one compiled function, cached on disk, serves every batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .vectors import GROUP, I64, LANES, TILE_VECTORS, Emitter, first_lanes

# Added to a number of vectors where the last one is full, to choose both at once.
_FULL = 1000


def for_width(
    builder: Any,
    width: Any,
    emit: Callable[[Emitter], None],
    vectors: int = TILE_VECTORS,
    most_whole: int = TILE_VECTORS,
) -> None:
    """Emit ``emit`` for 1 to ``vectors`` vectors, and choose by ``width`` as it runs.

    Of more than ``most_whole`` vectors the last is masked even where it is full: half the code.

    Where half a vector is enough, vectors of half the lanes: processors that take a wide vector
    in two steps do twice as many of them.
    """
    done = builder.append_basic_block("chosen")
    for lanes, most in ((LANES // 2, 1), (LANES, vectors)):
        if lanes >= GROUP:
            wider = builder.append_basic_block("wider")
            _for_vectors(builder, width, lanes, most, emit, done, wider, most_whole)
            builder.position_at_end(wider)
    builder.unreachable()
    builder.position_at_end(done)


def _for_vectors(
    builder: Any, width: Any, lanes: int, most: int, emit: Any, done: Any, wider: Any, whole: int
) -> None:
    """Emit ``emit`` for 1 to ``most`` vectors of ``lanes``, then on to ``done`` or ``wider``.

    Those of up to ``whole`` vectors are emitted again for a last one that is full.
    """
    size = I64(lanes)
    vectors = builder.udiv(builder.add(width, I64(lanes - 1)), size)
    left = builder.sub(width, builder.mul(builder.sub(vectors, I64(1)), size))
    full = builder.and_(
        builder.icmp_unsigned("==", left, size), builder.icmp_unsigned("<=", vectors, I64(whole))
    )
    mask = first_lanes(builder, left, lanes)
    choice = builder.add(vectors, builder.select(full, I64(_FULL), I64(0)))
    switch = builder.switch(choice, wider)
    for count in range(1, most + 1):
        for offset, given in ((_FULL, None), (0, mask))[0 if count <= whole else 1 :]:
            block = builder.append_basic_block(f"vectors{count + offset}")
            switch.add_case(I64(count + offset), block)
            builder.position_at_end(block)
            emit(Emitter(builder, count, given, lanes))
            builder.branch(done)


def for_overlap(builder: Any, width: Any, emit: Callable[[Emitter], None], vectors: int) -> None:
    """Emit ``emit`` for a number, and for 1 to ``vectors`` vectors; choose by ``width`` as it runs.

    The last of several vectors ends where ``width`` does: what it shares with the one before is
    computed twice, so that nothing is masked.
    """
    done = builder.append_basic_block("chosen")
    more = builder.append_basic_block("more")
    one = builder.append_basic_block("one")
    builder.cbranch(builder.icmp_signed("==", width, I64(1)), one, more)
    builder.position_at_end(one)
    emit(Emitter(builder, lanes=1))
    builder.branch(done)
    builder.position_at_end(more)
    for lanes in (LANES // 2, LANES):
        if lanes >= GROUP:
            wider = builder.append_basic_block("wider")
            _for_vectors(builder, width, lanes, 1, emit, done, wider, 1)
            builder.position_at_end(wider)
    _for_several(builder, width, emit, vectors, done)


def for_several(builder: Any, width: Any, emit: Callable[[Emitter], None], vectors: int) -> None:
    """Emit ``emit`` for 2 to ``vectors`` vectors as :func:`for_overlap` does."""
    _for_several(builder, width, emit, vectors, builder.append_basic_block("chosen"))


def _for_several(
    builder: Any, width: Any, emit: Callable[[Emitter], None], vectors: int, done: Any
) -> None:
    """Emit ``emit`` for 2 to ``vectors`` vectors, then on to ``done``."""
    count = builder.udiv(builder.add(width, I64(LANES - 1)), I64(LANES))
    tail = builder.mul(builder.sub(width, I64(LANES)), I64(4))
    beyond = builder.append_basic_block("beyond")
    switch = builder.switch(count, beyond)
    for each in range(2, vectors + 1):
        block = builder.append_basic_block(f"overlap{each}")
        switch.add_case(I64(each), block)
        builder.position_at_end(block)
        emit(Emitter(builder, each, tail=tail))
        builder.branch(done)
    builder.position_at_end(beyond)
    builder.unreachable()
    builder.position_at_end(done)


def for_stride(emitter: Emitter, stride: Any, emit: Callable[[Emitter, Any], None]) -> None:
    """Emit ``emit`` (emitter, stride in bytes), and again for rows as long as a tile of one vector.

    There the stride is a constant: a shift finds a row, where else a multiplication does, of
    which processors do one a cycle. In wider tiles loads hide it.
    """
    if emitter.mask is not None or emitter.vectors > 1:
        emit(emitter, stride)
        return
    whole = I64(4 * emitter.lanes)
    with emitter.builder.if_else(emitter.builder.icmp_signed("==", stride, whole)) as (then, other):
        with then:
            emit(emitter, whole)
        with other:
            emit(emitter, stride)
