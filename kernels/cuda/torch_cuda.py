"""PyTorch on an NVIDIA GPU, a peer: ``torch.mm`` with CSR and BSR, and ``sampled_addmm``.

Arrays are tensors on the GPU, which CuPy sees without a copy; calls go on CuPy's current stream.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from .. import formats
from ..base import Array, Device, Kernel, Pass, Weight
from ..cpu.dual_csr import MirroredOperand
from ..cpu.torch_cpu import TorchCsr
from .device import cupy_unavailable


@cache
def _unavailable() -> str | None:
    try:
        torch = importlib.import_module("torch")
    except Exception as error:  # an import can fail in the loader of any of its libraries
        line = str(error).splitlines()[0]
        return f"PyTorch cannot be imported ({line}): install it with CUDA."
    if not torch.cuda.is_available():
        return "This PyTorch finds no NVIDIA GPU, or was built without CUDA."
    # A kernel that declares fp32 must not round its operands to TF32.
    torch.backends.cuda.matmul.allow_tf32 = False
    return cupy_unavailable()


class OnTorchCuda:
    """A mixin for kernels whose arrays are PyTorch's, on the GPU."""

    device: ClassVar[Device] = "cuda"
    #: What PyTorch calls the device.
    place = "cuda"

    def unavailable(self) -> str | None:
        """Return why there is no GPU to run on, or None."""
        return _unavailable()

    def namespace(self) -> ModuleType:
        """Return CuPy, which shares the GPU's arrays."""
        return importlib.import_module("cupy")

    def put(self, array: Array) -> Any:
        """Return ``array`` as a tensor on the GPU, without a copy if it is there."""
        return _torch().as_tensor(array, device=self.place)

    def local(self, array: Any) -> Any:
        """Return a CuPy view of a tensor."""
        return self.namespace().asarray(array)

    def fetch(self, array: Any) -> Array:
        """Return a tensor on the host."""
        host: Array = array.cpu().numpy()
        return host

    def run(self, pass_: Pass, operand: Any, x: Any, dy: Any, out: Any) -> Any:
        """Return the result of ``pass_``, computed on CuPy's current stream."""
        with self.on_current_stream():
            return super().run(pass_, operand, x, dy, out)  # type: ignore[misc]

    @contextmanager
    def on_current_stream(self) -> Iterator[None]:
        """Let PyTorch use CuPy's current stream: the harness times, and captures graphs, on it."""
        address = importlib.import_module("cupy").cuda.get_current_stream().ptr
        if address:
            cuda = _torch().cuda
            with cuda.stream(cuda.ExternalStream(address)):
                yield
        else:
            yield


class TorchCudaCsr(OnTorchCuda, TorchCsr):
    """PyTorch's CSR on the GPU, W and Wᵀ both stored; its SDDMM allocates its result."""

    name = "torch-cuda-csr"
    title = "PyTorch CSR on CUDA"

    def prepare(self, weight: Weight) -> MirroredOperand:
        """Return W and Wᵀ as CSR, uploaded, with their values as tensors."""
        operand = super().prepare(weight)
        operand.values = operand.matrix.values()
        operand.transposed_values = operand.transposed.values()
        operand.order = self.put(operand.order.astype(np.int64))
        return operand

    def update(self, operand: MirroredOperand, step: Any, rate: float) -> None:
        """Subtract ``rate * step`` from the values of both matrices."""
        with self.on_current_stream():
            values: Any = operand.values
            values.sub_(step, alpha=rate)
            _torch().take(values, operand.order, out=operand.transposed_values)

    def gradient_shape(self, operand: MirroredOperand) -> tuple[int, ...]:
        """Return (nnz,)."""
        return (operand.positions.size,)

    def dense_weight(self, operand: MirroredOperand) -> Array:
        """Return W, scattered."""
        return self.dense_gradient(operand, operand.values)

    def convert(self, host: Any) -> Any:
        """Return a SciPy CSR array as a CSR tensor on the GPU."""
        with quiet():
            return _torch().sparse_csr_tensor(
                self.put(host.indptr), self.put(host.indices), self.put(host.data), host.shape
            )


