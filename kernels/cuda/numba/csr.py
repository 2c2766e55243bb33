"""CSR in Numba CUDA, plain: one thread per output, neighbouring threads on neighbouring columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...base import Array, Kernel, Look, Weight
from ...cpu.numba_csr import CsrOperand
from .arrays import OnNumbaCuda, current_stream, numba_cuda

_COLUMNS, _ROWS = 32, 8  # threads of a block along the batch and along the rows
_THREADS = 256
# numba.cuda, imported by device_functions(): a machine where that fails still lists the kernel.
# A global of this module, because the simulator exchanges it there while a kernel runs.
cuda: Any = None


@cache
def device_functions() -> SimpleNamespace:
    """Return the CUDA kernels; compiled for each dtype on their first launch."""
    global cuda
    cuda = numba_cuda()

    @cuda.jit
    def spmm(pointers, columns, values, x, out):  # type: ignore[no-untyped-def]
        c, i = cuda.grid(2)
        if i < out.shape[0] and c < out.shape[1]:
            total = values.dtype.type(0)
            for p in range(pointers[i], pointers[i + 1]):
                total += values[p] * x[columns[p], c]
            out[i, c] = total

    @cuda.jit
    def spmm_transposed(pointers, rows, order, values, dy, out):  # type: ignore[no-untyped-def]
        c, j = cuda.grid(2)
        if j < out.shape[0] and c < out.shape[1]:
            total = values.dtype.type(0)
            for p in range(pointers[j], pointers[j + 1]):
                total += values[order[p]] * dy[rows[p], c]
            out[j, c] = total

    @cuda.jit
    def sddmm(row_of, columns, dy, x, out):  # type: ignore[no-untyped-def]
        p = cuda.grid(1)
        if p < out.size:
            total = out.dtype.type(0)
            for c in range(dy.shape[1]):
                total += dy[row_of[p], c] * x[columns[p], c]
            out[p] = total

    @cuda.jit
    def update(values, step, rate):  # type: ignore[no-untyped-def]
        p = cuda.grid(1)
        if p < values.size:
            values[p] -= rate * step[p]

    return SimpleNamespace(spmm=spmm, spmm_transposed=spmm_transposed, sddmm=sddmm, update=update)


@dataclass
class CudaCsrOperand(CsrOperand):
    """The CSR arrays on the GPU, the row of each nonzero, and the structure on the host."""

    row_of: Any
    host_pointers: Array
    host_columns: Array

    @property
    def nbytes(self) -> int:
        return super().nbytes + int(self.row_of.nbytes)


class NumbaCudaCsr(OnNumbaCuda, Kernel):
    """The plain CUDA kernel: what a user writes first."""

    name = "numba-cuda-csr"
    title = "Numba CUDA CSR"
    format = "csr"
    source = "numba.cuda, one thread per output element"
    look = Look("#0072b2", "^", ":")

    def prepare(self, weight: Weight) -> CudaCsrOperand:
        host, put = CsrOperand.of(weight), self.put
        row_of = np.repeat(np.arange(weight.shape[0], dtype=np.int32), np.diff(host.pointers))
        return CudaCsrOperand(
            host.shape,
            put(host.pointers),
            put(host.columns),
            put(host.values),
            put(host.column_pointers),
            put(host.rows),
            put(host.order),
            row_of=put(row_of),
            host_pointers=host.pointers,
            host_columns=host.columns,
        )

    def forward(self, operand: CudaCsrOperand, x: Any, out: Any) -> Any:
        grid = _grid(operand.shape[0], x.shape[1])
        device_functions().spmm[grid, (_COLUMNS, _ROWS), current_stream()](
            operand.pointers, operand.columns, operand.values, x, out
        )
        return out

    def backward_input(self, operand: CudaCsrOperand, dy: Any, out: Any) -> Any:
        grid = _grid(operand.shape[1], dy.shape[1])
        device_functions().spmm_transposed[grid, (_COLUMNS, _ROWS), current_stream()](
            operand.column_pointers, operand.rows, operand.order, operand.values, dy, out
        )
        return out

    def backward_weight(self, operand: CudaCsrOperand, dy: Any, x: Any, out: Any) -> Any:
        if out.size:
            device_functions().sddmm[-(-out.size // _THREADS), _THREADS, current_stream()](
                operand.row_of, operand.columns, dy, x, out
            )
        return out

    def update(self, operand: CudaCsrOperand, step: Any, rate: float) -> None:
        size = operand.values.size
        if size:
            device_functions().update[-(-size // _THREADS), _THREADS, current_stream()](
                operand.values, step, operand.values.dtype.type(rate)
            )

    def gradient_shape(self, operand: CudaCsrOperand) -> tuple[int, ...]:
        return (int(operand.values.size),)

    def dense_weight(self, operand: CudaCsrOperand) -> Array:
        return self.dense_gradient(operand, operand.values)

    def dense_gradient(self, operand: CudaCsrOperand, gradient: Any) -> Array:
        host = self.fetch(gradient)
        return operand.scatter(host, operand.host_pointers, operand.host_columns)


def _grid(rows: int, columns: int) -> tuple[int, int]:
    return -(-columns // _COLUMNS), -(-rows // _ROWS)
