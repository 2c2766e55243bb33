"""The tiled kernel that leaves out zeros of the activations, too."""

from __future__ import annotations

from typing import Any

from ..base import Look, Problem
from .numba_tiled import NumbaTiled
from .scatter_spmv import spread_product
from .threads import check_layout
from .tiled_csr import TiledOperand


class NumbaTiledZeros(NumbaTiled):
    """Leaves out the zeros of the activations, too, where there is one image.

    A zero of X or dY times an infinite or NaN weight is 0 here. With more images it is numba-tiled,
    for whoever trains by it, and so takes no part beside it.
    """

    name = "numba-tiled-zeros"
    title = "Numba CSR, zeros of X left out"
    source = "columns of W are added up for the nonzeros of X; weight gradient as numba-tiled"
    look = Look("#1a6fe6", "^", "--")

    def unsupported(self, problem: Problem) -> str | None:
        if problem.n > 1:
            return f"{self.name} is for a batch of 1; of {problem.n} it is numba-tiled."
        return super().unsupported(problem)

    def forward(self, operand: TiledOperand, x: Any, out: Any) -> Any:
        if x.shape[1] > 1:
            return super().forward(operand, x, out)
        check_layout(x, out)
        return spread_product(operand.transposed, operand.plans[1], True, x, out)

    def backward_input(self, operand: TiledOperand, dy: Any, out: Any) -> Any:
        if dy.shape[1] > 1:
            return super().backward_input(operand, dy, out)
        check_layout(dy, out)
        return spread_product(operand.forward, operand.plans[0], True, dy, out)
