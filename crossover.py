"""The package whose parts are the folders beside this file: ``crossover.kernels`` and so on.

Works in a checkout as it is; in a wheel this file is the package's ``__init__``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossover.kernels.serving import Network

__path__ = [str(Path(__file__).resolve().parent)]


def load(path: str | Path) -> Network:
    """Return the network of a file that ``crossover plan`` wrote, ready to be called.

    Raises:
        ValueError: if it is none, or names a kernel that cannot run here; in one line.
    """
    from crossover.kernels import serving

    return serving.load(path)
