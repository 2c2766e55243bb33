"""Dense kernels on NumPy, written so that CuPy runs the same lines (see ``cuda/cupy_dense.py``).

A pruned weight can be held dense in three ways. Plain dense knows no pattern: it is the
baseline that every speedup names. *Masked dense* keeps the zeros while it trains, either by
multiplying the mask into W in every call, or by masking the update alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..base import Array, Kernel, Look, Role, Runtime, Weight


@dataclass
class DenseOperand:
    """W (m, k) dense, with its mask (same dtype, 0 or 1) where the kernel needs one."""

    values: Any
    mask: Any | None = None
    scratch: Any | None = None

    @property
    def nbytes(self) -> int:
        # ``scratch`` holds no weight.
        return int(self.values.nbytes) + (0 if self.mask is None else int(self.mask.nbytes))

    @property
    def stored_entries(self) -> int:
        return int(np.prod(self.values.shape))


@dataclass
class RoundedOperand(DenseOperand):
    """W (m, k) in fp32, which updates go to, and rounded to 16 bits, which passes read."""

    rounded: Any = None
    #: Arrays of 16 bits for X, dY and results, by role and shape: made once, reused by every call.
    room: dict[tuple[object, ...], Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return super().nbytes + int(self.rounded.nbytes)


class DenseKernel(Kernel):
    """What the dense kernels of every array library share."""

    format = "dense"
    role: ClassVar[Role] = "dense"
    runtime: ClassVar[Runtime] = "blas"
    stores_zeros = True
    keeps_zeros = False

    def prepare(self, weight: Weight) -> DenseOperand:
        return DenseOperand(self.namespace().array(weight.values, order="C"))

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        return self.namespace().matmul(self._effective(operand), x, out=out)

    def backward_input(self, operand: DenseOperand, dy: Any, out: Any) -> Any:
        # BLAS reads W transposed in place.
        return self.namespace().matmul(self._effective(operand).T, dy, out=out)

    def backward_weight(self, operand: DenseOperand, dy: Any, x: Any, out: Any) -> Any:
        return weight_product(self.namespace(), dy, x, out)

    def update(self, operand: DenseOperand, step: Any, rate: float) -> None:
        operand.values -= rate * step

    def gradient_shape(self, operand: DenseOperand) -> tuple[int, ...]:
        return tuple(operand.values.shape)

    def dense_weight(self, operand: DenseOperand) -> Array:
        # As the passes see it.
        return self.fetch(self._effective(operand).copy())

    def dense_gradient(self, operand: DenseOperand, gradient: Any) -> Array:
        return self.fetch(gradient)

    def _effective(self, operand: DenseOperand) -> Any:
        """Return the W that a pass multiplies by."""
        return operand.values


def weight_product(xp: Any, dy: Any, x: Any, out: Any) -> Any:
    """Return ``dy xᵀ`` (m, k) in ``out``.

    For a single image it is an outer product: NumPy's matmul leaves BLAS for it, and takes four
    times as long as a broadcast multiplication.
    """
    return xp.multiply(dy, x.T, out=out) if x.shape[1] == 1 else xp.matmul(dy, x.T, out=out)


class MaskedDenseKernel(DenseKernel):
    """A dense W with its mask beside it."""

    format = "masked dense"
    role = "masked dense"
    keeps_zeros = True

    def prepare(self, weight: Weight) -> DenseOperand:
        xp = self.namespace()
        values = xp.array(weight.values, order="C")
        mask = xp.array(weight.pattern, dtype=values.dtype)
        return DenseOperand(values, mask, xp.empty_like(values))


class MaskedCallKernel(MaskedDenseKernel):
    """The mask is multiplied in on every call, as ``torch.nn.utils.prune`` does."""

    def backward_weight(self, operand: DenseOperand, dy: Any, x: Any, out: Any) -> Any:
        xp = self.namespace()
        dense = weight_product(xp, dy, x, out)
        return xp.multiply(dense, operand.mask, out=dense)

    def _effective(self, operand: DenseOperand) -> Any:
        return self.namespace().multiply(operand.values, operand.mask, out=operand.scratch)


class MaskedUpdateKernel(MaskedDenseKernel):
    """W holds its zeros; only the update is masked, so that the passes cost what dense costs."""

    def update(self, operand: DenseOperand, step: Any, rate: float) -> None:
        xp = self.namespace()
        xp.multiply(step, operand.mask, out=operand.scratch)
        xp.multiply(operand.scratch, rate, out=operand.scratch)
        operand.values -= operand.scratch


class NumpyDense(DenseKernel):
    """The CPU baseline: the BLAS that NumPy was built with."""

    name = "numpy-dense"
    title = "NumPy dense"
    device = "cpu"
    source = "numpy.matmul with out="
    look = Look("#70655f", "o", "-")


class NumpyMaskedCall(MaskedCallKernel):
    """Masked dense on the CPU, masked in every call."""

    name = "numpy-masked-call"
    title = "NumPy dense, masked in every call"
    device = "cpu"
    source = "numpy.multiply then numpy.matmul, as torch.nn.utils.prune computes"
    look = Look("#84939c", "s", "--")


class NumpyMaskedUpdate(MaskedUpdateKernel):
    """Masked dense on the CPU, masked in the update."""

    name = "numpy-masked-update"
    title = "NumPy dense, masked in the update"
    device = "cpu"
    source = "numpy.matmul; numpy.multiply in the update only"
    look = Look("#84939c", "s", ":")
