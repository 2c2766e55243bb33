"""The dense kernel that keeps a pruned weight's zeros while it trains."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ..base import Look, Weight
from .numba_bsr import in_blocks
from .numba_dense import DenseBlocks, NumbaDense, parts_of, share_of
from .simd.blocks import SIDE
from .simd.gradients import masked_update
from .simd.vectors import address


class NumbaMaskedUpdate(NumbaDense):
    """W holds its zeros; the update leaves them alone, in one pass over W, the step and a bit each.

    The strongest dense rival of a sparse training step: its passes cost what dense costs.
    """

    name = "numba-masked-update"
    title = "Numba dense, masked in the update"
    format = "masked dense"
    source = "numba-dense; the step is added where a bit per entry says so, in one pass"
    role = "masked dense"
    keeps_zeros = True
    look = Look("#84939c", "v", "-.")

    def prepare(self, weight: Weight) -> DenseBlocks:
        operand = super().prepare(weight)
        kept = in_blocks(weight.pattern).reshape(*operand.values.shape[:2], SIDE * SIDE)
        operand.kept = np.packbits(kept, axis=2, bitorder="little").view("<u2")[..., 0].copy()
        return operand

    def update(self, operand: DenseBlocks, step: Any, rate: float) -> None:
        _masked_update(
            operand.values, step, operand.kept, np.float32(rate),
            operand.threads, operand.serial_loads,
        )  # fmt: skip


@numba.njit(parallel=True, cache=True)
def _masked_update(  # type: ignore[no-untyped-def]
    values, step, kept, rate, threads, serial_loads
):
    """Subtract ``rate`` times the step from the entries of W that are kept."""
    parts = parts_of(kept.size, 1, threads, serial_loads)
    if parts == 1:
        masked_update(address(values), address(step), address(kept), 0, kept.size, rate)
    else:
        for part in numba.prange(parts):
            begin, end = share_of(part, parts, kept.size)
            masked_update(address(values), address(step), address(kept), begin, end, rate)
