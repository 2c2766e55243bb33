"""Patterns of pruned layers from files: ``.smtx``, as the Deep Learning Matrix Collection has them.

Line 1 is ``rows, columns, nonzeros``, line 2 the row pointers, line 3 the column indices; there are
no values. A file is text, and what it says of its sizes is held against what is there before
anything of that size is allocated.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossover.bench.errors import InputError
from crossover.bench.machine import memory
from crossover.kernels.base import Weight


def patterns(folder: Path) -> list[Path]:
    """Return the ``.smtx`` files under ``folder``, sorted.

    Raises:
        InputError: if there is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give the folder of a matrix collection")
    found = sorted(folder.rglob("*.smtx"))
    if not found:
        raise InputError(f"no .smtx file under {folder}: give the folder of a matrix collection")
    return found


def weight(path: Path, rng: np.random.Generator) -> Weight:
    """Return the weight (m, k) of a file's pattern; its values are drawn from a normal.

    Raises:
        InputError: if the file is not a consistent ``.smtx``.
    """
    try:
        lines = path.read_text("ascii").splitlines()
        sizes = [int(part) for part in lines[0].replace(",", " ").split()]
        pointers, columns = (np.array(lines[i].split(), np.int64) for i in (1, 2))
        m, k, nnz = sizes
    except (OSError, ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{path} is no .smtx file ({error}): three lines of integers") from None
    if problem := _problem(m, k, nnz, pointers, columns):
        raise InputError(f"{path} is no consistent .smtx file: {problem}")
    needed, free = 5 * m * k, memory.free_bytes()
    if needed > free:
        raise InputError(f"{path}: {memory.too_little(needed, free)}")
    pattern = np.zeros((m, k), bool)
    pattern[np.repeat(np.arange(m), np.diff(pointers)), columns] = True
    values = np.zeros((m, k), np.float32)
    values[pattern] = rng.standard_normal(int(pattern.sum()), np.float32)
    return Weight(values, pattern)


def _problem(
    m: int, k: int, nnz: int, pointers: NDArray[np.int64], columns: NDArray[np.int64]
) -> str | None:
    """Return what contradicts itself, or None."""
    if m < 1 or k < 1 or columns.size != nnz or pointers.size != m + 1:
        return (
            f"{m} rows and {nnz} nonzeros, with {pointers.size} pointers and {columns.size} indices"
        )
    if pointers[0] != 0 or pointers[-1] != nnz or (np.diff(pointers) < 0).any():
        return f"row pointers do not rise from 0 to {nnz}"
    if nnz and not 0 <= columns.min() <= columns.max() < k:
        return f"column indices are not all in 0 to {k - 1}"
    rows = np.repeat(np.arange(m), np.diff(pointers))
    if nnz and np.unique(rows * (columns.max() + 1) + columns).size < nnz:
        return "a column index is twice in a row"
    return None


def digest(path: Path) -> str:
    """Return the hash of a file's content."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror or error})") from error
