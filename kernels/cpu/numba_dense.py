"""A dense product in blocks of 4 x 4.

Dense is what every sparse kernel is held against, so each batch and pass has the loop that suits it
(``simd/dense.py``, ``simd/blocks.py``). All read W in the same blocks, each of a cache line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numba
import numpy as np
from numpy.typing import NDArray

from ..base import ONLY_FP32, Array, Choice, Kernel, Look, Pass, Role, Weight
from ..processor import aligned_empty
from .numba_bsr import in_blocks
from .simd.blocks import BLOCK_TILE, SIDE
from .simd.dense import MOST_COLUMNS, sum_dense_columns, sum_dense_rows
from .simd.emitting import keep_alive
from .simd.gradients import outer_dense
from .simd.panels import pack_panels
from .simd.tiles import sum_tiles, sum_tiles_transposed
from .simd.vectors import LANES, TILE, address
from .threads import require_layout, room_for, rows_of, serial_loads

# Columns of X up to which vectors go along W, beyond which they go along the batch.
_FEW = 12
# Block rows that stay in a cache while the columns of X go by.
_TOGETHER = 8
# Reads of a row of X by a thread, below which packing costs more than it gives.
_LEAST_READS = 3


@dataclass
class DenseBlocks:
    """W (m, k) in blocks, filled with zeros."""

    shape: tuple[int, int]
    #: (block rows, block columns, 4, 4).
    values: Array
    #: Cycles below which threads cost more than they give.
    serial_loads: int
    threads: int
    #: (block rows, block columns): a bit for each entry that is trained, where not all are.
    kept: NDArray[np.uint16] | None = None

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + (0 if self.kept is None else self.kept.nbytes)

    @property
    def stored_entries(self) -> int:
        return self.shape[0] * self.shape[1]


class NumbaDense(Kernel):
    """Dense products near the multiply-add ceiling, or near the bandwidth where that is less."""

    name = "numba-dense"
    title = "Numba dense, in blocks"
    device = "cpu"
    format = "dense"
    arithmetic = ONLY_FP32
    source = "register blocking (Goto and van de Geijn 2008), W packed once in blocks of 4 x 4"
    role: ClassVar[Role] = "dense"
    stores_zeros = True
    keeps_zeros = False
    look = Look("#70655f", "o", ":")

    def prepare(self, weight: Weight) -> DenseBlocks:
        blocks = in_blocks(weight.values)
        values = aligned_empty(blocks.shape, blocks.dtype)
        values[...] = blocks
        return DenseBlocks(weight.shape, values, serial_loads(), numba.get_num_threads())

    def explain(self, operand: DenseBlocks, pass_: Pass, n: int) -> list[Choice]:
        if pass_ == "backward_weight":
            loop, why = (
                "tiles of outer products",
                "results stay in registers",
            )
        elif n > _FEW:
            loop, why = "vectors along the batch", f"more than {_FEW} columns fill them"
        else:
            loop, why = "vectors along W", f"up to {_FEW} columns do not fill vectors of {LANES}"
        blocks = operand.values.size // (SIDE * SIDE)
        parts = parts_of(blocks, n, operand.threads, operand.serial_loads)
        cycles = f"{cycles_of(blocks, n):,} cycles; threads pay from {operand.serial_loads:,}"
        return [Choice("loop", loop, why), Choice("threads", f"{parts}", cycles)]

    def forward(self, operand: DenseBlocks, x: Any, out: Any) -> Any:
        _forward(operand.values, x, out, operand.threads, operand.serial_loads)
        return out

    def backward_input(self, operand: DenseBlocks, dy: Any, out: Any) -> Any:
        _backward(operand.values, dy, out, operand.threads, operand.serial_loads)
        return out

    def backward_weight(self, operand: DenseBlocks, dy: Any, x: Any, out: Any) -> Any:
        _outer(dy, x, out, operand.threads, operand.serial_loads)
        return out

    def update(self, operand: DenseBlocks, step: Any, rate: float) -> None:
        _update(operand.values, step, np.float32(rate), operand.threads, operand.serial_loads)

    def gradient_shape(self, operand: DenseBlocks) -> tuple[int, ...]:
        return tuple(operand.values.shape)

    def dense_weight(self, operand: DenseBlocks) -> Array:
        return self.dense_gradient(operand, operand.values)

    def dense_gradient(self, operand: DenseBlocks, gradient: Any) -> Array:
        (m, k), (rows, columns) = operand.shape, gradient.shape[:2]
        whole = gradient.swapaxes(1, 2).reshape(rows * SIDE, columns * SIDE)
        return np.ascontiguousarray(whole[:m, :k])


@numba.njit(cache=True)
def _panels(x, begin, stop):  # type: ignore[no-untyped-def]
    """Return blocks of rows ``begin`` to ``stop`` of ``x`` (rows, n) as panels, and their address.

    One column is its own panel, where its blocks are whole.
    """
    rows, n = x.shape
    if n == 1 and rows % SIDE == 0:
        return np.empty(0, np.float32), address(x) + 4 * SIDE * begin
    panels = np.empty((stop - begin) * SIDE * n, np.float32)
    pack_panels(address(x), rows, n, begin, stop, address(panels))
    return panels, address(panels)


@numba.njit(cache=True)
def forward_rows(values, across, begin, stop, x, out):  # type: ignore[no-untyped-def]
    """Write block rows ``begin`` to ``stop`` of W X; ``values`` is the address of its blocks."""
    n = x.shape[1]
    if n > _FEW:
        panel = _room(x, stop - begin)
        for left in range(0, n, BLOCK_TILE):
            width, base, stride = _tiles_of(x, stop - begin, left, panel)
            sum_tiles(
                values, begin, stop, across, 1, across, base, stride, x.shape[0] - 1,
                address(out) + 4 * left, 4 * n, out.shape[0], width,
            )  # fmt: skip
        return
    # Each thread packs all of X: nobody waits, and nothing crosses from core to core.
    panels, place = _panels(x, 0, across)
    chunks = (n + MOST_COLUMNS - 1) // MOST_COLUMNS
    for first in range(begin, stop, _TOGETHER):
        last = min(stop, first + _TOGETHER)
        for chunk in range(chunks):
            left, right = chunk * n // chunks, (chunk + 1) * n // chunks
            sum_dense_rows(
                values, across, first, last, place, n, address(out), out.shape[0],
                left, right - left,
            )  # fmt: skip
    keep_alive(panels)


@numba.njit(cache=True)
def _backward_columns(values, begin, stop, dy, out):  # type: ignore[no-untyped-def]
    """Write block columns ``begin`` to ``stop`` of Wᵀ dY, as rows of ``out``."""
    n, (down, across) = dy.shape[1], values.shape[:2]
    if n > _FEW:
        panel = _room(dy, stop - begin)
        for left in range(0, n, BLOCK_TILE):
            width, base, stride = _tiles_of(dy, stop - begin, left, panel)
            sum_tiles_transposed(
                address(values), begin, stop, 1, across, down, base, stride, dy.shape[0] - 1,
                address(out) + 4 * left, 4 * n, out.shape[0], width,
            )  # fmt: skip
        return
    panels, place = _panels(dy, 0, down)
    chunks = (n + MOST_COLUMNS - 1) // MOST_COLUMNS
    for first in range(begin, stop, 2 * _TOGETHER):
        last = min(stop, first + 2 * _TOGETHER)
        for chunk in range(chunks):
            left, right = chunk * n // chunks, (chunk + 1) * n // chunks
            sum_dense_columns(
                address(values), down, across, first, last, place, n, address(out), out.shape[0],
                left, right - left,
            )  # fmt: skip
    keep_alive(panels)


@numba.njit(cache=True)
def _tiles_of(x, rows, left, panel):  # type: ignore[no-untyped-def]
    """Return (width, address, stride in bytes) of the tile of X from column ``left`` on.

    It is packed into ``panel`` where a thread reads it for enough block ``rows``.
    """
    width = min(BLOCK_TILE, x.shape[1] - left)
    apart = BLOCK_TILE if panel.size > 0 else 0
    base, stride = rows_of(x, panel, 0, x.shape[0], left, width, apart)
    return width, base, stride


@numba.njit(cache=True)
def _room(x, rows):  # type: ignore[no-untyped-def]
    packs = x.shape[1] > TILE and rows >= _LEAST_READS
    return room_for(x.shape[0], BLOCK_TILE if packs else 0)


@numba.njit(cache=True)
def _outer_rows(dy, x, begin, stop, out):  # type: ignore[no-untyped-def]
    """Write block rows ``begin`` to ``stop`` of dY Xᵀ."""
    left, dy_place = _panels(dy, begin, stop)
    right, x_place = _panels(x, 0, out.shape[1])
    target = address(out) + 4 * SIDE * SIDE * begin * out.shape[1]
    outer_dense(dy_place, stop - begin, x_place, out.shape[1], x.shape[1], target)
    keep_alive(left)
    keep_alive(right)


@numba.njit(cache=True)
def cycles_of(blocks, n):  # type: ignore[no-untyped-def]
    """Return about how many cycles a product of so many blocks with ``n`` columns takes."""
    # A line of W takes two cycles to arrive, a multiply-add with it one.
    return blocks * max(2, n * SIDE * SIDE // LANES)


@numba.njit(cache=True)
def parts_of(blocks, n, threads, serial_loads):  # type: ignore[no-untyped-def]
    """Return how many threads share it."""
    return 1 if cycles_of(blocks, n) < serial_loads else threads


@numba.njit(cache=True)
def share_of(part, parts, count):  # type: ignore[no-untyped-def]
    """Return where the ``part``-th of so many equal ``parts`` begins and ends."""
    # Signed, as where there is one part: the loops are compiled once.
    return np.int64(part) * count // parts, (np.int64(part) + 1) * count // parts


@numba.njit(parallel=True, cache=True)
def _forward(values, x, out, threads, serial_loads):  # type: ignore[no-untyped-def]
    require_layout(x)
    require_layout(out)
    rows, across = values.shape[:2]
    parts = parts_of(rows * across, x.shape[1], threads, serial_loads)
    if parts == 1:
        forward_rows(address(values), across, 0, rows, x, out)
    else:
        for part in numba.prange(parts):
            begin, stop = share_of(part, parts, rows)
            forward_rows(address(values), across, begin, stop, x, out)


@numba.njit(parallel=True, cache=True)
def _backward(values, dy, out, threads, serial_loads):  # type: ignore[no-untyped-def]
    require_layout(dy)
    require_layout(out)
    rows, across = values.shape[:2]
    parts = parts_of(rows * across, dy.shape[1], threads, serial_loads)
    if parts == 1:
        _backward_columns(values, 0, across, dy, out)
    else:
        for part in numba.prange(parts):
            _backward_columns(values, *share_of(part, parts, across), dy, out)


@numba.njit(parallel=True, cache=True)
def _outer(dy, x, out, threads, serial_loads):  # type: ignore[no-untyped-def]
    require_layout(dy)
    require_layout(x)
    require_layout(out)
    rows, across = out.shape[:2]
    parts = parts_of(rows * across, x.shape[1], threads, serial_loads)
    if parts == 1:
        _outer_rows(dy, x, 0, rows, out)
    else:
        for part in numba.prange(parts):
            _outer_rows(dy, x, *share_of(part, parts, rows), out)


@numba.njit(parallel=True, cache=True)
def _update(values, step, rate, threads, serial_loads):  # type: ignore[no-untyped-def]
    """Subtract ``rate`` times the step from W, all in one pass."""
    before, change = values.reshape(-1), step.reshape(-1)
    parts = parts_of(before.size // (SIDE * SIDE), 1, threads, serial_loads)
    if parts == 1:
        for i in range(before.size):
            before[i] -= rate * change[i]
    else:
        for part in numba.prange(parts):
            begin, end = share_of(part, parts, before.size)
            for i in range(begin, end):
                before[i] -= rate * change[i]
