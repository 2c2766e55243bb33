"""CSR in Numba CUDA, plain: one thread per output, neighbouring threads on neighbouring columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...base import Look, Weight
from ...cpu.numba_csr import CsrKernel, CsrOperand
from .arrays import OnNumbaCuda, launch, launch_flat, numba_cuda

_BLOCK = _COLUMNS, _ROWS = 32, 8  # threads of a block along the batch and along the rows
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
    """The CSR arrays on the GPU, and the row of each nonzero."""

    row_of: Any

    @property
    def nbytes(self) -> int:
        return super().nbytes + int(self.row_of.nbytes)


class NumbaCudaCsr(OnNumbaCuda, CsrKernel):
    """The plain CUDA kernel: what a user writes first."""

    name = "numba-cuda-csr"
    title = "Numba CUDA CSR"
    source = "numba.cuda, one thread per output element"
    look = Look("#1a6fe6", "^", ":")

    def prepare(self, weight: Weight) -> CudaCsrOperand:
        host, put = CsrOperand.of(weight), self.put
        row_of = np.repeat(np.arange(weight.shape[0], dtype=np.int32), np.diff(host.pointers))
        arrays = {name: put(each) for name, each in vars(host).items() if name != "shape"}
        return CudaCsrOperand(host.shape, **arrays, row_of=put(row_of))

    def forward(self, operand: CudaCsrOperand, x: Any, out: Any) -> Any:
        grid = _grid(operand.shape[0], x.shape[1])
        structure = operand.pointers, operand.columns, operand.values
        launch(device_functions().spmm, grid, _BLOCK, *structure, x, out)
        return out

    def backward_input(self, operand: CudaCsrOperand, dy: Any, out: Any) -> Any:
        grid = _grid(operand.shape[1], dy.shape[1])
        structure = operand.column_pointers, operand.rows, operand.order, operand.values
        launch(device_functions().spmm_transposed, grid, _BLOCK, *structure, dy, out)
        return out

    def backward_weight(self, operand: CudaCsrOperand, dy: Any, x: Any, out: Any) -> Any:
        sddmm = device_functions().sddmm
        launch_flat(sddmm, out.size, operand.row_of, operand.columns, dy, x, out)
        return out

    def update(self, operand: CudaCsrOperand, step: Any, rate: float) -> None:
        values = operand.values
        launch_flat(device_functions().update, values.size, values, step, values.dtype.type(rate))


def _grid(rows: int, columns: int) -> tuple[int, int]:
    return -(-columns // _COLUMNS), -(-rows // _ROWS)
