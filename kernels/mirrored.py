"""An operand for libraries whose transposed product is slow: W and Wᵀ, each as CSR.

PyTorch's and MKL's products with a CSC matrix take 5 to 13 times as long as with a CSR one (300
x 784, 90 %, n = 64), so an expert stores Wᵀ too, and an update writes both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels import formats
from kernels.base import Array, Weight


@dataclass
class MirroredOperand:
    """W and Wᵀ as a library's CSR, with the values of each as NumPy views."""

    matrix: Any
    transposed: Any
    values: Array
    transposed_values: Array
    #: Which of ``values`` each of ``transposed_values`` is.
    order: Array
    #: Where each of ``values`` lies in W.ravel().
    positions: Array
    shape: tuple[int, int]
    index_bytes: int

    @property
    def nbytes(self) -> int:
        """Return the bytes of both matrices and of what links them."""
        values = int(self.values.nbytes + self.transposed_values.nbytes)
        return values + self.index_bytes + int(self.order.nbytes + self.positions.nbytes)

    def subtract(self, step: Array, rate: float) -> None:
        """Subtract ``rate * step`` from the values of both matrices."""
        self.values -= rate * step
        np.take(self.values, self.order, out=self.transposed_values)

    def scatter(self, values: Array) -> Array:
        """Return ``values`` (nnz,) as (m, k)."""
        dense = np.zeros(self.shape, values.dtype)
        dense.ravel()[self.positions] = values
        return dense


def host_matrices(weight: Weight) -> tuple[Any, Any, Array, Array]:
    """Return SciPy CSR arrays of W and Wᵀ, the order that links them, and the positions."""
    matrix = formats.to_csr(weight)
    pointers, rows, order = formats.transposed_structure(matrix)
    m, k = weight.shape
    transposed = type(matrix)((matrix.data[order], rows, pointers), shape=(k, m))
    return matrix, transposed, order, formats.flat_positions(matrix)
