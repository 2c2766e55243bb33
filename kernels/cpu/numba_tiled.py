"""CSR in vector registers: a tile of the batch stays in them while a pair of rows goes by.

Technique: Gale et al. 2020 (Sputnik) and Wilkinson et al. 2023 (Sparse Register Tiling), on a CPU:
one weight is broadcast over a tile of the batch, and a row of X serves two rows of W. W is gone
through in blocks along k whose rows of X fit the first cache, entries in the order in which they
lie, with 16-bit indices. Wᵀ has a layout of its own. Each thread takes as many nonzeros.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

import numba
import numpy as np

from ..base import ONLY_FP32, Choice, Look, Pass, Problem, Weight
from ..processor import aligned, aligned_empty
from ..sparse import SparseKernel
from .simd.vectors import DOT_VECTORS, address
from .threads import require_layout, serial_loads
from .tiled_layouts import (
    MOST_COLUMNS,
    WIDE,
    WIDTHS,
    Choices,
    TiledOperand,
    loads_of,
    packs_tiles,
    predicted_fill,
    width_of,
)
from .tiled_loops import ENTRIES, LOOP, PACKS, SERIAL, SHARES, call_dot, call_sum, dot_loop
from .tuning import chosen, fastest


@numba.njit(parallel=True, cache=True)
def _multiply(table, x, out):  # type: ignore[no-untyped-def]
    require_layout(x)
    require_layout(out)
    rows, n = x.shape
    packs = np.int64(packs_tiles(n, table[PACKS]))
    place, source, target, loop = address(table), address(x), address(out), table[LOOP]
    if loads_of(table[ENTRIES], n) < table[SERIAL]:
        for share in range(table[SHARES]):
            call_sum(loop, place, share, packs, source, rows, n, target)
    else:
        for share in numba.prange(table[SHARES]):
            call_sum(loop, place, np.int64(share), packs, source, rows, n, target)


@numba.njit(parallel=True, cache=True)
def _dot(loop, table, dy, x, out):  # type: ignore[no-untyped-def]
    require_layout(dy)
    require_layout(x)
    require_layout(out)
    rows, n = x.shape
    packs = np.int64(packs_tiles(n, table[PACKS]))
    place, left, right, target = address(table), address(dy), address(x), address(out)
    if loads_of(table[ENTRIES], n) < table[SERIAL]:
        for share in range(table[SHARES]):
            call_dot(loop, place, share, packs, left, right, rows, n, target)
    else:
        for share in numba.prange(table[SHARES]):
            call_dot(loop, place, np.int64(share), packs, left, right, rows, n, target)


class NumbaTiled(SparseKernel):
    """Register-tiled CSR on the CPU."""

    name = "numba-tiled"
    title = "Numba CSR in registers"
    device = "cpu"
    format = "csr"
    arithmetic = ONLY_FP32
    source = "register tiling: Gale et al. 2020, Wilkinson et al. 2023; LLVM through numba"
    look = Look("#1a6fe6", "^", "-")
    variants = "tiled_choices"

    def unsupported(self, problem: Problem) -> str | None:
        if max(problem.m, problem.k) > MOST_COLUMNS:
            return f"{self.name} has 16-bit indices: at most {MOST_COLUMNS:,} rows and columns."
        return super().unsupported(problem)

    def prepare(self, weight: Weight) -> TiledOperand:
        return self._prepared(weight, WIDE, trained=True)

    def prepare_for(self, weight: Weight, passes: Collection[Pass], n: int) -> TiledOperand:
        operand = self._prepared(weight, width_of(n), "backward_weight" in passes)
        if "backward_input" in passes:
            operand.layout(True, n)
        return operand

    def choices(self) -> Choices:
        """Return what decides on layouts here."""
        fills = {each: _fill(each, numba.get_num_threads()) for each in WIDTHS}
        return Choices(fills, serial_loads())

    def _prepared(self, weight: Weight, width: int, trained: bool) -> TiledOperand:
        """Return an operand whose main layout is for batches of a width."""
        return TiledOperand.of(weight.values, weight.pattern, width, self.choices(), trained)

    def explain(self, operand: TiledOperand, pass_: Pass, n: int) -> list[Choice]:
        if pass_ == "backward_weight":
            return operand.paired.explain(n, DOT_VECTORS)
        return operand.layout(pass_ == "backward_input", n).explain(n)

    def forward(self, operand: TiledOperand, x: Any, out: Any) -> Any:
        _multiply(operand.layout(False, x.shape[1]).table, x, out)
        return out

    def backward_input(self, operand: TiledOperand, dy: Any, out: Any) -> Any:
        _multiply(operand.layout(True, dy.shape[1]).table, dy, out)
        return out

    def backward_weight(self, operand: TiledOperand, dy: Any, x: Any, out: Any) -> Any:
        layout = operand.paired
        if layout is operand.main:
            _dot(dot_loop(), layout.table, dy, x, out)
        else:
            gradient = np.empty_like(out)
            _dot(dot_loop(), layout.table, dy, x, gradient)
            out[layout.groups.order] = gradient
        return out

    def update(self, operand: TiledOperand, step: Any, rate: float) -> None:
        operand.subtract(step, rate)


def _fill(width: int, threads: int) -> int:
    """Return what percentage of the first cache the blocks for a width of batches should fill."""
    predicted = predicted_fill(width)
    measure = partial(_measured_fill, width)
    return chosen(f"fill-of-pairs-{width}", predicted, measure, threads)


def _measured_fill(width: int, threads: int) -> int:
    """Return the best of three fills for a product at 50 %, where blocks are smallest."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((256, 1024), np.float32)
    values[rng.random(values.shape, np.float32) < 0.5] = 0
    x = aligned(rng.standard_normal((values.shape[1], width), np.float32))
    out = aligned_empty((values.shape[0], width), np.float32)
    predicted = predicted_fill(width)
    fills = predicted, predicted // 2, 2 * predicted
    choices = [Choices({width: fill}, serial_loads()) for fill in fills]
    made = [TiledOperand.of(values, values != 0, width, each).main for each in choices]
    layouts = dict(zip(fills, made, strict=True))
    return fastest(fills, lambda fill: _multiply(layouts[fill].table, x, out))
