"""Dense kernels on the GPU: cuBLAS through CuPy, the same lines as on NumPy."""

from __future__ import annotations

from kernels.dense import DenseKernel, MaskedCallKernel, MaskedUpdateKernel
from kernels.gpu import OnCupy


class CupyDense(OnCupy, DenseKernel):
    """The GPU baseline in full fp32: TF32 is off."""

    name = "cupy-dense"
    title = "CuPy dense"
    format = "dense"
    source = "cupy.matmul with out= (cuBLAS, TF32 off)"
    keeps_zeros = False


class CupyMaskedCall(OnCupy, MaskedCallKernel):
    """Masked dense on the GPU, masked in every call."""

    name = "cupy-masked-call"
    title = "CuPy dense, masked in every call"
    source = "cupy.multiply then cupy.matmul"


class CupyMaskedUpdate(OnCupy, MaskedUpdateKernel):
    """Masked dense on the GPU, masked in the update."""

    name = "cupy-masked-update"
    title = "CuPy dense, masked in the update"
    source = "cupy.matmul; cupy.multiply in the update only"
