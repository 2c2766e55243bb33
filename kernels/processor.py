"""What the processor has: caches and vectors, as far as it tells without a measurement."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from kernels.base import Array

#: Bytes of a cache line, and of the widest vector.
LINE = 64


def aligned(array: Array) -> Array:
    """Return a copy of ``array`` in C order that starts at a cache line."""
    copy = aligned_empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any] | type) -> Array:
    """Return an array of ``shape`` that starts at a cache line, with nothing written to it.

    NumPy aligns to 16 bytes only, and where an array falls is a matter of luck: rows of vectors
    that straddle cache lines made a kernel 2.2 times slower (CSR, 300 x 784, 82 %, n = 64).
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(size + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + size].view(dtype).reshape(shape)


def cache_sizes() -> dict[str, int]:
    """Return the bytes of each data cache that a core sees, where the system tells."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind, level, size = (
                (index / name).read_text().strip() for name in ("type", "level", "size")
            )
        except OSError:
            continue
        matched = re.fullmatch(r"(\d+)([KMG]?)", size)
        if matched and kind != "Instruction":
            factor = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[matched[2]]
            found[f"L{level}"] = int(matched[1]) * factor
    return found


def vector_lanes() -> int:
    """Return how many fp32 numbers this processor's widest vector holds."""
    features = llvm.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx2") else 4
