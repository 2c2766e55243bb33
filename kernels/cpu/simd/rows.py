"""Rows of X copied side by side, so that a tile of many of them fits a cache."""

from __future__ import annotations

from typing import Any

from numba.core import types

from .emitting import apart
from .vectors import I64, Emitter, emitted, for_width, loop


@emitted(types.void, *[types.int64] * 6)
@apart
def copy_rows(
    builder: Any, x: Any, stride: Any, count: Any, panel: Any, panel_stride: Any, width: Any
) -> None:
    """Copy ``width`` numbers of each of ``count`` rows of ``x`` to ``panel``.

    Addresses, and strides in bytes; at most ``TILE`` numbers.
    """

    def emit(emitter: Emitter) -> None:
        def body(j: Any, _: Any) -> list[Any]:
            source = builder.add(x, builder.mul(j, stride))
            target = builder.add(panel, builder.mul(j, panel_stride))
            emitter.store_tile(emitter.load_tile(source), target)
            return []

        loop(builder, I64(0), count, 1, [], body)

    for_width(builder, width, emit)
