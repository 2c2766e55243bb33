"""The package whose parts are the folders beside this file: ``crossover.kernels`` and so on.

Works in a checkout as it is; in a wheel this file is the package's ``__init__``.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parent)]
