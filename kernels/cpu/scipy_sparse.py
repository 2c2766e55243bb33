"""SciPy's CSR, CSC and BSR, written so that CuPy runs the same lines (see ``cuda/cupy_sparse.py``).

Neither library has an SDDMM. What an expert does instead is the dense product, by BLAS, and a
gather of the entries that are stored; only where next to nothing is stored is it faster to
gather the rows of dY and X and multiply those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from .. import formats
from ..base import Array, Look, Runtime, Weight
from ..sparse import SparseKernel, StoredValues
from .numpy_dense import weight_product

# At 10 % density (300 x 784, n = 64, one thread) the dense product took a thirteenth of the time
# of the gathers, at 2 % 1.8 times as long.
_SAMPLE_BELOW_DENSITY = 0.03
# Gathered floats per chunk: two such buffers stay in a 1 MB second-level cache.
_CHUNK_FLOATS = 1 << 16


@dataclass
class SparseOperand(StoredValues):
    """W as a library's sparse matrix, and Wᵀ sharing its values where the format can."""

    matrix: Any
    transposed: Any
    #: 0 for the zeros that a BSR block holds, 1 elsewhere; None where every value is stored.
    stored: Any
    #: Room (m, k) for the dense product of ``backward_weight``; None where it is sampled.
    product: Any

    @property
    def nbytes(self) -> int:
        # The positions are for the weight gradient.
        parts = [self.positions, self.stored]
        if self.matrix.format == "bsr":
            parts.append(self.transposed.data)  # BSR transposes into a copy
        extra = sum(int(part.nbytes) for part in parts if part is not None)
        return formats.sparse_bytes(self.matrix) + extra


class LibrarySparseKernel(SparseKernel):
    """What the sparse kernels of SciPy and CuPy share."""

    format: ClassVar[Literal["csr", "csc", "bsr"]]
    role = "peer"
    runtime: ClassVar[Runtime] = "scipy"

    def upload(self, matrix: Any) -> Any:
        """Return a SciPy sparse array as this library's."""
        return matrix

    def prepare(self, weight: Weight) -> SparseOperand:
        host = {"csr": formats.to_csr, "csc": formats.to_csc, "bsr": formats.to_bsr}[self.format](
            weight
        )
        matrix, xp = self.upload(host), self.namespace()
        positions = xp.asarray(formats.flat_positions(host))
        stored = None
        if self.format == "bsr" and host.blocksize != (1, 1):
            stored = xp.asarray(weight.pattern).ravel()[positions].astype(host.data.dtype)
        sampled = weight.nnz < _SAMPLE_BELOW_DENSITY * weight.pattern.size
        product = None if sampled else xp.empty(weight.shape, weight.values.dtype)
        return SparseOperand(
            weight.shape, matrix.data, positions, matrix, matrix.T, stored, product
        )

    def forward(self, operand: SparseOperand, x: Any, out: Any) -> Any:
        # A new array: the libraries offer no ``out``.
        return operand.matrix @ x

    def backward_input(self, operand: SparseOperand, dy: Any, out: Any) -> Any:
        return operand.transposed @ dy

    def backward_weight(self, operand: SparseOperand, dy: Any, x: Any, out: Any) -> Any:
        xp = self.namespace()
        if operand.product is None:
            gradient = self._sampled(operand, dy, x, out)
        else:
            weight_product(xp, dy, x, operand.product)
            gradient = xp.take(operand.product.ravel(), operand.positions, out=out)
        if operand.stored is not None:
            gradient *= operand.stored
        return gradient

    def update(self, operand: SparseOperand, step: Any, rate: float) -> None:
        if operand.stored is not None:
            step = step * operand.stored
        operand.values -= rate * step
        if self.format == "bsr":
            operand.transposed = operand.matrix.T

    def positions(self, operand: SparseOperand) -> Array:
        return self.fetch(operand.positions)

    def _sampled(self, operand: SparseOperand, dy: Any, x: Any, out: Any) -> Any:
        """Return one dot product per stored entry, in chunks that stay in the cache."""
        xp = self.namespace()
        rows, columns = xp.divmod(operand.positions.ravel(), operand.matrix.shape[1])
        flat = out.reshape(-1)
        chunk = max(1, _CHUNK_FLOATS // x.shape[1])
        for start in range(0, flat.size, chunk):
            part = slice(start, start + chunk)
            flat[part] = xp.einsum("pn,pn->p", dy[rows[part]], x[columns[part]])
        return out


class ScipyCsr(LibrarySparseKernel):
    """SciPy's CSR: single-threaded, a row of X added per nonzero."""

    name = "scipy-csr"
    title = "SciPy CSR"
    device = "cpu"
    format = "csr"
    source = "scipy.sparse.csr_array @ dense; weight gradient by numpy.matmul and numpy.take"
    look = Look("#ba2f9f", "v", "-")


class ScipyCsc(LibrarySparseKernel):
    """SciPy's CSC: the transposed product is the one that streams."""

    name = "scipy-csc"
    title = "SciPy CSC"
    device = "cpu"
    format = "csc"
    source = "scipy.sparse.csc_array @ dense; weight gradient by numpy.matmul and numpy.take"
    look = Look("#ba2f9f", "v", "--")


class ScipyBsr(LibrarySparseKernel):
    """SciPy's BSR, with the largest blocks that are at least 70 % full."""

    name = "scipy-bsr"
    title = "SciPy BSR"
    device = "cpu"
    format = "bsr"
    source = "scipy.sparse.bsr_array @ dense; weight gradient by numpy.matmul and numpy.take"
    look = Look("#ba2f9f", "v", ":")
