"""PyTorch on the CPU, a peer: ``torch.mm`` dense, with CSR and BSR, and ``sampled_addmm``."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from ..base import Array, Device, Kernel, Weight
from .dual_csr import MirroredCsrKernel, MirroredOperand
from .numpy_dense import DenseKernel, DenseOperand
from .scipy_sparse import ScipyBsr, SparseOperand


@cache
def _torch_unavailable() -> str | None:
    try:
        torch = importlib.import_module("torch")
    except Exception as error:  # an import can fail in the loader of any of its libraries
        line = str(error).splitlines()[0]
        return f"PyTorch cannot be imported ({line}): install the extra peers."
    if not torch.backends.mkl.is_available():
        return "This PyTorch was built without MKL, which its sparse products on a CPU need."
    return None


class TorchCsr(MirroredCsrKernel):
    """PyTorch's CSR; its SDDMM allocates its result."""

    name = "torch-csr"
    title = "PyTorch CSR"
    device: ClassVar[Device] = "cpu"
    format = "csr"
    source = "torch.mm(csr, dense, out=) and torch.sparse.sampled_addmm(beta=0)"

    def unavailable(self) -> str | None:
        """Return why PyTorch is not there, or None."""
        return _torch_unavailable()

    def forward(self, operand: MirroredOperand, x: Any, out: Any) -> Any:
        """Return ``W x``."""
        return _torch().mm(operand.matrix, x, out=out)

    def backward_input(self, operand: MirroredOperand, dy: Any, out: Any) -> Any:
        """Return ``Wᵀ dy``."""
        return _torch().mm(operand.transposed, dy, out=out)

    def backward_weight(self, operand: MirroredOperand, dy: Any, x: Any, out: Any) -> Any:
        """Return ``dy xᵀ`` at the nonzeros (nnz,), in a new array."""
        sampled = _torch().sparse.sampled_addmm(operand.sampler, dy, x.t(), beta=0.0)
        return sampled.values()

    def sampler(self, host: Any) -> Any:
        """Return a matrix of zeros: even with beta = 0 a NaN in W would reach the gradient."""
        zeros = (np.zeros_like(host.data), host.indices, host.indptr)
        return self.convert(type(host)(zeros, shape=host.shape))

    def put(self, array: Array) -> Any:
        """Return a tensor that shares ``array``'s memory."""
        return _tensor(array)

    def local(self, array: Any) -> Any:
        """Return a NumPy view of a tensor."""
        return array.numpy()

    def convert(self, host: Any) -> Any:
        """Return a CSR tensor that shares the memory of a SciPy CSR array."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "sparse CSR is in beta", and on invariants
            return _torch().sparse_csr_tensor(
                self.put(host.indptr), self.put(host.indices), self.put(host.data), host.shape
            )


@dataclass
class TorchBsrOperand:
    """SciPy's BSR of W and Wᵀ, and tensors that share their memory."""

    host: SparseOperand
    matrix: Any
    transposed: Any

    @property
    def nbytes(self) -> int:
        """Return the bytes of both matrices and of what the weight gradient needs."""
        return self.host.nbytes


class TorchBsr(Kernel):
    """PyTorch's BSR; it has no SDDMM, so the weight gradient is that of SciPy's users."""

    name = "torch-bsr"
    title = "PyTorch BSR"
    device = "cpu"
    format = "bsr"
    source = "torch.mm(bsr, dense, out=); weight gradient by numpy.matmul and numpy.take"
    _scipy = ScipyBsr()

    def unavailable(self) -> str | None:
        """Return why PyTorch is not there, or None."""
        return _torch_unavailable()

    def prepare(self, weight: Weight) -> TorchBsrOperand:
        """Return W as BSR, with the largest blocks that are at least 70 % full."""
        host = self._scipy.prepare(weight)
        return TorchBsrOperand(host, _bsr(host.matrix), _bsr(host.transposed))

    def forward(self, operand: TorchBsrOperand, x: Any, out: Any) -> Any:
        """Return ``W x``."""
        return _torch().mm(operand.matrix, x, out=out)

    def backward_input(self, operand: TorchBsrOperand, dy: Any, out: Any) -> Any:
        """Return ``Wᵀ dy``."""
        return _torch().mm(operand.transposed, dy, out=out)

    def backward_weight(self, operand: TorchBsrOperand, dy: Any, x: Any, out: Any) -> Any:
        """Return the entries of ``dy xᵀ`` that are stored, laid out like the values."""
        self._scipy.backward_weight(operand.host, dy.numpy(), x.numpy(), out.numpy())
        return out

    def update(self, operand: TorchBsrOperand, step: Any, rate: float) -> None:
        """Subtract ``rate * step`` from the values of both matrices."""
        self._scipy.update(operand.host, step.numpy(), rate)
        operand.transposed = _bsr(operand.host.transposed)

    def gradient_shape(self, operand: TorchBsrOperand) -> tuple[int, ...]:
        """Return (blocks, r, c)."""
        return self._scipy.gradient_shape(operand.host)

    def dense_weight(self, operand: TorchBsrOperand) -> Array:
        """Return W, scattered."""
        return self._scipy.dense_weight(operand.host)

    def dense_gradient(self, operand: TorchBsrOperand, gradient: Any) -> Array:
        """Return the gradient, scattered."""
        return self._scipy.dense_gradient(operand.host, gradient.numpy())

    def put(self, array: Array) -> Any:
        """Return a tensor that shares ``array``'s memory."""
        return _tensor(array)

    def local(self, array: Any) -> Any:
        """Return a NumPy view of a tensor."""
        return array.numpy()


class TorchDense(DenseKernel):
    """PyTorch's dense product, a baseline beside NumPy's."""

    name = "torch-dense"
    title = "PyTorch dense"
    device = "cpu"
    format = "dense"
    source = "torch.mm(out=)"
    keeps_zeros = False

    def unavailable(self) -> str | None:
        """Return why PyTorch is not there, or None."""
        return _torch_unavailable()

    def prepare(self, weight: Weight) -> DenseOperand:
        """Return a copy of W, dense."""
        return DenseOperand(self.put(weight.values.copy()))

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        """Return ``W x``."""
        return _torch().mm(operand.values, x, out=out)

    def backward_input(self, operand: DenseOperand, dy: Any, out: Any) -> Any:
        """Return ``Wᵀ dy``."""
        return _torch().mm(operand.values.t(), dy, out=out)

    def backward_weight(self, operand: DenseOperand, dy: Any, x: Any, out: Any) -> Any:
        """Return ``dy xᵀ`` (m, k), at zeros too."""
        return _torch().mm(dy, x.t(), out=out)

    def dense_weight(self, operand: DenseOperand) -> Array:
        """Return W."""
        return self.fetch(operand.values.clone())

    def put(self, array: Array) -> Any:
        """Return a tensor that shares ``array``'s memory."""
        return _tensor(array)

    def local(self, array: Any) -> Any:
        """Return a NumPy view of a tensor."""
        return array.numpy()


def _bsr(host: Any) -> Any:
    """Return a BSR tensor that shares the memory of a SciPy BSR array."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "sparse CSR is in beta", and on invariants
        return _torch().sparse_bsr_tensor(
            _tensor(host.indptr), _tensor(host.indices), _tensor(host.data), host.shape
        )


def _tensor(array: Array) -> Any:
    return _torch().from_numpy(np.ascontiguousarray(array))


def _torch() -> Any:
    return importlib.import_module("torch")
