"""Reports show a file without its kernels: no part of them loads what measures."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import crossover.reports

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(crossover.reports.__path__, "crossover.reports.")
)
FORBIDDEN = ("numba", "llvmlite", "torch", "cupy", "crossover.kernels", "crossover.bench.harness",
             "crossover.bench.studies")  # fmt: skip
_CODE = """
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
forbidden = tuple(sys.argv[1].split())
print(*(m for m in sys.modules if any(f"{m}.".startswith(f"{f}.") for f in forbidden)))
"""


def loaded(*modules: str) -> list[str]:
    """Return which forbidden modules a process has that imports these."""
    done = subprocess.run(
        [sys.executable, "-c", _CODE, " ".join(FORBIDDEN), *modules],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return done.stdout.split()


def test_reports_load_neither_kernels_nor_a_worker() -> None:
    assert len(MODULES) > 15
    assert loaded(*MODULES) == []


@pytest.mark.parametrize("module", ["crossover.kernels.base", "scipy.sparse"])
def test_the_import_check_can_fail(module: str) -> None:
    assert bool(loaded(module)) == module.startswith("crossover")
