"""PyTorch's CSR on the CPU, a peer: ``torch.mm`` and ``sampled_addmm``."""

from __future__ import annotations

import importlib
import warnings
from functools import cache
from typing import Any

import numpy as np

from kernels import formats
from kernels.base import Array, Kernel, Weight
from kernels.mirrored import MirroredOperand, host_matrices


@cache
def _torch_unavailable() -> str | None:
    try:
        torch = importlib.import_module("torch")
    except Exception as error:  # an import can fail in the loader of any of its libraries
        return (
            f"PyTorch cannot be imported ({str(error).splitlines()[0]}): install the extra peers."
        )
    if not torch.backends.mkl.is_available():
        return "This PyTorch was built without MKL, which its sparse products on a CPU need."
    return None


class TorchCsr(Kernel):
    """PyTorch's CSR; Wᵀ is a second CSR, because its CSC product is many times slower."""

    name = "torch-csr"
    title = "PyTorch CSR"
    device = "cpu"
    format = "csr"
    source = "torch.mm(csr, dense, out=) and torch.sparse.sampled_addmm(beta=0, out=)"

    def unavailable(self) -> str | None:
        """Return why PyTorch is not there, or None."""
        return _torch_unavailable()

    def prepare(self, weight: Weight) -> MirroredOperand:
        """Return W and Wᵀ as CSR tensors with 32-bit indices, which MKL takes as they are."""
        host, host_transposed, order, positions = host_matrices(weight)
        matrix, transposed = self._tensor(host), self._tensor(host_transposed)
        index_bytes = sum(
            formats.sparse_bytes(each) - each.data.nbytes for each in (host, host_transposed)
        )
        return MirroredOperand(
            matrix, transposed, host.data, host_transposed.data, order, positions,
            weight.shape, index_bytes,
        )  # fmt: skip

    def forward(self, operand: MirroredOperand, x: Any, out: Any) -> Any:
        """Return ``W x``."""
        return self._torch().mm(operand.matrix, x, out=out)

    def backward_input(self, operand: MirroredOperand, dy: Any, out: Any) -> Any:
        """Return ``Wᵀ dy``."""
        return self._torch().mm(operand.transposed, dy, out=out)

    def backward_weight(self, operand: MirroredOperand, dy: Any, x: Any, out: Any) -> Any:
        """Return ``dy xᵀ`` at the nonzeros (nnz,)."""
        matrix = operand.matrix
        sampled = self._torch().sparse.sampled_addmm(matrix, dy, x.t(), beta=0.0)
        return sampled.values()

    def update(self, operand: MirroredOperand, step: Any, rate: float) -> None:
        """Subtract ``rate * step`` from the values."""
        operand.subtract(self.local(step), rate)

    def gradient_shape(self, operand: MirroredOperand) -> tuple[int, ...]:
        """Return (nnz,)."""
        return (operand.values.size,)

    def dense_weight(self, operand: MirroredOperand) -> Array:
        """Return W, scattered."""
        return operand.scatter(operand.values)

    def dense_gradient(self, operand: MirroredOperand, gradient: Any) -> Array:
        """Return the gradient, scattered."""
        return operand.scatter(self.fetch(gradient))

    def put(self, array: Array) -> Any:
        """Return a tensor that shares ``array``'s memory."""
        return self._torch().from_numpy(np.ascontiguousarray(array))

    def local(self, array: Any) -> Any:
        """Return a NumPy view of a tensor."""
        return array.numpy()

    def _torch(self) -> Any:
        return importlib.import_module("torch")

    def _tensor(self, host: Any) -> Any:
        """Return a CSR tensor that shares the memory of a SciPy CSR array."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "sparse CSR is in beta", and on invariants
            return self._torch().sparse_csr_tensor(
                self.put(host.indptr), self.put(host.indices), self.put(host.data), host.shape
            )
