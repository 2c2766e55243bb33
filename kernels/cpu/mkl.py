"""Intel MKL's CSR, a peer: the one-shot call of ``sparse_dot_mkl``, and the inspected one."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import weakref
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from .. import libraries
from ..base import Look
from .dual_csr import DualCsrKernel, DualCsrOperand


@cache
def _mkl_unavailable() -> str | None:
    # sparse_dot_mkl does not look where pip puts the library.
    found = sorted(Path(sys.prefix, "lib").glob("libmkl_rt.so*"))
    if found:
        os.environ.setdefault("MKL_RT", str(found[0]))
    return libraries.missing("sparse_dot_mkl", "MKL", "install the extra peers")


class MklCsr(DualCsrKernel):
    """MKL's CSR; it has no SDDMM."""

    name = "mkl-csr"
    title = "MKL CSR"
    device = "cpu"
    format = "csr"
    source = "sparse_dot_mkl.dot_product_mkl; weight gradient by MKL's gemm and a gather"
    role = "peer"
    runtime = "mkl"
    # 130-165 GFLOP/s on a Xeon, 30-50 on an EPYC: other makers' processors get a slower path.
    made_for = "Intel"
    look = Look("#cd810f", "P", "-")

    def unavailable(self) -> str | None:
        return _mkl_unavailable()

    def forward(self, operand: DualCsrOperand, x: Any, out: Any) -> Any:
        return self._product(operand.matrix, x, out)

    def backward_input(self, operand: DualCsrOperand, dy: Any, out: Any) -> Any:
        return self._product(operand.transposed, dy, out)

    def backward_weight(self, operand: DualCsrOperand, dy: Any, x: Any, out: Any) -> Any:
        # The dense product, and a gather.
        dense = importlib.import_module("sparse_dot_mkl").dot_product_mkl(dy, x.T)
        return dense.ravel().take(operand.positions, out=out)

    def convert(self, host: Any) -> Any:
        """Return the SciPy array itself: MKL reads its memory."""
        return host

    def _product(self, matrix: Any, dense: Any, out: Any) -> Any:
        """Return ``matrix @ dense`` in ``out``, which is not read (``out_scalar`` 0)."""
        mkl = importlib.import_module("sparse_dot_mkl")
        return mkl.dot_product_mkl(matrix, dense, out=out, out_scalar=0.0)


@dataclass
class _Handle:
    """MKL's handle of a CSR matrix, and the batches it was optimized for."""

    matrix: Any
    address: Any
    batches: set[int] = field(default_factory=set)


class MklCsrHinted(MklCsr):
    """MKL's CSR through its inspector: told of many calls, it may reorder W for them.

    An update hands MKL the new values through a new handle, which is inspected again when used.
    """

    name = "mkl-csr-hinted"
    title = "MKL CSR, inspected"
    source = "mkl_sparse_set_mm_hint, mkl_sparse_optimize, mkl_sparse_?_mm (mv for a single image)"
    look = Look("#cd810f", "P", "--")

    def update(self, operand: DualCsrOperand, step: Any, rate: float) -> None:
        super().update(operand, step, rate)
        operand.matrix = self.convert(operand.matrix.matrix)
        operand.transposed = self.convert(operand.transposed.matrix)

    def convert(self, host: Any) -> _Handle:
        """Return a handle that reads the SciPy array's memory."""
        interface = importlib.import_module("sparse_dot_mkl._mkl_interface")
        address, _, _ = interface._create_mkl_sparse(host)
        handle = _Handle(host, address)
        library = _mkl_library()
        weakref.finalize(handle, library.mkl_sparse_destroy, address)
        return handle

    def _product(self, handle: _Handle, dense: Any, out: Any) -> Any:
        library, n = _mkl_library(), dense.shape[1]
        letter, real = ("s", ctypes.c_float) if out.dtype.itemsize == 4 else ("d", ctypes.c_double)
        if n not in handle.batches:
            self._inspect(handle, n)
        description = _Description(_GENERAL, 0, 0)
        arrays = ctypes.c_void_p(dense.ctypes.data), ctypes.c_void_p(out.ctypes.data)
        if n == 1:
            status = getattr(library, f"mkl_sparse_{letter}_mv")(
                _PLAIN, real(1), handle.address, description, arrays[0], real(0), arrays[1]
            )
        else:
            status = getattr(library, f"mkl_sparse_{letter}_mm")(
                _PLAIN, real(1), handle.address, description, _ROWS_FIRST, arrays[0],
                ctypes.c_int(n), ctypes.c_int(n), real(0), arrays[1], ctypes.c_int(n),
            )  # fmt: skip
        if status:
            raise RuntimeError(f"MKL's sparse product failed with status {status}")
        return out

    def _inspect(self, handle: _Handle, n: int) -> None:
        """Let MKL prepare for many products with ``n`` columns."""
        library, description = _mkl_library(), _Description(_GENERAL, 0, 0)
        if n == 1:
            status = library.mkl_sparse_set_mv_hint(handle.address, _PLAIN, description, _CALLS)
        else:
            status = library.mkl_sparse_set_mm_hint(
                handle.address, _PLAIN, description, _ROWS_FIRST, ctypes.c_int(n), _CALLS
            )
        if status := status or library.mkl_sparse_optimize(handle.address):
            raise RuntimeError(f"MKL's inspection failed with status {status}")
        handle.batches.add(n)


class _Description(ctypes.Structure):
    """MKL's ``matrix_descr``."""

    _fields_ = (("type", ctypes.c_int), ("mode", ctypes.c_int), ("diagonal", ctypes.c_int))


_GENERAL = 20
_PLAIN = ctypes.c_int(10)  # not transposed
_ROWS_FIRST = ctypes.c_int(101)
_CALLS = ctypes.c_int(10_000)


@cache
def _mkl_library() -> Any:
    """Return MKL as a library object of its own, whose argument types nobody else declares."""
    functions = importlib.import_module("sparse_dot_mkl._mkl_interface._cfunctions")
    return ctypes.CDLL(functions.mkl_library_name())
