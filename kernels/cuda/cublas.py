"""cuBLAS's ``gemmEx`` on row-major arrays of CuPy: the arithmetic is chosen in each call.

CuPy's own switches (``CUPY_TF32``, ``set_compute_type``) hold for the whole process, in which
kernels of different arithmetic take turns; and its fp16 product rounds the result to fp16, where
cuBLAS can leave it in fp32.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

# cudaDataType_t.
_DATA_TYPES = {"float32": 0, "float16": 2}
# The scalars of every call, on the host.
_ONE, _ZERO = np.ones(1, np.float32), np.zeros(1, np.float32)


def multiply(left: Any, right: Any, out: Any, compute: str) -> Any:
    """Return ``left @ right`` in ``out`` (m, n), C order, fp32.

    ``left`` (m, k) and ``right`` (k, n) have one dtype, and are contiguous in C or Fortran order:
    a transposed view costs nothing. ``compute`` is the ending of one of cuBLAS's
    ``CUBLAS_COMPUTE_…``, ``32F_FAST_TF32`` for example.
    """
    # The handle first: CuPy finds and loads the library for it.
    handle = importlib.import_module("cupy.cuda.device").get_cublas_handle()
    cublas = importlib.import_module("cupy_backends.cuda.libs.cublas")
    (m, n), k = out.shape, left.shape[1]
    # cuBLAS reads columns: what is row-major to us is transposed to it, and so are the factors.
    transpose_right, right_stride = layout(right)
    transpose_left, left_stride = layout(left)
    kind = _DATA_TYPES[left.dtype.name]
    cublas.gemmEx(
        handle,
        transpose_right,
        transpose_left,
        n,
        m,
        k,
        _ONE.ctypes.data,
        right.data.ptr,
        kind,
        right_stride,
        left.data.ptr,
        kind,
        left_stride,
        _ZERO.ctypes.data,
        out.data.ptr,
        _DATA_TYPES["float32"],
        n,
        getattr(cublas, f"CUBLAS_COMPUTE_{compute}"),
        cublas.CUBLAS_GEMM_DEFAULT,
    )
    return out


def layout(matrix: Any) -> tuple[int, int]:
    """Return (whether cuBLAS must transpose the row-major ``matrix``, its leading dimension).

    Raises:
        ValueError: if it is contiguous in neither order.
    """
    if matrix.flags.c_contiguous:
        return 0, int(matrix.shape[1])
    if matrix.flags.f_contiguous:
        return 1, int(matrix.shape[0])
    raise ValueError(f"matrix with strides {matrix.strides}: must be contiguous in one order")
