"""CSR in Numba on the CPU: rows in parallel, one row of X added per nonzero.

The values are stored once; the transposed product reads them through a permutation, so that an
update serves all passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from .. import formats
from ..base import Array, Look, Weight
from ..sparse import SparseKernel

# Fused and reordered sums, as every BLAS does; NaN and infinity keep their meaning.
_FASTMATH = {"contract", "reassoc"}


@dataclass
class CsrOperand:
    """CSR arrays, and the same entries read by columns."""

    shape: tuple[int, int]
    pointers: Any
    columns: Any
    values: Any
    column_pointers: Any
    rows: Any
    order: Any

    @property
    def nbytes(self) -> int:
        parts = (self.pointers, self.columns, self.values)
        transposed = (self.column_pointers, self.rows, self.order)
        return sum(int(part.nbytes) for part in (*parts, *transposed))

    @property
    def stored_entries(self) -> int:
        return int(self.values.size)

    @classmethod
    def of(cls, weight: Weight) -> CsrOperand:
        """Return the operand of ``weight``, its arrays in NumPy."""
        matrix = formats.to_csr(weight)
        structure = formats.transposed_structure(matrix)
        return cls(weight.shape, matrix.indptr, matrix.indices, matrix.data, *structure)


@numba.njit(parallel=True, cache=True, fastmath=_FASTMATH)
def _spmm(pointers, columns, values, x, out):  # type: ignore[no-untyped-def]
    for i in numba.prange(out.shape[0]):
        out[i, :] = 0
        for p in range(pointers[i], pointers[i + 1]):
            value, j = values[p], columns[p]
            for c in range(out.shape[1]):
                out[i, c] += value * x[j, c]


@numba.njit(parallel=True, cache=True, fastmath=_FASTMATH)
def _spmm_transposed(column_pointers, rows, order, values, dy, out):  # type: ignore[no-untyped-def]
    for j in numba.prange(out.shape[0]):
        out[j, :] = 0
        for p in range(column_pointers[j], column_pointers[j + 1]):
            value, i = values[order[p]], rows[p]
            for c in range(out.shape[1]):
                out[j, c] += value * dy[i, c]


@numba.njit(parallel=True, cache=True, fastmath=_FASTMATH)
def _sddmm(pointers, columns, dy, x, out):  # type: ignore[no-untyped-def]
    for i in numba.prange(dy.shape[0]):
        for p in range(pointers[i], pointers[i + 1]):
            j = columns[p]
            total = out.dtype.type(0)
            for c in range(dy.shape[1]):
                total += dy[i, c] * x[j, c]
            out[p] = total


@numba.njit(parallel=True, cache=True, fastmath=_FASTMATH)
def _update(values, step, rate):  # type: ignore[no-untyped-def]
    for p in numba.prange(values.size):
        values[p] -= rate * step[p]


class CsrKernel(SparseKernel):
    """What the plain kernels on the CPU and on CUDA share."""

    format = "csr"

    def positions(self, operand: CsrOperand) -> Array:
        pointers, columns = self.fetch(operand.pointers), self.fetch(operand.columns)
        rows = np.repeat(np.arange(operand.shape[0]), np.diff(pointers))
        return np.asarray(rows * operand.shape[1] + columns)


class NumbaCsr(CsrKernel):
    """The plain parallel kernel: what a user writes first."""

    name = "numba-csr"
    title = "Numba CSR"
    device = "cpu"
    source = "numba.prange over rows, one axpy per nonzero"
    look = Look("#1a6fe6", "^", ":")

    def prepare(self, weight: Weight) -> CsrOperand:
        return CsrOperand.of(weight)

    def forward(self, operand: CsrOperand, x: Any, out: Any) -> Any:
        _spmm(operand.pointers, operand.columns, operand.values, x, out)
        return out

    def backward_input(self, operand: CsrOperand, dy: Any, out: Any) -> Any:
        _spmm_transposed(
            operand.column_pointers, operand.rows, operand.order, operand.values, dy, out
        )
        return out

    def backward_weight(self, operand: CsrOperand, dy: Any, x: Any, out: Any) -> Any:
        _sddmm(operand.pointers, operand.columns, dy, x, out)
        return out

    def update(self, operand: CsrOperand, step: Any, rate: float) -> None:
        _update(operand.values, step, operand.values.dtype.type(rate))
