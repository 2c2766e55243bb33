"""Faults that a self-check plants into a copy of the source: the gate must find them, or say why.

A kernel is made slower by doing a share of its calls twice: the work is its own, and the share is
exact whatever the machine does.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: The kernel that is changed, in the file that holds it; and the cell that shows it.
KERNEL = "numba-csr"
CELL = f"{KERNEL} fc1 forward batch 64"
_FILE = Path("kernels") / "cpu" / "numba_csr.py"

_SLOWER = """

_planted_forward = NumbaCsr.forward
_planted_owed = [0.0]


def _forward_and_again(self, operand, x, out):
    _planted_owed[0] += {share}
    if _planted_owed[0] >= 1:
        _planted_owed[0] -= 1
        _planted_forward(self, operand, x, out)
    return _planted_forward(self, operand, x, out)


NumbaCsr.forward = _forward_and_again
"""

_WRONG = """

_planted_forward = NumbaCsr.forward


def _forward_but_for_one(self, operand, x, out):
    result = _planted_forward(self, operand, x, out)
    result[0, 0] += 1
    return result


NumbaCsr.forward = _forward_but_for_one
"""

_LOAD = """
import os, random, time
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
while True:
    end = time.monotonic() + random.uniform(0.5, 3)
    while time.monotonic() < end:
        pass
    time.sleep(random.uniform(0.5, 3))
"""


def nothing(base: Path, head: Path) -> None:
    """Plant nothing: code against itself."""


def five_percent(base: Path, head: Path) -> None:
    """Make every twentieth call of a kernel two."""
    _append(head, _SLOWER.format(share=0.05))


def two_percent(base: Path, head: Path) -> None:
    """Make every fiftieth call of a kernel two."""
    _append(head, _SLOWER.format(share=0.02))


def wrong_result(base: Path, head: Path) -> None:
    """Make one entry of a kernel's results wrong."""
    _append(head, _WRONG)


def no_benchmark(base: Path, head: Path) -> None:
    """Take the gate's benchmark away from base."""
    shutil.rmtree(base / "bench" / "gate")


def older_protocol(base: Path, head: Path) -> None:
    """Let base speak an older protocol."""
    path = base / "bench" / "gate" / "protocol.py"
    path.write_text(f"{path.read_text()}\nPROTOCOL = 0\n")


def uninstallable(base: Path, head: Path) -> None:
    """Let base need what no index has."""
    path = base / "pyproject.toml"
    planted = 'dependencies = ["planted @ file:///nowhere/planted.whl",'
    path.write_text(path.read_text().replace("dependencies = [", planted, 1))


@contextmanager
def load() -> Iterator[None]:
    """Keep one core busy, now and then, for as long as the context lasts."""
    process = subprocess.Popen([sys.executable, "-c", _LOAD])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _append(tree: Path, code: str) -> None:
    path = tree / _FILE
    path.write_text(path.read_text() + code)
