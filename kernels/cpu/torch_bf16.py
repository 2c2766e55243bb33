"""PyTorch's dense product in bf16 on the CPU: a baseline for whoever may round.

oneDNN multiplies in bf16 by AMX where the processor has it, or by AVX-512's bf16. It is a baseline
of its own arithmetic: no speedup over fp32 is ever told of it, nor of fp32 over it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np

from ..base import Arithmetic, Look, Weight
from ..libraries import torch
from .numpy_dense import RoundedOperand
from .torch_cpu import TorchDense

# The result is rounded to bf16 as well, by at most 2^-8 of itself: half of what twice that roundoff
# allows more. Processors that multiply in bf16 read what is below 2^-126 as zero.
_BF16_RESULTS = Arithmetic("bf16, fp32 sums, bf16 results", 2.0**-7, 2.0**-22, 2.0**-126)
_LARGEST_BF16 = 2.0**127 * (2 - 2.0**-7)


@cache
def _without_bf16() -> str | None:
    if torch().ops.mkldnn._is_mkldnn_bf16_supported():
        return None
    return "This processor does not multiply in bf16, or this PyTorch was built without oneDNN."


class TorchDenseBf16(TorchDense):
    """bf16 operands, fp32 sums, bf16 results, as ``torch.mm`` of bf16 returns them.

    X and dY come in fp32, as from any layer, and the result leaves in fp32: each call pays for the
    conversions.
    """

    name = "torch-dense-bf16"
    title = "PyTorch dense, bf16"
    arithmetic: ClassVar = {"float32": _BF16_RESULTS}
    source = "torch.mm of bf16 (oneDNN: AMX or AVX-512), out=, converted from and to fp32"
    look = Look("#70655f", "o", "-.")

    def unavailable(self) -> str | None:
        return super().unavailable() or _without_bf16()

    def unfit(self, weight: Weight) -> str | None:
        finite = weight.values[np.isfinite(weight.values)]
        largest = float(np.abs(finite).max(initial=0))
        if largest <= _LARGEST_BF16:
            return None
        return f"A weight of {largest:g} is beyond bf16, which ends at {_LARGEST_BF16:g}."

    def prepare(self, weight: Weight) -> RoundedOperand:
        values = self.put(weight.values.copy())
        return RoundedOperand(values, rounded=values.bfloat16())

    def forward(self, operand: Any, x: Any, out: Any) -> Any:
        return self._product(operand, operand.rounded, self._rounded(operand, "x", x), out)

    def backward_input(self, operand: Any, dy: Any, out: Any) -> Any:
        return self._product(operand, operand.rounded.t(), self._rounded(operand, "dy", dy), out)

    def backward_weight(self, operand: Any, dy: Any, x: Any, out: Any) -> Any:
        left, right = self._rounded(operand, "dy", dy), self._rounded(operand, "x", x)
        return self._product(operand, left, right.t(), out)

    def update(self, operand: Any, step: Any, rate: float) -> None:
        operand.values.sub_(step, alpha=rate)
        operand.rounded.copy_(operand.values)

    def _product(self, operand: RoundedOperand, left: Any, right: Any, out: Any) -> Any:
        return out.copy_(torch().mm(left, right, out=self._room(operand, "result", out)))

    def _rounded(self, operand: RoundedOperand, role: str, array: Any) -> Any:
        return self._room(operand, role, array).copy_(array)

    def _room(self, operand: RoundedOperand, role: str, like: Any) -> Any:
        """Return an array in bf16 of the shape of ``like``."""
        key = (role, *like.shape)
        if key not in operand.room:
            operand.room[key] = torch().empty_like(like, dtype=torch().bfloat16)
        return operand.room[key]
