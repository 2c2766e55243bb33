"""Dense kernels on the GPU: cuBLAS in fp32, TF32 and fp16, and masked dense.

Three arithmetics are three kernels: which of them is the baseline decides where a sparse kernel
crosses over. What is element-wise (masks, updates) is one fused CUDA kernel each, compiled by CuPy.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, ClassVar

import numpy as np

from ..base import FP16, TF32, Look, Weight
from ..cpu.numpy_dense import (
    DenseKernel,
    DenseOperand,
    MaskedCallKernel,
    MaskedUpdateKernel,
    RoundedOperand,
    weight_product,
)
from . import cublas
from .device import OnCupy, older_than

_LARGEST_FP16 = 65504.0


@cache
def elementwise(name: str, inputs: str, outputs: str, operation: str) -> Any:
    """Return a fused element-wise CUDA kernel; compiled on its first launch."""
    return importlib.import_module("cupy").ElementwiseKernel(inputs, outputs, operation, name)


def beyond_fp16(weight: Weight) -> str | None:
    """Return that a finite weight overflows in fp16, as a sentence, or None."""
    finite = weight.values[np.isfinite(weight.values)]
    largest = float(np.abs(finite).max(initial=0))
    if largest <= _LARGEST_FP16:
        return None
    return f"A weight of {largest:g} is beyond fp16, which ends at {_LARGEST_FP16:g}."


def fused_update(values: Any, step: Any, rate: float, mask: Any = None) -> None:
    """Subtract ``rate * step`` (times ``mask``) from ``values``, without room for the product."""
    if mask is None:
        fused = elementwise("update", "T step, T rate", "T w", "w -= rate * step")
        fused(step, rate, values)
    else:
        inputs, operation = "T step, M mask, T rate", "w -= rate * step * mask"
        elementwise("masked_update", inputs, "T w", operation)(step, mask, rate, values)


class FusedUpdate(OnCupy):
    """A mixin: the whole update in one kernel."""

    def update(self, operand: DenseOperand, step: Any, rate: float) -> None:
        masked = isinstance(self, MaskedUpdateKernel)
        fused_update(operand.values, step, rate, operand.mask if masked else None)


class CupyDense(FusedUpdate, DenseKernel):
    """The GPU baseline in full fp32: TF32 is off."""

    name = "cupy-dense"
    title = "CuPy dense"
    source = "cupy.matmul with out= (cuBLAS, TF32 off)"
    look = Look("#70655f", "o", "-")


class CupyDenseTf32(FusedUpdate, DenseKernel):
    """fp32 in memory, multiplied by tensor cores that read 11 bits of each operand."""

    name = "cupy-dense-tf32"
    title = "CuPy dense, TF32"
    arithmetic: ClassVar = {"float32": TF32}
    source = "cublasGemmEx with CUBLAS_COMPUTE_32F_FAST_TF32, through CuPy"
    look = Look("#70655f", "o", "--")

    def unavailable(self) -> str | None:
        return super().unavailable() or older_than(80, "TF32")

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        return cublas.multiply(operand.values, x, out, "32F_FAST_TF32")

    def backward_input(self, operand: DenseOperand, dy: Any, out: Any) -> Any:
        return cublas.multiply(operand.values.T, dy, out, "32F_FAST_TF32")

    def backward_weight(self, operand: DenseOperand, dy: Any, x: Any, out: Any) -> Any:
        return cublas.multiply(dy, x.T, out, "32F_FAST_TF32")


class CupyDenseFp16(FusedUpdate, DenseKernel):
    """fp16 operands, fp32 sums and results: mixed precision as training frameworks do it.

    W is held in fp32 too, because updates are smaller than fp16 resolves, and converted when it
    changes. X and dY come in fp32, as from any layer of the network, and each call pays for
    converting them.
    """

    name = "cupy-dense-fp16"
    title = "CuPy dense, fp16"
    arithmetic: ClassVar = {"float32": FP16}
    source = "cublasGemmEx of fp16 with CUBLAS_COMPUTE_32F and fp32 out, through CuPy"
    look = Look("#70655f", "o", ":")

    def unavailable(self) -> str | None:
        return super().unavailable() or older_than(70, "tensor cores")

    def unfit(self, weight: Weight) -> str | None:
        return beyond_fp16(weight)

    def prepare(self, weight: Weight) -> RoundedOperand:
        values = self.namespace().array(weight.values, order="C")
        return RoundedOperand(values, rounded=values.astype(np.float16))

    def forward(self, operand: Any, x: Any, out: Any) -> Any:
        return cublas.multiply(operand.rounded, self._rounded(operand, x), out, "32F")

    def backward_input(self, operand: Any, dy: Any, out: Any) -> Any:
        return cublas.multiply(operand.rounded.T, self._rounded(operand, dy), out, "32F")

    def backward_weight(self, operand: Any, dy: Any, x: Any, out: Any) -> Any:
        left, right = self._rounded(operand, dy, "dy"), self._rounded(operand, x, "x")
        return cublas.multiply(left, right.T, out, "32F")

    def update(self, operand: Any, step: Any, rate: float) -> None:
        inputs, outputs = "float32 step, float32 rate", "float32 w, float16 half"
        fused = elementwise("half_update", inputs, outputs, "w -= rate * step; half = w")
        fused(step, rate, operand.values, operand.rounded)

    def _rounded(self, operand: RoundedOperand, array: Any, role: str = "") -> Any:
        """Return ``array`` in fp16."""
        key = (role, *array.shape)
        if key not in operand.room:
            operand.room[key] = self.namespace().empty(array.shape, np.float16)
        room = operand.room[key]
        self.namespace().copyto(room, array, casting="same_kind")
        return room


class CupyMaskedCall(FusedUpdate, MaskedCallKernel):
    """Masked dense on the GPU, masked in every call."""

    name = "cupy-masked-call"
    title = "CuPy dense, masked in every call"
    source = "cupy.multiply then cupy.matmul"
    look = Look("#84939c", "s", "--")


class CupyMaskedFused(FusedUpdate, MaskedCallKernel):
    """Masked in every call, with a mask of one byte an entry.

    cuBLAS cannot mask what it reads, so a product of its own must write W times the mask before.
    That is bound by memory: with a mask of bytes it moves 9 bytes an entry, not 12.
    """

    name = "cupy-masked-fused"
    title = "CuPy dense, masked in every call by bytes"
    source = "one cupy.ElementwiseKernel then cupy.matmul"
    look = Look("#84939c", "s", "-.")

    def prepare(self, weight: Weight) -> DenseOperand:
        # The mask in bytes, not in W's dtype.
        xp = self.namespace()
        values = xp.array(weight.values, order="C")
        return DenseOperand(values, xp.array(weight.pattern, xp.bool_), xp.empty_like(values))

    def backward_weight(self, operand: DenseOperand, dy: Any, x: Any, out: Any) -> Any:
        dense = weight_product(self.namespace(), dy, x, out)
        self._masked(dense, operand.mask, dense)
        return dense

    def _effective(self, operand: DenseOperand) -> Any:
        self._masked(operand.values, operand.mask, operand.scratch)
        return operand.scratch

    def _masked(self, values: Any, mask: Any, out: Any) -> None:
        elementwise("masked", "T w, bool mask", "T out", "out = w * mask")(values, mask, out)


class CupyMaskedUpdate(FusedUpdate, MaskedUpdateKernel):
    """Masked dense on the GPU, masked in the update."""

    name = "cupy-masked-update"
    title = "CuPy dense, masked in the update"
    source = "cupy.matmul; one cupy.ElementwiseKernel in the update only"
    look = Look("#84939c", "s", ":")
