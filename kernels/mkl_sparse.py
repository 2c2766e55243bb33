"""Intel MKL's CSR, a peer: the one-shot call of ``sparse_dot_mkl``."""

from __future__ import annotations

import importlib
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from kernels.mirrored import MirroredCsrKernel, MirroredOperand


@cache
def _mkl_unavailable() -> str | None:
    # sparse_dot_mkl does not look where pip puts the library.
    found = sorted(Path(sys.prefix, "lib").glob("libmkl_rt.so*"))
    if found:
        os.environ.setdefault("MKL_RT", str(found[0]))
    try:
        importlib.import_module("sparse_dot_mkl")
    except Exception as error:  # an import can fail in the loader of any of its libraries
        line = str(error).splitlines()[0]
        return f"MKL cannot be loaded through sparse_dot_mkl ({line}): install the extra peers."
    return None


class MklCsr(MirroredCsrKernel):
    """MKL's CSR; it has no SDDMM."""

    name = "mkl-csr"
    title = "MKL CSR"
    device = "cpu"
    format = "csr"
    source = "sparse_dot_mkl.dot_product_mkl; weight gradient by MKL's gemm and a gather"

    def unavailable(self) -> str | None:
        """Return why MKL is not there, or None."""
        return _mkl_unavailable()

    def forward(self, operand: MirroredOperand, x: Any, out: Any) -> Any:
        """Return ``W x``."""
        return self._product(operand.matrix, x, out)

    def backward_input(self, operand: MirroredOperand, dy: Any, out: Any) -> Any:
        """Return ``Wᵀ dy``."""
        return self._product(operand.transposed, dy, out)

    def backward_weight(self, operand: MirroredOperand, dy: Any, x: Any, out: Any) -> Any:
        """Return ``dy xᵀ`` at the nonzeros (nnz,): the dense product, and a gather."""
        dense = importlib.import_module("sparse_dot_mkl").dot_product_mkl(dy, x.T)
        return dense.ravel().take(operand.positions, out=out)

    def convert(self, host: Any) -> Any:
        """Return the SciPy array itself: MKL reads its memory."""
        return host

    def _product(self, matrix: Any, dense: Any, out: Any) -> Any:
        """Return ``matrix @ dense`` in ``out``, which is not read (``out_scalar`` 0)."""
        mkl = importlib.import_module("sparse_dot_mkl")
        return mkl.dot_product_mkl(matrix, dense, out=out, out_scalar=0.0)
