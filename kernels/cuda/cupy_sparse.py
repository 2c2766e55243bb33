"""CSR and CSC on the GPU as users of CuPy call them: ``matrix @ dense``.

CuPy copies the dense side to Fortran order, lets cuSPARSE choose its default algorithm and
allocates the result on each call, so this is what users get, not the best that cuSPARSE can do.
"""

from __future__ import annotations

import importlib
from typing import Any

from ..cpu.scipy_sparse import LibrarySparseKernel
from .device import OnCupy


class _CupySparseKernel(OnCupy, LibrarySparseKernel):
    """Uploads what SciPy converted."""

    def upload(self, matrix: Any) -> Any:
        """Return a SciPy sparse array as CuPy's, on the GPU."""
        sparse = importlib.import_module("cupyx.scipy.sparse")
        return getattr(sparse, f"{self.format}_matrix")(matrix)


class CupyCsr(_CupySparseKernel):
    """CuPy's CSR as users call it."""

    name = "cupy-csr"
    title = "CuPy CSR"
    format = "csr"
    source = "cupyx.scipy.sparse.csr_matrix @ dense; weight gradient by cupy.matmul and cupy.take"


class CupyCsc(_CupySparseKernel):
    """CuPy's CSC as users call it."""

    name = "cupy-csc"
    title = "CuPy CSC"
    format = "csc"
    source = "cupyx.scipy.sparse.csc_matrix @ dense; weight gradient by cupy.matmul and cupy.take"
