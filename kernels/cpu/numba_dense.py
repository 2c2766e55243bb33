"""A dense product in the vector registers of the block kernel."""

from __future__ import annotations

import numpy as np

from ..base import Look, Weight
from .numba_bsr import BlockOperand, NumbaBsr


class NumbaDense(NumbaBsr):
    """The block kernel with every block stored: a dense product near the multiply-add ceiling."""

    name = "numba-dense"
    title = "Numba dense, in blocks"
    format = "dense"
    source = "as numba-bsr, zeros stored like all else"
    role = "dense"
    stores_zeros = True
    keeps_zeros = False
    look = Look("#000000", "o", ":")

    def prepare(self, weight: Weight) -> BlockOperand:
        return super().prepare(Weight(weight.values, np.ones_like(weight.pattern)))
