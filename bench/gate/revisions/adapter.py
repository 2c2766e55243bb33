"""Kernels of revisions before the redesign (fd4ed81 is the last), brought to today's contract.

TO BE DELETED once the comparison with fd4ed81 is committed: then :mod:`.revisions` calls
``discover`` of the exported package itself, and exports files as they are.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Iterable
from types import ModuleType, SimpleNamespace
from typing import Any

# Modules of kernels that run elsewhere than in Numba, and where.
_RUNTIMES = {
    "torch_cpu": "torch", "mkl": "mkl", "scipy_sparse": "scipy", "dense": "blas",
    "numpy_dense": "blas",
}  # fmt: skip
_LIBRARIES = "torch", "mkl", "scipy"
_IMPORT = re.compile(r"^(\s*)(from|import) kernels(?=[.\s])", re.MULTILINE)
_TEXT = re.compile(r"""(["'])kernels(?=\.|\1)""")


def rewritten(source: str, package: str) -> str:
    """Return ``source`` with imports of ``kernels`` turned to ``package``."""
    source = _IMPORT.sub(rf"\1\2 {package}", source)
    return _TEXT.sub(rf"\1{package}", source) if "import_module" in source else source


def discover(package: ModuleType, modules: Iterable[str]) -> dict[str, Any]:
    """Return the kernels of a revision's package by name, all of today's contract."""
    own = getattr(package, "discover", None)
    if own is None:
        own = importlib.import_module(f"{package.__name__}.base").discover
    return {name: _completed(kernel) for name, kernel in own(modules).items()}


def _completed(kernel: Any) -> Any:
    """Return ``kernel`` with what it does not declare derived from what it does."""
    if hasattr(kernel, "role"):
        return kernel
    runtime = _RUNTIMES.get(type(kernel).__module__.rpartition(".")[2], "numba")
    kernel.runtime = runtime
    kernel.stores_zeros = kernel.format in ("dense", "masked dense")
    sparse = "peer" if runtime in _LIBRARIES else "ours"
    kernel.role = kernel.format if kernel.stores_zeros else sparse
    kernel.look = SimpleNamespace(colour="#8a929b", marker="o", dash="-")
    prepare = kernel.prepare

    def prepare_counted(weight: Any) -> Any:
        operand = prepare(weight)
        if not hasattr(operand, "stored_entries"):
            entries = property(lambda each: math.prod(kernel.gradient_shape(each)))
            type(operand).stored_entries = entries
        return operand

    kernel.prepare = prepare_counted
    return kernel
