"""SparseProp's CSR, a peer: the C++ behind its layers for PyTorch (Nikdan et al. 2023).

Its backward function computes dX and dW in one pass over W, and there is none for either alone, so
each backward pass here pays for both; a training step does so twice.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from .. import formats, libraries
from ..base import ONLY_FP32, Array, Look, Weight
from ..sparse import SparseKernel, StoredValues


@cache
def _unavailable() -> str | None:
    return libraries.missing("sparseprop", "SparseProp", "install the extra sparseprop")


def _backend() -> Any:
    return importlib.import_module("backend")


@dataclass
class SparsepropOperand(StoredValues):
    """W as CSR with 32-bit indices."""

    pointers: Array
    columns: Array
    #: What a backward pass computes beside its result, by shape; and zeros for an X not given.
    room: dict[tuple[object, ...], Array] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return int(self.values.nbytes + self.pointers.nbytes + self.columns.nbytes)

    def spare(self, role: str, shape: tuple[int, ...]) -> Array:
        """Return an array that keeps what it holds between calls; zeros at first."""
        if (role, shape) not in self.room:
            self.room[role, shape] = np.zeros(shape, np.float32)
        return self.room[role, shape]


class SparsepropCsr(SparseKernel):
    """Rows of X added per nonzero, by AVX2; results are added to, so each call clears its own."""

    name = "sparseprop-csr"
    title = "SparseProp CSR"
    device = "cpu"
    format = "csr"
    role = "peer"
    runtime = "torch"
    arithmetic = ONLY_FP32
    source = "sparse_linear_vectorized_forward and _backward of sparseprop's module backend"
    look = Look("#8a5a00", "p", "-")

    def unavailable(self) -> str | None:
        return _unavailable()

    def prepare(self, weight: Weight) -> SparsepropOperand:
        host = formats.to_csr(weight)
        return SparsepropOperand(
            weight.shape,
            host.data,
            formats.flat_positions(host),
            host.indptr.astype(np.int32),
            host.indices.astype(np.int32),
        )

    def forward(self, operand: SparsepropOperand, x: Any, out: Any) -> Any:
        out.fill(0)
        _backend().sparse_linear_vectorized_forward(
            x, operand.pointers, operand.columns, operand.values, out
        )
        return out

    def backward_input(self, operand: SparsepropOperand, dy: Any, out: Any) -> Any:
        x = operand.spare("x", out.shape)
        self._backward(operand, dy, x, out, operand.spare("dw", operand.values.shape))
        return out

    def backward_weight(self, operand: SparsepropOperand, dy: Any, x: Any, out: Any) -> Any:
        self._backward(operand, dy, x, operand.spare("dx", x.shape), out)
        return out

    def _backward(
        self, operand: SparsepropOperand, dy: Array, x: Array, dx: Array, dw: Array
    ) -> None:
        dx.fill(0)
        _backend().sparse_linear_vectorized_backward(
            x, operand.pointers, operand.columns, operand.values, dy, dx, dw
        )
