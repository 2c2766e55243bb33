"""Matrix Market files, by a reader of our own: SciPy's crashes on lines that are too short.

A banner, comments, a line of sizes, then numbers: an entry a line (``coordinate``), or all entries
column after column (``array``).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from crossover.bench.workloads.readers.stored import Floats

_MOST_LINE = 1 << 16
# What a number takes at least: a digit and what parts it from the next.
_NUMBER_BYTES = 2


@dataclass(frozen=True)
class Header:
    """What a file says of itself: shape (m, k), entries, numbers an entry, and symmetry."""

    shape: tuple[int, int]
    entries: int
    numbers: int
    dense: bool
    symmetry: str
    #: Where the numbers begin, in bytes.
    begin: int


def header(path: Path) -> Header:
    """Return the header of a file.

    Raises:
        ValueError: if it is none that is known, or says more than the file can hold.
    """
    with path.open("rb") as file:
        banner = _line(file).lower().split()
        if len(banner) != 5 or banner[:2] != ["%%matrixmarket", "matrix"]:
            raise ValueError("its first line is no banner of a matrix")
        layout, field, symmetry = banner[2:]
        dense = layout == "array"
        known = field in ("real", "integer", "double") or (field == "pattern" and not dense)
        same = symmetry == "general" or (not dense and symmetry in ("symmetric", "skew-symmetric"))
        if layout not in ("array", "coordinate") or not known or not same:
            raise ValueError(f"{layout} {field} {symmetry} is not read: give a real general matrix")
        sizes = _line(file)
        while not sizes.strip() or sizes.startswith("%"):
            sizes = _line(file)
        m, k, *count = map(int, sizes.split())
        begin, size = file.tell(), path.stat().st_size
    if len(count) != (0 if dense else 1) or min(m, k, *count) < 0:
        raise ValueError(f"its sizes are {sizes.strip()!r}")
    entries = m * k if dense else count[0]
    numbers = 1 if dense else 2 if field == "pattern" else 3
    if entries * numbers * _NUMBER_BYTES > size - begin + 1:
        raise ValueError(f"{entries:,} entries in {size:,} bytes")
    return Header((m, k), entries, numbers, dense, symmetry, begin)


def read(path: Path) -> Floats:
    """Return the matrix of a file, dense.

    Raises:
        ValueError: if it holds something else than its header says.
    """
    it = header(path)
    with path.open("rb") as file:
        file.seek(it.begin)
        numbers = _numbers(file.read())
    if numbers.size != it.entries * it.numbers:
        raise ValueError(f"it holds {numbers.size} numbers, not {it.entries * it.numbers}")
    if it.dense:
        return np.ascontiguousarray(numbers.reshape(it.shape[::-1]).T, np.float32)
    lines = numbers.reshape(it.entries, it.numbers)
    rows, columns = lines[:, 0].astype(np.int64) - 1, lines[:, 1].astype(np.int64) - 1
    values = lines[:, 2] if it.numbers == 3 else np.ones(it.entries)
    for places, side in ((rows, it.shape[0]), (columns, it.shape[1])):
        if places.size and not 0 <= places.min() <= places.max() < side:
            raise ValueError(f"its indices are not all in 1 to {side}")
    dense = np.zeros(it.shape, np.float64)
    np.add.at(dense, (rows, columns), values)
    if it.symmetry != "general":
        if it.shape[0] != it.shape[1]:
            raise ValueError(f"{it.symmetry}, and its shape is {it.shape}")
        mirrored = dense.T if it.symmetry == "symmetric" else -dense.T
        dense = dense + mirrored - np.diag(np.diag(mirrored))
    with np.errstate(over="ignore"):
        return dense.astype(np.float32)


def _line(file: IO[bytes]) -> str:
    line = file.readline(_MOST_LINE)
    if not line.endswith(b"\n"):
        raise ValueError("it ends within its header")
    return line.decode("latin-1")


def _numbers(text: bytes) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what is no number is told by a warning alone
        try:
            return np.fromstring(text, np.float64, sep=" ")
        except DeprecationWarning:
            raise ValueError("it holds something else than numbers") from None
