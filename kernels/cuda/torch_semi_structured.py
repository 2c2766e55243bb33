"""PyTorch's semi-structured sparsity on an NVIDIA GPU, a peer: at most 2 of each 4 entries stored.

The tensor cores skip the other two. A pattern that was not pruned to this form does not fit, so the
kernel says so and takes no part; W's transpose is of another pattern, so there is no backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..base import FP16, Arithmetic, Array, ForwardOnly, Look, Weight
from ..cpu.torch_cpu import quiet
from ..libraries import torch
from .cupy_dense import beyond_fp16
from .device import older_than
from .torch_cuda import OnTorchCuda

#: What PyTorch asks of W's rows and columns in fp16, and of X's columns.
ROWS, COLUMNS, BATCH = 32, 64, 8
# The result is rounded to fp16 as well, by at most 2^-11 of itself: half of what this allows more.
_FP16_RESULTS = Arithmetic(
    "fp16, fp32 sums, fp16 results", 2 * FP16.operand_roundoff, FP16.sum_roundoff, 2.0**-24
)


@dataclass
class SemiStructuredOperand:
    """W (m, k) in fp32 with its mask, which updates go to, and compressed, which passes read."""

    values: Any
    mask: Any
    compressed: Any
    #: X in fp16, its columns filled up to a multiple of 8 with zeros, by the shape of X.
    room: dict[tuple[int, ...], Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        parts = [getattr(self.compressed, name, None) for name in ("packed", "meta")]
        held = [part for part in parts if part is not None] or [self.compressed]
        return sum(int(each.nbytes) for each in [self.values, self.mask, *held])

    @property
    def stored_entries(self) -> int:
        # Two of each four; those of W in fp32 are for updates.
        return int(self.values.numel()) // 2


class TorchSemiStructured(OnTorchCuda, ForwardOnly):
    """2:4 in fp16 by cuSPARSELt, or by CUTLASS where PyTorch was built without; for serving.

    X comes in fp32, as from any layer, and the result leaves in fp32: each call pays for both
    conversions, as ``cupy-dense-fp16`` pays for its own.
    """

    name = "torch-cuda-2to4"
    title = "PyTorch 2:4 on CUDA"
    format = "2:4"
    role = "peer"
    look = Look("#1b99e8", "X", ":")
    arithmetic: ClassVar = {"float32": _FP16_RESULTS}
    source = "torch.sparse.to_sparse_semi_structured in fp16, torch.mm"

    def unavailable(self) -> str | None:
        return super().unavailable() or older_than(80, "2:4 sparsity")

    def unfit(self, weight: Weight) -> str | None:
        m, k = weight.shape
        if not (m and k) or m % ROWS or k % COLUMNS:
            return f"2:4 takes multiples of {ROWS} rows and {COLUMNS} columns, not {m} x {k}."
        fullest = int(weight.pattern.reshape(-1, 4).sum(axis=1).max())
        if fullest > 2:
            return f"2:4 stores at most 2 of each 4 entries of a row; here {fullest} are stored."
        return beyond_fp16(weight)

    def prepare(self, weight: Weight) -> SemiStructuredOperand:
        values = self.put(weight.values.copy())
        return SemiStructuredOperand(
            values, self.put(weight.pattern.copy()), self.compress(values.half())
        )

    def forward(self, operand: SemiStructuredOperand, x: Any, out: Any) -> Any:
        n = x.shape[1]
        if tuple(x.shape) not in operand.room:
            shape = (x.shape[0], -(-n // BATCH) * BATCH)
            operand.room[tuple(x.shape)] = x.new_zeros(shape, dtype=torch().float16)
        rounded = operand.room[tuple(x.shape)]
        rounded[:, :n].copy_(x)
        return out.copy_(torch().mm(operand.compressed, rounded)[:, :n])

    def update(self, operand: SemiStructuredOperand, step: Any, rate: float) -> None:
        with self.on_current_stream():
            operand.values.sub_(step * operand.mask, alpha=rate)
            operand.compressed = self.compress(operand.values.half())

    def compress(self, half: Any) -> Any:
        """Return a tensor (m, k) of fp16 as PyTorch's semi-structured tensor."""
        with quiet():
            if torch().backends.cusparselt.is_available():
                return torch().sparse.to_sparse_semi_structured(half)
            return torch().sparse.SparseSemiStructuredTensorCUTLASS.from_dense(half)

    def gradient_shape(self, operand: SemiStructuredOperand) -> tuple[int, ...]:
        return tuple(operand.values.shape)

    def dense_weight(self, operand: SemiStructuredOperand) -> Array:
        return self.fetch(operand.values.clone())

    def dense_gradient(self, operand: SemiStructuredOperand, gradient: Any) -> Array:
        held = self.fetch(operand.mask)
        return np.where(held, self.fetch(gradient), np.zeros((), np.float32))
