"""What the kernels of libraries share whose transposed product is slow: W and Wᵀ, each as CSR.

PyTorch's and MKL's products with a CSC matrix take 10 times as long as with a CSR one (300 x
784, 90 %, n = 64, one thread), so an expert stores Wᵀ too, and an update writes both.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import formats
from ..base import Array, Weight
from ..sparse import SparseKernel, StoredValues


@dataclass
class DualCsrOperand(StoredValues):
    """W and Wᵀ as a library's CSR, with the values of each as NumPy views."""

    matrix: Any
    transposed: Any
    #: W's pattern with zeros for values, where a library samples by it; or None.
    sampler: Any
    transposed_values: Array
    #: Which of ``values`` each of ``transposed_values`` is.
    order: Array
    #: Bytes of the indices and pointers of both matrices.
    index_bytes: int

    @property
    def nbytes(self) -> int:
        values = int(self.values.nbytes + self.transposed_values.nbytes)
        return values + self.index_bytes + int(self.order.nbytes + self.positions.nbytes)

    @property
    def stored_entries(self) -> int:
        return int(self.positions.size)


class DualCsrKernel(SparseKernel):
    """CSR in a library that shares the memory of SciPy's arrays."""

    @abstractmethod
    def convert(self, host: Any) -> Any:
        """Return a SciPy CSR array as the library's matrix, sharing its memory."""

    def sampler(self, host: Any) -> Any:
        """Return what the library samples ``dy xᵀ`` by, if it does."""
        return None

    def prepare(self, weight: Weight) -> DualCsrOperand:
        host = formats.to_csr(weight)
        pointers, rows, order = formats.transposed_structure(host)
        m, k = weight.shape
        transposed = type(host)((host.data[order], rows, pointers), shape=(k, m))
        both = (host, transposed)
        return DualCsrOperand(
            weight.shape,
            host.data,
            formats.flat_positions(host),
            self.convert(host),
            self.convert(transposed),
            self.sampler(host),
            transposed.data,
            order,
            sum(formats.sparse_bytes(each) - each.data.nbytes for each in both),
        )

    def update(self, operand: DualCsrOperand, step: Any, rate: float) -> None:
        operand.values -= rate * self.local(step)
        np.take(operand.values, operand.order, out=operand.transposed_values)
