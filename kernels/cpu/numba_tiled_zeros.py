"""The tiled kernel that leaves out zeros of the activations, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base import Array, Look, Problem, Weight
from .numba_tiled import NumbaTiled
from .scatter_spmv import Rows, spread_product
from .threads import check_layout
from .tiled_layouts import TiledOperand, reordered


@dataclass
class ZerosOperand(TiledOperand):
    """A tiled operand with W and Wᵀ row after row beside it."""

    rows: Rows | None = None
    columns: Rows | None = None

    @property
    def nbytes(self) -> int:
        return super().nbytes + sum(each.nbytes for each in self._both)

    def subtract(self, step: Array, rate: float) -> None:
        super().subtract(step, rate)
        for each in self._both:
            reordered(self.values, each.order, each.values)

    @property
    def _both(self) -> list[Rows]:
        return [each for each in (self.rows, self.columns) if each is not None]


class NumbaTiledZeros(NumbaTiled):
    """Leaves out the zeros of the activations, too, where there is one image.

    A zero of X or dY times an infinite or NaN weight is 0 here. With more images it is numba-tiled,
    for whoever trains by it, and so takes no part beside it.
    """

    name = "numba-tiled-zeros"
    title = "Numba CSR, zeros of X left out"
    source = "columns of W are added up for the nonzeros of X; weight gradient as numba-tiled"
    look = Look("#1a6fe6", "^", "--")
    variants = ""

    def unsupported(self, problem: Problem) -> str | None:
        if problem.n > 1:
            return f"{self.name} is for a batch of 1; of {problem.n} it is numba-tiled."
        return super().unsupported(problem)

    def _prepared(self, weight: Weight, width: int, trained: bool) -> ZerosOperand:
        it = super()._prepared(weight, width, trained)
        m, k = weight.shape
        rows, columns = np.divmod(it.positions, k)
        return ZerosOperand(
            it.shape, it.values, it.positions, it.width, it.choices, it.layouts,
            Rows.of(rows, columns, m, it.values), Rows.of(columns, rows, k, it.values),
        )  # fmt: skip

    def forward(self, operand: TiledOperand, x: Any, out: Any) -> Any:
        if x.shape[1] > 1:
            return super().forward(operand, x, out)
        check_layout(x, out)
        assert isinstance(operand, ZerosOperand)
        assert operand.columns is not None
        return spread_product(operand.columns, x, out)

    def backward_input(self, operand: TiledOperand, dy: Any, out: Any) -> Any:
        if dy.shape[1] > 1:
            return super().backward_input(operand, dy, out)
        check_layout(dy, out)
        assert isinstance(operand, ZerosOperand)
        assert operand.rows is not None
        return spread_product(operand.rows, dy, out)
