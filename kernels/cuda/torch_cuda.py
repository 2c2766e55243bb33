"""PyTorch on an NVIDIA GPU, a peer: ``torch.mm`` with CSR and BSR, and ``sampled_addmm``.

Arrays are tensors on the GPU, which CuPy sees without a copy; calls go on CuPy's current stream.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from .. import formats
from ..base import Array, Device, Look, Pass, Runtime, Weight
from ..cpu.dual_csr import DualCsrOperand
from ..cpu.torch_cpu import OnTorch, TorchCsr
from ..libraries import missing, torch
from ..sparse import SparseKernel, StoredValues
from .device import cupy_unavailable, failing


@cache
def _unavailable() -> str | None:
    if reason := missing("torch", "PyTorch", "install it with CUDA"):
        return reason
    if not torch().cuda.is_available():
        return "This PyTorch finds no NVIDIA GPU, or was built without CUDA."
    # A kernel that declares fp32 must not round its operands to TF32.
    torch().backends.cuda.matmul.allow_tf32 = False
    return cupy_unavailable() or failing("PyTorch", _tiny_product)


def _tiny_product() -> None:
    ones = torch().ones((2, 2), device="cuda")
    (ones @ ones).cpu()


class OnTorchCuda(OnTorch):
    """A mixin for kernels whose arrays are PyTorch's, on the GPU."""

    device: ClassVar[Device] = "cuda"
    runtime: ClassVar[Runtime] = "cuda"
    #: What PyTorch calls the device.
    place = "cuda"

    def unavailable(self) -> str | None:
        return _unavailable()

    def namespace(self) -> ModuleType:
        return importlib.import_module("cupy")

    def put(self, array: Array) -> Any:
        return torch().as_tensor(array, device=self.place)

    def local(self, array: Any) -> Any:
        return self.namespace().asarray(array)

    def fetch(self, array: Any) -> Array:
        host: Array = array.cpu().numpy()
        return host

    def run(self, pass_: Pass, operand: Any, x: Any, dy: Any, out: Any) -> Any:
        with self.on_current_stream():
            return super().run(pass_, operand, x, dy, out)  # type: ignore[misc]

    @contextmanager
    def on_current_stream(self) -> Iterator[None]:
        """Let PyTorch use CuPy's current stream: the harness times, and captures graphs, on it."""
        address = importlib.import_module("cupy").cuda.get_current_stream().ptr
        if address:
            cuda = torch().cuda
            with cuda.stream(cuda.ExternalStream(address)):
                yield
        else:
            yield


class TorchCudaCsr(OnTorchCuda, TorchCsr):
    """PyTorch's CSR on the GPU, W and Wᵀ both stored; its SDDMM allocates its result."""

    name = "torch-cuda-csr"
    title = "PyTorch CSR on CUDA"
    look = Look("#1b99e8", "X", "-")

    def prepare(self, weight: Weight) -> DualCsrOperand:
        operand = super().prepare(weight)
        operand.values = operand.matrix.values()
        operand.transposed_values = operand.transposed.values()
        operand.order = self.put(operand.order.astype(np.int64))
        return operand

    def update(self, operand: DualCsrOperand, step: Any, rate: float) -> None:
        with self.on_current_stream():
            values: Any = operand.values
            values.sub_(step, alpha=rate)
            torch().take(values, operand.order, out=operand.transposed_values)


@dataclass
class TorchCudaBsrOperand(StoredValues):
    """W and Wᵀ as BSR tensors, and what links their values."""

    matrix: Any
    transposed: Any
    #: Which of W's values each of Wᵀ's is.
    order: Any
    #: 0 for the zeros that a block holds, 1 elsewhere; None where every value is stored.
    stored: Any
    #: Room (m, k) for the dense product of ``backward_weight``.
    product: Any

    @property
    def nbytes(self) -> int:
        values = [self.values, self.transposed.values(), self.order, self.positions]
        for matrix in (self.matrix, self.transposed):
            values += [matrix.crow_indices(), matrix.col_indices()]
        return sum(int(each.nbytes) for each in [*values, self.stored] if each is not None)

    @property
    def stored_entries(self) -> int:
        return int(self.values.numel())


class TorchCudaBsr(OnTorchCuda, SparseKernel):
    """PyTorch's BSR on the GPU, with the largest blocks that are at least 70 % full.

    It has no SDDMM: the weight gradient is the dense product, and a gather.
    """

    name = "torch-cuda-bsr"
    title = "PyTorch BSR on CUDA"
    format = "bsr"
    source = "torch.mm(bsr, dense, out=); weight gradient by torch.mm and torch.take"
    role = "peer"
    look = Look("#1b99e8", "X", "--")

    def unfit(self, weight: Weight) -> str | None:
        # It raises an internal error for blocks of 1 x 1 (PyTorch 2.11).
        return formats.holds_no_blocks(weight)

    def prepare(self, weight: Weight) -> TorchCudaBsrOperand:
        host = formats.to_bsr(weight)
        numbers = np.arange(host.data.size, dtype=np.int64).reshape(host.data.shape)
        numbered = type(host)((numbers, host.indices, host.indptr), shape=host.shape)
        positions = formats.flat_positions(host)
        stored = weight.pattern.ravel()[positions]
        matrix = self.convert(host)
        return TorchCudaBsrOperand(
            weight.shape,
            matrix.values(),
            self.put(positions),
            matrix,
            self.convert(host.T.tobsr(blocksize=host.blocksize[::-1])),
            self.put(np.ascontiguousarray(numbered.T.data)),
            None if stored.all() else self.put(stored.astype(weight.values.dtype)),
            self.put(np.zeros(weight.shape, weight.values.dtype)),
        )

    def forward(self, operand: TorchCudaBsrOperand, x: Any, out: Any) -> Any:
        return torch().mm(operand.matrix, x, out=out)

    def backward_input(self, operand: TorchCudaBsrOperand, dy: Any, out: Any) -> Any:
        return torch().mm(operand.transposed, dy, out=out)

    def backward_weight(self, operand: TorchCudaBsrOperand, dy: Any, x: Any, out: Any) -> Any:
        torch().mm(dy, x.t(), out=operand.product)
        torch().take(operand.product, operand.positions, out=out)
        return out if operand.stored is None else out.mul_(operand.stored)

    def update(self, operand: TorchCudaBsrOperand, step: Any, rate: float) -> None:
        with self.on_current_stream():
            entries = step if operand.stored is None else step * operand.stored
            operand.values.sub_(entries, alpha=rate)
            torch().take(operand.values, operand.order, out=operand.transposed.values())

    def positions(self, operand: TorchCudaBsrOperand) -> Array:
        return self.fetch(operand.positions)
