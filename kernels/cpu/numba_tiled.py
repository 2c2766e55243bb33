"""CSR in vector registers: a tile of the batch stays in them while a row's nonzeros go by.

Technique: Gale et al. 2020 (Sputnik) and Wilkinson et al. 2023 (Sparse Register Tiling), on a CPU:
one weight is broadcast over a tile of the batch. W is gone through in blocks along k whose rows of
X fit the first cache. The values are stored once, row after row, with 16-bit indices; the
transposed product reads them through a permutation. Each thread takes as many nonzeros.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ..base import ONLY_FP32, Array, Choice, Look, Pass, Problem, Weight
from ..processor import aligned, aligned_empty
from ..sparse import SparseKernel
from .scatter_spmv import spread_product
from .simd.entries import (
    gathered_dot,
    gathered_dot_permuted,
    scaled_entries,
)
from .simd.rows import dot_rows, sum_rows, sum_rows_permuted
from .simd.vectors import TILE, address, number_at
from .threads import check_layout, rows_of
from .tiled_csr import BLOCK, Structure, TiledOperand
from .tuning import chosen, fastest

# The loops get a *plan* instead of arrays, so that one loop serves both structures: addresses of
# values, of their order (0 where they are in it), of indices and pointers; rows and blocks.


@numba.njit(cache=True)
def sum_part(plan, begin, stop, step, packs, x, out):  # type: ignore[no-untyped-def]
    """Write rows ``begin`` to ``stop`` of W X."""
    values, order, indices, pointers, rows, blocks = plan
    n = x.shape[1]
    if n == 1:
        for i in range(begin, stop):
            start, end = number_at(pointers, i), number_at(pointers, blocks * rows + i)
            if order:
                total = gathered_dot_permuted(values, order, indices, start, end, address(x))
            else:
                total = gathered_dot(values, order, indices, start, end, address(x))
            out[i, 0] = total
        return
    panel = np.empty(step * BLOCK * TILE + 16 if packs else 1, np.float32)
    for left in range(0, n, TILE):
        width = min(TILE, n - left)
        for b in range(0, blocks, step):
            base, stride = rows_of(x, panel, b * BLOCK, step * BLOCK, left, width, packs)
            starts = pointers + 4 * rows * b
            ends = pointers + 4 * rows * min(b + step, blocks)
            result, add, apart = address(out) + 4 * left, b > 0, step < blocks
            if order:
                sum_rows_permuted(
                    values, order, indices, starts, ends, begin, stop, base, stride,
                    result, 4 * n, width, add, apart,
                )  # fmt: skip
            else:
                sum_rows(
                    values, order, indices, starts, ends, begin, stop, base, stride,
                    result, 4 * n, width, add, apart,
                )  # fmt: skip


@numba.njit(cache=True)
def _dot(plan, begin, stop, step, packs, dy, x, out):  # type: ignore[no-untyped-def]
    """Write dY Xᵀ at the nonzeros of rows ``begin`` to ``stop``."""
    _, _, indices, pointers, rows, blocks = plan
    n = x.shape[1]
    if n == 1:
        for i in range(begin, stop):
            start, end = number_at(pointers, i), number_at(pointers, blocks * rows + i)
            scaled_entries(dy[i, 0], indices, start, end, address(x), address(out))
        return
    panel = np.empty(step * BLOCK * TILE + 16 if packs else 1, np.float32)
    for left in range(0, n, TILE):
        width = min(TILE, n - left)
        for b in range(0, blocks, step):
            base, stride = rows_of(x, panel, b * BLOCK, step * BLOCK, left, width, packs)
            starts = pointers + 4 * rows * b
            ends = pointers + 4 * rows * min(b + step, blocks)
            given, add, apart = address(dy) + 4 * left, left > 0, step < blocks
            dot_rows(
                given, 4 * n, indices, starts, ends, begin, stop, base, stride,
                address(out), width, add, apart,
            )  # fmt: skip


@numba.njit(parallel=True, cache=True)
def _sum_on_threads(plan, splits, step, packs, x, out):  # type: ignore[no-untyped-def]
    for part in numba.prange(splits.size - 1):
        sum_part(plan, splits[part], splits[part + 1], step, packs, x, out)


@numba.njit(parallel=True, cache=True)
def _dot_on_threads(plan, splits, step, packs, dy, x, out):  # type: ignore[no-untyped-def]
    for part in numba.prange(splits.size - 1):
        _dot(plan, splits[part], splits[part + 1], step, packs, dy, x, out)


# Columns that an index of 16 bits can name.
_MOST_COLUMNS = 1 << 16


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
        if max(problem.m, problem.k) > _MOST_COLUMNS:
            return f"{self.name} has 16-bit indices: at most {_MOST_COLUMNS:,} rows and columns."
        return super().unsupported(problem)

    def prepare(self, weight: Weight) -> TiledOperand:
        threads = numba.get_num_threads()
        return _operand(weight, chosen("fill", 1, _measured_fill, threads))

    def explain(self, operand: TiledOperand, pass_: Pass, n: int) -> list[Choice]:
        if n == 1 and pass_ != "backward_weight":
            return [Choice("loop", "an entry at a time", "one image has no tile to keep")]
        structure = operand.transposed if pass_ == "backward_input" else operand.forward
        return structure.explain(n)

    def forward(self, operand: TiledOperand, x: Any, out: Any) -> Any:
        check_layout(x, out)
        return _product(operand.forward, operand.plans[0], x, out)

    def backward_input(self, operand: TiledOperand, dy: Any, out: Any) -> Any:
        check_layout(dy, out)
        if dy.shape[1] == 1:
            return spread_product(operand.forward, operand.plans[0], False, dy, out)
        return _product(operand.transposed, operand.plans[1], dy, out)

    def backward_weight(self, operand: TiledOperand, dy: Any, x: Any, out: Any) -> Any:
        check_layout(dy, x, out)
        structure = operand.forward
        way = structure.way(x.shape[1])
        how = way.step, way.packs, dy, x, out
        if way.serial:
            _dot(operand.plans[0], 0, structure.shape[0], *how)
        else:
            _dot_on_threads(operand.plans[0], structure.splits, *how)
        return out


def _product(structure: Structure, plan: tuple[int, ...], x: Array, out: Array) -> Array:
    way = structure.way(x.shape[1])
    how = way.step, way.packs, x, out
    if way.serial:
        sum_part(plan, 0, structure.shape[0], *how)
    else:
        _sum_on_threads(plan, structure.splits, *how)
    return out


def _operand(weight: Weight, fill: int) -> TiledOperand:
    m, k = weight.shape
    rows, columns = np.nonzero(weight.pattern)
    by_column = np.argsort(columns, kind="stable")
    values = aligned_empty((rows.size,), weight.values.dtype)
    values[...] = weight.values[rows, columns]
    return TiledOperand(
        weight.shape,
        values,
        rows * k + columns,
        Structure.of(rows, columns, (m, k), fill),
        Structure.of(columns[by_column], rows[by_column], (k, m), fill),
        by_column.astype(np.int32),
    )


def _measured_fill(threads: int) -> int:
    """Return how many times the first cache the blocks of a middling product should fill."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((256, 8 * BLOCK), np.float32)
    values[rng.random(values.shape, np.float32) < 0.8] = 0
    weight = Weight.from_dense(values)
    x = aligned(rng.standard_normal((values.shape[1], TILE), np.float32))
    out = aligned_empty((values.shape[0], TILE), np.float32)
    operands = {fill: _operand(weight, fill) for fill in (1, 2, 4)}
    return fastest(
        tuple(operands),
        lambda fill: _product(operands[fill].forward, operands[fill].plans[0], x, out),
    )
