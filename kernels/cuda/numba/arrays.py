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
    cuda = numba_cuda()

    @cuda.jit
    def double(numbers):  # type: ignore[no-untyped-def]
        numbers[cuda.threadIdx.x] *= 2

    numbers = cuda.to_device(np.ones(2, np.float32))
    double[1, 2](numbers)
    numbers.copy_to_host()


class OnNumbaCuda:
    """A mixin for kernels whose arrays are Numba's, on a GPU or in the simulator."""

    device: ClassVar[Device] = "cuda"
    runtime: ClassVar[Runtime] = "cuda"

    def unavailable(self) -> str | None:
        return cuda_unavailable()

    def put(self, array: Array) -> Any:
        if hasattr(array, "__cuda_array_interface__"):
            return numba_cuda().as_cuda_array(array)
        return numba_cuda().to_device(array)

    def local(self, array: Any) -> Any:
        # A CuPy view; in the simulator a NumPy copy.
        return array.copy_to_host() if simulated() else self.namespace().asarray(array)

    def fetch(self, array: Any) -> Array:
        host: Array = array.copy_to_host()
        return host

    def namespace(self) -> ModuleType:
        # CuPy shares the GPU's arrays.
        return np if simulated() else importlib.import_module("cupy")


def current_stream() -> Any:
    """Return CuPy's current stream as Numba's: the harness times, and captures graphs, on it."""
    if simulated():
        return 0
    address = importlib.import_module("cupy").cuda.get_current_stream().ptr
    return _external_stream(address) if address else 0


def launch_flat(kernel: Any, size: int, *arguments: Any) -> None:
    """Run ``kernel`` with a thread for each of ``size`` entries, if there are any."""
    if size:
        kernel[-(-size // _THREADS), _THREADS, current_stream()](*arguments)


@cache
def _external_stream(address: int) -> Any:
    return numba_cuda().external_stream(address)
