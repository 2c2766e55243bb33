"""CSR in vector registers: a tile of the batch stays in them while a pair of rows goes by.

Technique: Gale et al. 2020 (Sputnik) and Wilkinson et al. 2023 (Sparse Register Tiling), on a CPU:
one weight is broadcast over a tile of the batch, and a row of X serves two rows of W. W is gone
through in blocks along k whose rows of X fit the first cache, entries in the order in which they
lie, with 16-bit indices. Wᵀ has a layout of its own. Each thread takes as many nonzeros.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numba
import numpy as np

from ..base import ONLY_FP32, Choice, Look, Pass, Problem, Weight
from ..processor import aligned, aligned_empty
from ..sparse import SparseKernel
from .simd.pair_dots import DOT_VECTORS
from .simd.vectors import PAIR_VECTORS, TILE, address
from .threads import require_layout
from .tiled_layouts import (
    FILL,
    MOST_COLUMNS,
    TiledOperand,
    loads_of,
    packs_tiles,
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

    def unsupported(self, problem: Problem) -> str | None:
        if max(problem.m, problem.k) > MOST_COLUMNS:
            return f"{self.name} has 16-bit indices: at most {MOST_COLUMNS:,} rows and columns."
        return super().unsupported(problem)

    def prepare(self, weight: Weight) -> TiledOperand:
        fill = chosen("fill-of-pairs", FILL, _measured_fill, numba.get_num_threads())
        return TiledOperand.of(weight.values, weight.pattern, fill)

    def ready(self, operand: TiledOperand, pass_: Pass, n: int) -> TiledOperand:
        found = replace(operand, layouts={(False, False): operand.main})
        if pass_ != "backward_weight":
            found.layout(pass_ == "backward_input", n)
        return found

    def explain(self, operand: TiledOperand, pass_: Pass, n: int) -> list[Choice]:
        if pass_ == "backward_weight":
            return operand.main.explain(n, DOT_VECTORS)
        return operand.layout(pass_ == "backward_input", n).explain(n, PAIR_VECTORS)

    def forward(self, operand: TiledOperand, x: Any, out: Any) -> Any:
        _multiply(operand.layout(False, x.shape[1]).table, x, out)
        return out

    def backward_input(self, operand: TiledOperand, dy: Any, out: Any) -> Any:
        _multiply(operand.layout(True, dy.shape[1]).table, dy, out)
        return out

    def backward_weight(self, operand: TiledOperand, dy: Any, x: Any, out: Any) -> Any:
        _dot(dot_loop(), operand.main.table, dy, x, out)
        return out

    def update(self, operand: TiledOperand, step: Any, rate: float) -> None:
        operand.subtract(step, rate)


def _measured_fill(threads: int) -> int:
    """Return what percentage of the first cache the blocks of a middling product should fill."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((256, 1024), np.float32)
    values[rng.random(values.shape, np.float32) < 0.7] = 0
    x = aligned(rng.standard_normal((values.shape[1], TILE), np.float32))
    out = aligned_empty((values.shape[0], TILE), np.float32)
    fills = FILL, FILL // 2, 2 * FILL
    layouts = {fill: TiledOperand.of(values, values != 0, fill).main for fill in fills}
    return fastest(fills, lambda fill: _multiply(layouts[fill].table, x, out))
