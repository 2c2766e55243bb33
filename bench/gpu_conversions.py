"""Conversions that a user pays once, on the GPU: to and from the host, to and from CSR.

Each is timed apart from every kernel, and each round trip must give back every bit.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_SIDE, _SPARSITY = 4096, 0.9
_REPEATS = 5


@dataclass(frozen=True)
class Conversion:
    """One direction: its best seconds, the bytes of the dense matrix, and whether it is exact."""

    name: str
    seconds: float
    nbytes: int
    exact: bool


def measure(side: int = _SIDE) -> list[Conversion]:
    """Return the conversions of a matrix (side, side) that is 90 % sparse, in fp32."""
    cupy = importlib.import_module("cupy")
    sparse = importlib.import_module("cupyx.scipy.sparse")
    rng = np.random.default_rng()
    host = rng.standard_normal((side, side), np.float32)
    host[rng.random(host.shape, np.float32) < _SPARSITY] = 0
    there = cupy.asarray(host)
    csr = sparse.csr_matrix(there)

    def same(array: Any) -> bool:
        return bool(np.asarray(cupy.asnumpy(array)).tobytes() == host.tobytes())

    return [
        _timed("host to GPU", lambda: cupy.asarray(host), host.nbytes, same),
        _timed("GPU to host", lambda: cupy.asnumpy(there), host.nbytes, same),
        _timed("dense to CSR on the GPU", lambda: sparse.csr_matrix(there), host.nbytes,
               lambda found: same(found.toarray())),
        _timed("CSR to dense on the GPU", lambda: csr.toarray(), host.nbytes, same),
    ]  # fmt: skip


def _timed(
    name: str, convert: Callable[[], Any], nbytes: int, same: Callable[[Any], bool]
) -> Conversion:
    stream = importlib.import_module("cupy").cuda.get_current_stream()
    exact, best = same(convert()), float("inf")
    for _ in range(_REPEATS):
        stream.synchronize()
        begin = time.perf_counter()
        convert()
        stream.synchronize()
        best = min(best, time.perf_counter() - begin)
    return Conversion(name, best, nbytes, exact)
