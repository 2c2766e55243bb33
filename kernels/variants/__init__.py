"""Kernels that fix what others choose by themselves. They are found by whoever asks alone.

``--kernel-module`` takes a module of these.
"""

from __future__ import annotations

from ..base import Kernel
from ..discovery import discover


def module_of(kernel: Kernel) -> str:
    """Return the module of a kernel's variants, or an empty name."""
    return f"{__name__}.{kernel.variants}" if kernel.variants else ""


def of(kernel: Kernel) -> dict[str, Kernel]:
    """Return the variants of a kernel by name; none where it has none."""
    module = module_of(kernel)
    if not module:
        return {}
    return {n: k for n, k in discover([module]).items() if type(k).__module__ == module}
