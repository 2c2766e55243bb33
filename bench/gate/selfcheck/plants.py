"""Faults that a self-check plants into exported kernels: the gate must find them, or say why.

A kernel is made slower by doing a share of its calls twice: the work is its own, and the share is
exact whatever the machine does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossover.bench.gate.revisions.sides import Revisions, Side

#: The kernel that is changed, and the cell that shows it.
KERNEL = "numba-csr"
CELL = f"{KERNEL} fc1 forward batch 64"
_CLASS = "NumbaCsr"

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

_CRASHING = """

def _abort(self, operand, x, out):
    import os
    os.abort()


NumbaCsr.forward = _abort
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


def nothing(revisions: Revisions) -> None:
    """Plant nothing: code against itself."""


def five_percent(revisions: Revisions) -> None:
    """Make every twentieth call of a kernel two."""
    slower(revisions, 0.05)


def two_percent(revisions: Revisions) -> None:
    """Make every fiftieth call of a kernel two."""
    slower(revisions, 0.02)


def slower(revisions: Revisions, share: float) -> None:
    """Make a ``share`` of the calls of head's kernel two."""
    _append(revisions, "head", _SLOWER.format(share=share))


def wrong_result(revisions: Revisions) -> None:
    """Make one entry of the results of head's kernel wrong."""
    _append(revisions, "head", _WRONG)


def crash(revisions: Revisions) -> None:
    """Let head's kernel end its process."""
    _append(revisions, "head", _CRASHING)


def wrong_beside_unimportable(revisions: Revisions) -> None:
    """Make head wrong where base cannot be loaded."""
    wrong_result(revisions)
    unimportable(revisions)


def unimportable(revisions: Revisions) -> None:
    """Let a module of base need what is nowhere installed."""
    _append(revisions, "base", "\nimport planted_and_missing\n")


@contextmanager
def load() -> Iterator[None]:
    """Keep one core busy, now and then, for as long as the context lasts."""
    process = subprocess.Popen([sys.executable, "-c", _LOAD])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _append(revisions: Revisions, side: Side, code: str) -> None:
    (exported,) = [each for each in revisions.exported if each.side == side]
    path = file_of(exported.folder)
    path.write_text(path.read_text() + code)


def file_of(folder: Path) -> Path:
    """Return the file in ``folder`` that holds the kernel.

    Raises:
        ValueError: if no file does.
    """
    for path in folder.rglob("*.py"):
        if f"class {_CLASS}(" in path.read_text():
            return path
    raise ValueError(f"no class {_CLASS} in {folder}: the plants are for the kernel {KERNEL}")