@dataclass
class TorchCudaBsrOperand:
    """W and Wᵀ as BSR tensors, what links their values, and where these lie in W."""

    matrix: Any
    transposed: Any
    #: Which of W's values each of Wᵀ's is; and where each of W's lies in W.ravel().
    order: Any
    positions: Any
    #: 0 for the zeros that a block holds, 1 elsewhere; None where every value is stored.
    stored: Any
    #: Room (m, k) for the dense product of ``backward_weight``.
    product: Any

    @property
    def nbytes(self) -> int:
        """Return the bytes of both matrices and of what links them."""
        values = [self.matrix.values(), self.transposed.values(), self.order, self.positions]
        for matrix in (self.matrix, self.transposed):
            values += [matrix.crow_indices(), matrix.col_indices()]
        return sum(int(each.nbytes) for each in [*values, self.stored] if each is not None)


class TorchCudaBsr(OnTorchCuda, Kernel):
    """PyTorch's BSR on the GPU, with the largest blocks that are at least 70 % full.

    It has no SDDMM: the weight gradient is the dense product, and a gather.
    """

    name = "torch-cuda-bsr"
    title = "PyTorch BSR on CUDA"
    format = "bsr"
    source = "torch.mm(bsr, dense, out=); weight gradient by torch.mm and torch.take"

    def prepare(self, weight: Weight) -> TorchCudaBsrOperand:
        """Return W and Wᵀ as BSR, uploaded."""
        host = formats.to_bsr(weight)
        numbers = np.arange(host.data.size, dtype=np.int64).reshape(host.data.shape)
        numbered = type(host)((numbers, host.indices, host.indptr), shape=host.shape)
        positions = formats.flat_positions(host)
        stored = weight.pattern.ravel()[positions]
        return TorchCudaBsrOperand(
            self._upload(host),
            self._upload(host.T.tobsr(blocksize=host.blocksize[::-1])),
            self.put(np.ascontiguousarray(numbered.T.data)),
            self.put(positions),
            None if stored.all() else self.put(stored.astype(weight.values.dtype)),
            self.put(np.zeros(weight.shape, weight.values.dtype)),
        )

    def forward(self, operand: TorchCudaBsrOperand, x: Any, out: Any) -> Any:
        """Return ``W x``."""
        return _torch().mm(operand.matrix, x, out=out)

    def backward_input(self, operand: TorchCudaBsrOperand, dy: Any, out: Any) -> Any:
        """Return ``Wᵀ dy``."""
        return _torch().mm(operand.transposed, dy, out=out)

    def backward_weight(self, operand: TorchCudaBsrOperand, dy: Any, x: Any, out: Any) -> Any:
        """Return the entries of ``dy xᵀ`` that are stored, laid out like the values."""
        torch = _torch()
        torch.mm(dy, x.t(), out=operand.product)
        torch.take(operand.product, operand.positions, out=out)
        return out if operand.stored is None else out.mul_(operand.stored)

    def update(self, operand: TorchCudaBsrOperand, step: Any, rate: float) -> None:
        """Subtract ``rate * step`` from the values of both matrices."""
        with self.on_current_stream():
            values = operand.matrix.values()
            values.sub_(step if operand.stored is None else step * operand.stored, alpha=rate)
            _torch().take(values, operand.order, out=operand.transposed.values())

    def gradient_shape(self, operand: TorchCudaBsrOperand) -> tuple[int, ...]:
        """Return (blocks, r, c)."""
        return tuple(operand.matrix.values().shape)

    def dense_weight(self, operand: TorchCudaBsrOperand) -> Array:
        """Return W, scattered."""
        return self.dense_gradient(operand, operand.matrix.values())

    def dense_gradient(self, operand: TorchCudaBsrOperand, gradient: Any) -> Array:
        """Return the gradient, scattered."""
        values = self.fetch(gradient)
        dense = np.zeros(operand.product.shape, values.dtype)
        dense.ravel()[self.fetch(operand.positions).ravel()] = values.ravel()
        return dense

    def _upload(self, host: Any) -> Any:
        """Return a SciPy BSR array as a BSR tensor on the GPU."""
        with quiet():
            return _torch().sparse_bsr_tensor(
                self.put(host.indptr), self.put(host.indices), self.put(host.data), host.shape
            )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what PyTorch says of its sparse tensors: that they are in beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _torch() -> Any:
    return importlib.import_module("torch")
