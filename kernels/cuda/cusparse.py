"""cuSPARSE at its best: row-major dense sides, preprocessed, nothing allocated in a call.

Which SpMM algorithm is fastest depends on the matrix, the batch and the card, and NVIDIA's notes
name each one's strength, so each is a kernel of its own and a report shows which one wins.

W and Wᵀ are both stored, each as CSR: cuSPARSE's transposed product scatters with atomic adds,
is not reproducible, and the third algorithm does not have it. An update writes both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from .. import formats
from ..base import Look, Weight
from ..sparse import SparseKernel, StoredValues
from . import cusparse_plans
from .cupy_dense import fused_update
from .cusparse_plans import ProductPlan, SamplePlan, Structure
from .device import OnCupy


@dataclass
class CusparseOperand(StoredValues):
    """W and Wᵀ on the GPU, what links their values, and the plans made so far."""

    structure: Structure
    transposed: Structure
    transposed_values: Any
    #: Which of ``values`` each of ``transposed_values`` is.
    order: Any
    #: 0 for the zeros that a block holds, 1 elsewhere; None where every value is stored.
    stored: Any
    #: By pass and batch: made on the first call, reused by all others.
    plans: dict[tuple[str, int], Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        parts = [self.values, self.transposed_values, self.order, self.stored]
        arrays = sum(int(part.nbytes) for part in parts if part is not None)
        return arrays + self.structure.nbytes + self.transposed.nbytes


class CusparseKernel(OnCupy, SparseKernel):
    """What the kernels on cuSPARSE share."""

    format: ClassVar[Literal["csr", "bsr"]] = "csr"
    role = "peer"
    #: Of cuSPARSE's SpMM, the ending of its name.
    algorithm: ClassVar[str]

    def unavailable(self) -> str | None:
        return super().unavailable() or cusparse_plans.unavailable()

    def prepare(self, weight: Weight) -> CusparseOperand:
        xp = self.namespace()
        host = formats.to_csr(weight) if self.format == "csr" else formats.to_bsr(weight)
        mirrored = _mirrored(host)
        order = mirrored.data.ravel()
        positions = formats.flat_positions(host).ravel()
        stored = None
        if self.format == "bsr":
            stored = xp.asarray(weight.pattern.ravel()[positions].reshape(host.data.shape))
        return CusparseOperand(
            weight.shape,
            xp.asarray(host.data),
            positions,
            self._uploaded(host),
            self._uploaded(mirrored),
            xp.asarray(host.data.ravel()[order].reshape(mirrored.data.shape)),
            xp.asarray(order),
            stored,
        )

    def forward(self, operand: CusparseOperand, x: Any, out: Any) -> Any:
        return self._product("forward", operand, x, out)

    def backward_input(self, operand: CusparseOperand, dy: Any, out: Any) -> Any:
        return self._product("backward_input", operand, dy, out)

    def backward_weight(self, operand: CusparseOperand, dy: Any, x: Any, out: Any) -> Any:
        # A block's zeros get values too, which an update leaves out.
        if not out.size:
            return out
        key = ("backward_weight", int(x.shape[1]))
        if key not in operand.plans:
            empty = self.namespace().empty
            operand.plans[key] = SamplePlan(operand.structure, out, key[1], empty)
        return operand.plans[key].run(dy, x, out)

    def update(self, operand: CusparseOperand, step: Any, rate: float) -> None:
        fused_update(operand.values, step, rate, operand.stored)
        flat, mirrored = operand.values.ravel(), operand.transposed_values.reshape(-1)
        self.namespace().take(flat, operand.order, out=mirrored)

    def _product(self, pass_: str, operand: CusparseOperand, dense: Any, out: Any) -> Any:
        forward = pass_ == "forward"
        values = operand.values if forward else operand.transposed_values
        if not values.size:
            out.fill(0)
            return out
        key = (pass_, int(dense.shape[1]))
        if key not in operand.plans:
            structure = operand.structure if forward else operand.transposed
            empty = self.namespace().empty
            operand.plans[key] = ProductPlan(structure, values, key[1], self.algorithm, empty)
        return operand.plans[key].run(dense, out)

    def _uploaded(self, host: Any) -> Structure:
        put = self.namespace().asarray
        block = host.blocksize if self.format == "bsr" else None
        return Structure(host.shape, put(host.indptr), put(host.indices), block)


def _mirrored(host: Any) -> Any:
    """Return the transposed of a CSR or BSR array in its format; its values number those of it."""
    numbers = np.arange(host.data.size, dtype=np.int32).reshape(host.data.shape)
    transposed = type(host)((numbers, host.indices, host.indptr), shape=host.shape).T
    return transposed if host.format == "bsr" else transposed.tocsr()


class CusparseCsr(CusparseKernel):
    """The algorithm that cuSPARSE chooses itself."""

    name = "cusparse-csr"
    title = "cuSPARSE CSR"
    algorithm = "DEFAULT"
    source = "cusparseSpMM, SpMV and SDDMM with preprocessing, through nvmath-python"
    look = Look("#cd810f", "D", "-")


class CusparseCsr1(CusparseKernel):
    """The first CSR algorithm: made for column-major sides."""

    name = "cusparse-csr-alg1"
    title = "cuSPARSE CSR, algorithm 1"
    algorithm = "CSR_ALG1"
    source = "cusparseSpMM with CUSPARSE_SPMM_CSR_ALG1, through nvmath-python"
    look = Look("#cd810f", "D", "--")


class CusparseCsr2(CusparseKernel):
    """The second CSR algorithm: made for row-major sides."""

    name = "cusparse-csr-alg2"
    title = "cuSPARSE CSR, algorithm 2"
    algorithm = "CSR_ALG2"
    source = "cusparseSpMM with CUSPARSE_SPMM_CSR_ALG2, through nvmath-python"
    look = Look("#cd810f", "D", ":")


class CusparseCsr3(CusparseKernel):
    """The third CSR algorithm: its preprocessing balances the rows."""

    name = "cusparse-csr-alg3"
    title = "cuSPARSE CSR, algorithm 3"
    algorithm = "CSR_ALG3"
    source = "cusparseSpMM with CUSPARSE_SPMM_CSR_ALG3, through nvmath-python"
    look = Look("#cd810f", "D", "-.")


class CusparseBsr(CusparseKernel):
    """BSR, with the largest blocks that are at least 70 % full."""

    name = "cusparse-bsr"
    title = "cuSPARSE BSR"
    format = "bsr"
    algorithm = "DEFAULT"
    source = "cusparseSpMM, SpMV and SDDMM on BSR, through nvmath-python"
    look = Look("#cd810f", "p", "-")

    def unfit(self, weight: Weight) -> str | None:
        return formats.holds_no_blocks(weight)
