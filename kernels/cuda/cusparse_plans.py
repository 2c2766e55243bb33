"""cuSPARSE's generic routines with everything reused: descriptors, buffers, preprocessing.

Through nvmath-python's bindings (``nvmath.bindings.cusparse``), NVIDIA's own. CuPy's lack what
makes the difference: ``SpMM_preprocess``, ``SDDMM`` and ``createBsr``.

A plan is one product of one matrix and batch. Making it asks for the buffer and preprocesses;
running it sets the addresses of the dense sides and calls cuSPARSE once: nothing is allocated and
nothing waits for the GPU. Values may change between runs, the structure may not.
"""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..libraries import missing
from .device import failing

# cudaDataType_t, and the scalars of every call, on the host.
_DATA_TYPES = {"float32": 0, "float64": 1}
_ONE = {name: np.ones(1, name) for name in _DATA_TYPES}
_ZERO = {name: np.zeros(1, name) for name in _DATA_TYPES}


@cache
def unavailable() -> str | None:
    """Return why cuSPARSE cannot be called through nvmath-python, as a sentence, or None."""
    return missing(
        "nvmath.bindings.cusparse", "nvmath-python's cuSPARSE", "install the extra cuda12 or cuda13"
    ) or failing("nvmath-python's cuSPARSE", _tiny_product)


def _tiny_product() -> None:
    cupy = importlib.import_module("cupy")
    one, pointers = cupy.ones((1, 1), np.float32), cupy.array([0, 1], np.int32)
    structure = Structure((1, 1), pointers, cupy.zeros(1, np.int32))
    plan = ProductPlan(structure, one.ravel(), 1, "DEFAULT", cupy.empty)
    cupy.asnumpy(plan.run(one, cupy.empty((1, 1), np.float32)))


