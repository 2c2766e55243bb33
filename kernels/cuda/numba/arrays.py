"""Numba's arrays on a GPU, or in its simulator, and whether either is there.

Under ``NUMBA_ENABLE_CUDASIM=1`` kernels run in Numba's simulator, in Python, which checks their
results and nothing else.
"""

from __future__ import annotations

import importlib
import os
from functools import cache
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from ...base import Array, Device, Runtime
from ...libraries import missing
from ..device import cupy_unavailable, failing

_THREADS = 256  # of a block, where each has an entry


def simulated() -> bool:
    """Return whether Numba runs CUDA kernels in its simulator."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") == "1"


def numba_cuda() -> Any:
    """Return ``numba.cuda``: imported late, for a machine where that fails still lists kernels."""
    return importlib.import_module("numba.cuda")


@cache
def cuda_unavailable() -> str | None:
    """Return why Numba CUDA cannot compute here, as a sentence, or None if it can."""
    if reason := missing("numba.cuda", "Numba CUDA", "install the extra cuda12 or cuda13"):
        return reason
    if simulated():
        return None
    return cupy_unavailable() or failing("Numba CUDA", _tiny_product)


def _tiny_product() -> None:
    cuda, cupy = numba_cuda(), importlib.import_module("cupy")

    @cuda.jit
    def double(numbers):  # type: ignore[no-untyped-def]
        numbers[cuda.threadIdx.x] *= 2

    numbers = cupy.ones(2, np.float32)
    launch(double, (1,), (2,), numbers)
    if cupy.asnumpy(numbers).tolist() != [2, 2]:
        raise RuntimeError("a kernel that doubles did not")


class OnNumbaCuda:
    """A mixin for kernels that Numba compiles: their arrays are CuPy's, or the simulator's."""

    device: ClassVar[Device] = "cuda"
    runtime: ClassVar[Runtime] = "cuda"

    def unavailable(self) -> str | None:
        return cuda_unavailable()

    def put(self, array: Array) -> Any:
        return numba_cuda().to_device(array) if simulated() else self.namespace().asarray(array)

    def local(self, array: Any) -> Any:
        # In the simulator a NumPy copy.
        return array.copy_to_host() if simulated() else array

    def fetch(self, array: Any) -> Array:
        host: Array = array.copy_to_host() if simulated() else self.namespace().asnumpy(array)
        return host

    def namespace(self) -> ModuleType:
        return np if simulated() else importlib.import_module("cupy")


def launch(kernel: Any, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any) -> None:
    """Run a kernel of Numba's on CuPy arrays in C order and scalars, on CuPy's current stream.

    Numba compiles it and CuPy launches it: to wrap its arguments takes Numba's own launch longer
    than most kernels run.

    Raises:
        ValueError: if an array is not in C order.
    """
    if simulated():
        kernel[grid, block](*arguments)
        return
    parameters: list[Any] = []
    for each in arguments:
        parameters.extend((each,) if _is_scalar(each) else _as_parameters(each))
    _function(kernel, tuple(map(_kind, arguments)))(grid, block, parameters)


def launch_flat(kernel: Any, size: int, *arguments: Any) -> None:
    """Run ``kernel`` with a thread for each of ``size`` entries, if there are any."""
    if size:
        launch(kernel, (-(-size // _THREADS),), (_THREADS,), *arguments)


def _as_parameters(array: Any) -> tuple[Any, ...]:
    """Return what a kernel of Numba's takes for an array: its fields, one after the other."""
    if not array.flags.c_contiguous:
        raise ValueError(f"array of shape {array.shape} with strides {array.strides}: not C order")
    nothing = 0  # neither Numba's record of the memory nor the object that owns it
    sizes = array.size, array.itemsize
    return nothing, nothing, *sizes, array.data.ptr, *array.shape, *array.strides


def _kind(argument: Any) -> tuple[str, int]:
    """Return the dtype's letter and the dimensions of an argument, -1 for a scalar."""
    if isinstance(argument, int):
        return "q", -1
    return argument.dtype.char, -1 if _is_scalar(argument) else argument.ndim


def _is_scalar(argument: Any) -> bool:
    return isinstance(argument, int | np.generic)


@cache
def _function(kernel: Any, kinds: tuple[tuple[str, int], ...]) -> Any:
    """Return ``kernel`` compiled for arguments of ``kinds``, as CuPy's function."""
    from numba import from_dtype, types
    from numba.core import event

    signature = tuple(
        from_dtype(np.dtype(letter)) if dimensions < 0
        else types.Array(from_dtype(np.dtype(letter)), dimensions, "C")
        for letter, dimensions in kinds
    )  # fmt: skip
    with event.trigger_event("numba:compile"):  # Numba tells of what it compiles for a CPU only
        compiled = kernel.compile(signature)
        binary = compiled._codelibrary.get_cubin()
    module = importlib.import_module("cupy").cuda.function.Module()
    module.load(bytes(getattr(binary, "code", binary)))
    return module.get_function(compiled.entry_name)
