"""PyTorch on the CPU, a peer: ``torch.mm`` dense, with CSR and BSR, and ``sampled_addmm``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from .. import libraries
from ..base import Array, Device, Look, Runtime, Weight
from ..libraries import torch
from .dual_csr import DualCsrKernel, DualCsrOperand
from .numpy_dense import DenseKernel, DenseOperand
from .scipy_sparse import LibrarySparseKernel, SparseOperand


@cache
def _unavailable() -> str | None:
    if reason := libraries.missing("torch", "PyTorch", "install the extra peers"):
        return reason
    if not torch().backends.mkl.is_available():
        return "This PyTorch was built without MKL, which its sparse products on a CPU need."
    return None


class OnTorch:
    """A mixin for kernels whose arrays are PyTorch's, in the memory of NumPy's."""

    device: ClassVar[Device] = "cpu"
    runtime: ClassVar[Runtime] = "torch"

    def unavailable(self) -> str | None:
        return _unavailable()

    def put(self, array: Array) -> Any:
        return torch().from_numpy(np.ascontiguousarray(array))

    def local(self, array: Any) -> Any:
        # What SciPy's code keeps of an operand is NumPy's already.
        return array if isinstance(array, np.ndarray) else array.numpy()

    def convert(self, host: Any) -> Any:
        """Return a tensor that shares the memory of a SciPy CSR or BSR array."""
        make = getattr(torch(), f"sparse_{host.format}_tensor")
        with quiet():
            return make(
                self.put(host.indptr), self.put(host.indices), self.put(host.data), host.shape
            )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what PyTorch says of its sparse tensors: that they are in beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class TorchCsr(OnTorch, DualCsrKernel):
    """PyTorch's CSR; its SDDMM allocates its result."""

    name = "torch-csr"
    title = "PyTorch CSR"
    format = "csr"
    source = "torch.mm(csr, dense, out=) and torch.sparse.sampled_addmm(beta=0)"
    role = "peer"
    # Its sparse products are MKL's.
    made_for = "Intel"
    look = Look("#1b99e8", "X", "-")

    def forward(self, operand: DualCsrOperand, x: Any, out: Any) -> Any:
        return torch().mm(operand.matrix, x, out=out)

    def backward_input(self, operand: DualCsrOperand, dy: Any, out: Any) -> Any:
        return torch().mm(operand.transposed, dy, out=out)

    def backward_weight(self, operand: DualCsrOperand, dy: Any, x: Any, out: Any) -> Any:
        # A new array: there is no ``out``.
        sampled = torch().sparse.sampled_addmm(operand.sampler, dy, x.t(), beta=0.0)
        return sampled.values()

    def sampler(self, host: Any) -> Any:
        """Return a matrix of zeros: even with beta = 0 a NaN in W would reach the gradient."""
        zeros = (np.zeros_like(host.data), host.indices, host.indptr)
        return self.convert(type(host)(zeros, shape=host.shape))


@dataclass
class TorchBsrOperand(SparseOperand):
    """SciPy's BSR of W and Wᵀ, and tensors that share their memory."""

    tensor: Any
    transposed_tensor: Any


class TorchBsr(OnTorch, LibrarySparseKernel):
    """PyTorch's BSR; it has no SDDMM, so the weight gradient is that of SciPy's users."""

    name = "torch-bsr"
    title = "PyTorch BSR"
    format = "bsr"
    source = "torch.mm(bsr, dense, out=); weight gradient by numpy.matmul and numpy.take"
    # Its sparse products are MKL's.
    made_for = "Intel"
    look = Look("#1b99e8", "X", "--")

    def prepare(self, weight: Weight) -> TorchBsrOperand:
        host = super().prepare(weight)
        matrix, transposed = self.convert(host.matrix), self.convert(host.transposed)
        return TorchBsrOperand(**vars(host), tensor=matrix, transposed_tensor=transposed)

    def forward(self, operand: Any, x: Any, out: Any) -> Any:
        return torch().mm(operand.tensor, x, out=out)

    def backward_input(self, operand: Any, dy: Any, out: Any) -> Any:
        return torch().mm(operand.transposed_tensor, dy, out=out)

    def backward_weight(self, operand: SparseOperand, dy: Any, x: Any, out: Any) -> Any:
        super().backward_weight(operand, dy.numpy(), x.numpy(), out.numpy())
        return out

    def update(self, operand: Any, step: Any, rate: float) -> None:
        super().update(operand, step.numpy(), rate)
        operand.transposed_tensor = self.convert(operand.transposed)


class TorchDense(OnTorch, DenseKernel):
    """PyTorch's dense product, a baseline beside NumPy's."""

    name = "torch-dense"
    title = "PyTorch dense"
    source = "torch.mm(out=)"
    look = Look("#70655f", "o", "--")

    def prepare(self, weight: Weight) -> DenseOperand:
        return DenseOperand(self.put(weight.values.copy()))

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        return torch().mm(operand.values, x, out=out)

    def backward_input(self, operand: DenseOperand, dy: Any, out: Any) -> Any:
        return torch().mm(operand.values.t(), dy, out=out)

    def backward_weight(self, operand: DenseOperand, dy: Any, x: Any, out: Any) -> Any:
        return torch().mm(dy, x.t(), out=out)

    def dense_weight(self, operand: DenseOperand) -> Array:
        return self.fetch(operand.values.clone())