@dataclass(frozen=True)
class Structure:
    """Where the values of a CSR matrix lie, or of a BSR matrix with ``block``, on the GPU."""

    shape: tuple[int, int]
    pointers: Any
    indices: Any
    block: tuple[int, int] | None = None

    @property
    def nbytes(self) -> int:
        """Return the bytes of pointers and indices."""
        return int(self.pointers.nbytes + self.indices.nbytes)

    def describe(self, values: Any) -> int:
        """Return a new descriptor of the matrix with ``values``, of 32-bit indices from zero."""
        sparse = _binding()
        addresses = (self.pointers.data.ptr, self.indices.data.ptr, values.data.ptr)
        index, base = sparse.IndexType.INDEX_32I, sparse.IndexBase.ZERO
        kind, count = _DATA_TYPES[values.dtype.name], int(self.indices.size)
        if self.block is None:
            return int(sparse.create_csr(*self.shape, count, *addresses, index, index, base, kind))
        rows, columns = (size // side for size, side in zip(self.shape, self.block, strict=True))
        sizes = (rows, columns, count, *self.block)
        order = sparse.Order.ROW
        return int(sparse.create_bsr(*sizes, *addresses, index, index, base, kind, order))


class ProductPlan:
    """``matrix @ dense``: SpMM on row-major dense sides, or SpMV for a single column."""

    def __init__(
        self, structure: Structure, values: Any, n: int, algorithm: str, empty: Callable[..., Any]
    ) -> None:
        """Prepare for dense sides of ``n`` columns; ``empty`` allocates on the GPU."""
        sparse = _binding()
        m, k = structure.shape
        kind = _DATA_TYPES[values.dtype.name]
        self._one, self._zero = _ONE[values.dtype.name], _ZERO[values.dtype.name]
        self._call = _vector_call(algorithm) if n == 1 else _matrix_call(algorithm)
        # Real arrays, for the preprocessing; every run sets other addresses.
        dense, out = empty((k, n), values.dtype), empty((m, n), values.dtype)
        self._matrix = structure.describe(values)
        self._dense, self._out = (
            sparse.create_dn_vec(each.size, each.data.ptr, kind)
            if n == 1
            else sparse.create_dn_mat(*each.shape, n, each.data.ptr, kind, sparse.Order.ROW)
            for each in (dense, out)
        )
        _destroyed_with(self, self._matrix, self._call.destroy, self._dense, self._out)
        handle = _on_current_stream()
        arguments = self._arguments(handle, kind)
        size = int(self._call.size(*arguments))
        self._buffer = empty((max(1, size),), np.uint8)
        self._complete = (*arguments, self._buffer.data.ptr)
        self._call.preprocess(*self._complete)

    def run(self, dense: Any, out: Any) -> Any:
        """Return the product with ``dense`` (k, n) in ``out`` (m, n), both in C order."""
        _on_current_stream()
        self._call.point(self._dense, dense.data.ptr)
        self._call.point(self._out, out.data.ptr)
        self._call.run(*self._complete)
        return out

    def _arguments(self, handle: int, kind: int) -> tuple[Any, ...]:
        one, zero = self._one.ctypes.data, self._zero.ctypes.data
        sides = (one, self._matrix, self._dense, zero, self._out)
        return (handle, *self._call.operations, *sides, kind, self._call.algorithm)


class SamplePlan:
    """``dY Xᵀ`` where the matrix has entries: SDDMM on row-major dense sides."""

    def __init__(self, structure: Structure, out: Any, n: int, empty: Callable[..., Any]) -> None:
        """Prepare for ``out``, laid out like the matrix's values, and ``n`` columns."""
        sparse = _binding()
        m, k = structure.shape
        name = out.dtype.name
        kind, row = _DATA_TYPES[name], sparse.Order.ROW
        dy, x = empty((m, n), out.dtype), empty((k, n), out.dtype)
        self._dy, self._x = (
            sparse.create_dn_mat(*each.shape, n, each.data.ptr, kind, row) for each in (dy, x)
        )
        self._matrix = structure.describe(out)
        _destroyed_with(self, self._matrix, sparse.destroy_dn_mat, self._dy, self._x)
        sides = (_ONE[name].ctypes.data, self._dy, self._x, _ZERO[name].ctypes.data, self._matrix)
        operations = (sparse.Operation.NON_TRANSPOSE, sparse.Operation.TRANSPOSE)
        arguments = (_on_current_stream(), *operations, *sides, kind, sparse.SDDMMAlg.DEFAULT)
        size = np.zeros(1, np.uint64)
        sparse.sddmm_buffer_size(*arguments, size.ctypes.data)
        self._buffer = empty((max(1, int(size[0])),), np.uint8)
        self._complete = (*arguments, self._buffer.data.ptr)
        sparse.sddmm_preprocess(*self._complete)

    def run(self, dy: Any, x: Any, out: Any) -> Any:
        """Return the entries of ``dy xᵀ`` in ``out``, for ``dy`` (m, n) and ``x`` (k, n)."""
        sparse = _binding()
        _on_current_stream()
        sparse.dn_mat_set_values(self._dy, dy.data.ptr)
        sparse.dn_mat_set_values(self._x, x.data.ptr)
        sparse.sp_mat_set_values(self._matrix, out.data.ptr)
        sparse.sddmm(*self._complete)
        return out


@cache
def _matrix_call(algorithm: str) -> SimpleNamespace:
    """Return what SpMM with one of cuSPARSE's algorithms takes."""
    sparse = _binding()
    return SimpleNamespace(
        operations=(sparse.Operation.NON_TRANSPOSE, sparse.Operation.NON_TRANSPOSE),
        algorithm=sparse.SpMMAlg[algorithm],
        size=sparse.sp_mm_buffer_size,
        preprocess=sparse.sp_mm_preprocess,
        run=sparse.sp_mm,
        point=sparse.dn_mat_set_values,
        destroy=sparse.destroy_dn_mat,
    )


@cache
def _vector_call(algorithm: str) -> SimpleNamespace:
    """Return what SpMV takes, with the algorithm of that name; there is no third of SpMV's."""
    sparse = _binding()
    name = "CSR_ALG2" if algorithm == "CSR_ALG3" else algorithm
    return SimpleNamespace(
        operations=(sparse.Operation.NON_TRANSPOSE,),
        algorithm=sparse.SpMVAlg[name],
        size=sparse.sp_mv_buffer_size,
        preprocess=sparse.sp_mv_preprocess,
        run=sparse.sp_mv,
        point=sparse.dn_vec_set_values,
        destroy=sparse.destroy_dn_vec,
    )


def _destroyed_with(plan: object, matrix: int, destroy_dense: Any, *dense: int) -> None:
    """Destroy the descriptors when ``plan`` is collected; at the process's end CUDA does."""
    finalizers = [weakref.finalize(plan, _binding().destroy_sp_mat, matrix)]
    finalizers += [weakref.finalize(plan, destroy_dense, each) for each in dense]
    for finalizer in finalizers:
        finalizer.atexit = False


def _on_current_stream() -> int:
    """Return the library's handle, set to CuPy's current stream: the harness times that one."""
    handle = _handle()
    _binding().set_stream(handle, importlib.import_module("cupy").cuda.get_current_stream().ptr)
    return handle


@cache
def _handle() -> int:
    return int(_binding().create())


@cache
def _binding() -> Any:
    return importlib.import_module("nvmath.bindings.cusparse")
