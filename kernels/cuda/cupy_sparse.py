"""CSR and CSC on the GPU as users of CuPy call them: ``matrix @ dense``.

CuPy copies the dense side to Fortran order, lets cuSPARSE choose its default algorithm and
allocates the result on each call, so this is what users get, not the best that cuSPARSE can do.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np

from ..base import Look, Weight
from ..cpu.scipy_sparse import LibrarySparseKernel
from .device import OnCupy, failing


class _CupySparseKernel(OnCupy, LibrarySparseKernel):
    """Uploads what SciPy converted."""

    def unavailable(self) -> str | None:
        return super().unavailable() or _sparse_unavailable()

    def upload(self, matrix: Any) -> Any:
        """Return a SciPy sparse array as CuPy's, on the GPU."""
        sparse = importlib.import_module("cupyx.scipy.sparse")
        return getattr(sparse, f"{self.format}_matrix")(matrix)


@cache
def _sparse_unavailable() -> str | None:
    kernel, one = CupyCsr(), np.ones((1, 1), np.float32)
    operand = Weight.from_dense(one)
    return failing(
        "CuPy's cuSPARSE", lambda: kernel.forward(kernel.prepare(operand), kernel.put(one), None)
    )


class CupyCsr(_CupySparseKernel):
    """CuPy's CSR as users call it."""

    name = "cupy-csr"
    title = "CuPy CSR"
    format = "csr"
    source = "cupyx.scipy.sparse.csr_matrix @ dense; weight gradient by cupy.matmul and cupy.take"
    look = Look("#ba2f9f", "v", "-")


class CupyCsc(_CupySparseKernel):
    """CuPy's CSC as users call it."""

    name = "cupy-csc"
    title = "CuPy CSC"
    format = "csc"
    source = "cupyx.scipy.sparse.csc_matrix @ dense; weight gradient by cupy.matmul and cupy.take"
    look = Look("#ba2f9f", "v", "--")
