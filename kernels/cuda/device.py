"""What the kernels on an NVIDIA GPU share: whether there is one, and CuPy's arrays."""

from __future__ import annotations

import importlib
import os
from functools import cache
from types import ModuleType
from typing import Any

from ..base import Array, Device


@cache
def cupy_unavailable() -> str | None:
    """Return why CuPy cannot run here, as a sentence, or None if it can."""
    # CuPy would round fp32 operands to TF32 if the user's environment said so: a kernel that
    # declares fp32 must not.
    os.environ["CUPY_TF32"] = "0"
    try:
        cupy = importlib.import_module("cupy")
    except Exception as error:  # an import can fail in the loader of any of its libraries
        return (
            f"CuPy cannot be imported ({_first_line(error)}): install the extra cuda12 or cuda13."
        )
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        return f"CuPy finds no NVIDIA GPU ({_first_line(error)})."
    return None if count else "CuPy finds no NVIDIA GPU."


def older_than(capability: int, what: str) -> str | None:
    """Return that the GPU is older than compute capability ``capability`` (80 is 8.0), or None."""
    found = int(importlib.import_module("cupy").cuda.Device().compute_capability)
    if found >= capability:
        return None
    needed, own = f"{capability // 10}.{capability % 10}", f"{found // 10}.{found % 10}"
    return f"{what} needs compute capability {needed}; this GPU has {own}."


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")


class OnCupy:
    """A mixin for kernels whose arrays are CuPy's."""

    device: Device = "cuda"

    def unavailable(self) -> str | None:
        """Return why there is no GPU to run on, or None."""
        return cupy_unavailable()

    def namespace(self) -> ModuleType:
        """Return CuPy."""
        return importlib.import_module("cupy")

    def put(self, array: Array) -> Any:
        """Return ``array`` on the GPU, without a copy if it is there."""
        return self.namespace().asarray(array)

    def fetch(self, array: Any) -> Array:
        """Return ``array`` on the host."""
        host: Array = self.namespace().asnumpy(array)
        return host
