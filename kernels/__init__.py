"""Kernels that multiply a pruned weight by a batch, all on one contract.

See :mod:`.base` for the contract and CONTRIBUTING.md for how a kernel is added. To use one::

    from . import Weight

    from . import discover
    kernel = discover()["numba-tiled"]
    y = kernel.forward(kernel.prepare(Weight.from_dense(w)), x, np.empty((m, n), np.float32))
"""

import hashlib
import os
import sys
import tempfile
from pathlib import Path


def _keep_compiled_code() -> None:
    """Let Numba keep compiled code in a folder per version of this package.

    Numba compiles anew when the file of a function changes, but not when one that it calls into
    does: after an update a kernel would run old vector code. Where no folder can be written Numba
    is left to its own; ``NUMBA_CACHE_DIR`` goes before.
    """
    if os.environ.get("NUMBA_CACHE_DIR") or "numba" in sys.modules:
        return
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    folder = Path(__file__).parent / "__pycache__" / f"numba-{digest.hexdigest()[:12]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return
    os.environ["NUMBA_CACHE_DIR"] = str(folder)


_keep_compiled_code()

# Only now: what a kernel imports may bring Numba.
from .base import Kernel, Problem, Weight  # noqa: E402
from .discovery import discover  # noqa: E402

__all__ = ["Kernel", "Problem", "Weight", "discover"]
