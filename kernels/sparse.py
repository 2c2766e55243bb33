"""What sparse kernels share: values, where each lies in W, and what follows from that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import formats
from .base import Array, Kernel


@dataclass
class StoredValues:
    """W (m, k) as the values that are stored of it."""

    shape: tuple[int, int]
    #: On the kernel's device, laid out as its gradients are.
    values: Any
    #: Where each stored entry lies in W.ravel().
    positions: Any

    @property
    def stored_entries(self) -> int:
        return int(self.values.size)


class SparseKernel(Kernel):
    """A kernel whose gradients are laid out as the ``values`` of its operand."""

    def positions(self, operand: Any) -> Array:
        """Return where each of the operand's values lies in W.ravel(), on the host."""
        positions: Array = operand.positions
        return positions

    def update(self, operand: Any, step: Any, rate: float) -> None:
        operand.values -= operand.values.dtype.type(rate) * step

    def gradient_shape(self, operand: Any) -> tuple[int, ...]:
        return tuple(operand.values.shape)

    def dense_weight(self, operand: Any) -> Array:
        return self.dense_gradient(operand, operand.values)

    def dense_gradient(self, operand: Any, gradient: Any) -> Array:
        return formats.scattered(self.fetch(gradient), self.positions(operand), operand.shape)
