"""What the kernels on an NVIDIA GPU share: whether there is one, and CuPy's arrays."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from ..base import Array, Device, Runtime
from ..libraries import first_line, missing

_REMEDY = "install the extra cuda12 or cuda13"


@cache
def cupy_unavailable() -> str | None:
    """Return why CuPy cannot compute here, as a sentence, or None if it can."""
    # CuPy would round fp32 operands to TF32 if the user's environment said so: a kernel that
    # declares fp32 must not.
    os.environ["CUPY_TF32"] = "0"
    if reason := missing("cupy", "CuPy", _REMEDY):
        return reason
    cupy = importlib.import_module("cupy")
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        return f"CuPy finds no NVIDIA GPU ({first_line(error)})."
    if not count:
        return "CuPy finds no NVIDIA GPU."
    return failing("CuPy", lambda: _tiny_product(cupy))


def _tiny_product(cupy: Any) -> Any:
    """Compute by what kernels need: a product by cuBLAS, a sum by a kernel of NVRTC's."""
    ones = cupy.ones((2, 2), np.float32)
    return cupy.asnumpy(cupy.matmul(ones, ones) + ones)


def failing(library: str, compute: Callable[[], object]) -> str | None:
    """Return why ``compute`` fails, as a sentence, or None.

    A machine may have a driver, and lack the libraries that compute.
    """
    try:
        compute()
    except Exception as error:
        return f"{library} cannot compute here ({first_line(error)}): {_REMEDY}."
    return None


def older_than(capability: int, what: str) -> str | None:
    """Return that the GPU is older than compute capability ``capability`` (80 is 8.0), or None."""
    found = int(importlib.import_module("cupy").cuda.Device().compute_capability)
    if found >= capability:
        return None
    needed, own = f"{capability // 10}.{capability % 10}", f"{found // 10}.{found % 10}"
    return f"{what} needs compute capability {needed}; this GPU has {own}."


class OnCupy:
    """A mixin for kernels whose arrays are CuPy's."""

    device: ClassVar[Device] = "cuda"
    runtime: ClassVar[Runtime] = "cuda"

    def unavailable(self) -> str | None:
        return cupy_unavailable()

    def namespace(self) -> ModuleType:
        return importlib.import_module("cupy")

    def put(self, array: Array) -> Any:
        return self.namespace().asarray(array)

    def fetch(self, array: Any) -> Array:
        host: Array = self.namespace().asnumpy(array)
        return host
