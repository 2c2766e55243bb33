"""What lies between products: activations turned, biases added, ReLU; compiled, in one pass each.

A batch comes as (n, features) and is turned to (features, n), in which kernels compute. The last
layer's outputs are turned back in the pass that adds their bias. Biases are given by address.
"""

from __future__ import annotations

import numba
import numpy as np

from ..base import Array
from ..cpu.simd.vectors import float_at

# Floats from which a second thread pays.
_PARALLEL = 1 << 15
_SIDE = 8
_ZERO = np.float32(0)


@numba.njit(cache=True)
def turn_part(x, out, begin, stop):  # type: ignore[no-untyped-def]
    """Write columns ``begin`` to ``stop`` of x (n, k) as rows of out (k, n)."""
    n = x.shape[0]
    whole_n, whole_k = n // _SIDE * _SIDE, begin + (stop - begin) // _SIDE * _SIDE
    for j in range(0, whole_n, _SIDE):
        for i in range(begin, whole_k, _SIDE):
            # Squares of 8 x 8: loops of a known length become shuffles.
            for p in range(_SIDE):
                for q in range(_SIDE):
                    out[i + p, j + q] = x[j + q, i + p]
        for i in range(whole_k, stop):
            for q in range(_SIDE):
                out[i, j + q] = x[j + q, i]
    for j in range(whole_n, n):
        for i in range(begin, stop):
            out[i, j] = x[j, i]


@numba.njit(cache=True)
def finish_part(y, bias, relu, begin, stop):  # type: ignore[no-untyped-def]
    """Add the bias to rows ``begin`` to ``stop`` of y (m, n) in place; then ReLU, if ``relu``."""
    n = y.shape[1]
    for i in range(begin, stop):
        b = float_at(bias, i)
        if relu:
            for j in range(n):
                y[i, j] = max(y[i, j] + b, _ZERO)
        else:
            for j in range(n):
                y[i, j] += b


@numba.njit(cache=True)
def finish_turned_part(y, bias, relu, out):  # type: ignore[no-untyped-def]
    """Write y (m, n) plus its bias, after ReLU if ``relu``, as out (n, m)."""
    m, n = y.shape
    for j in range(n):
        for i in range(m):
            value = y[i, j] + float_at(bias, i)
            out[j, i] = max(value, _ZERO) if relu else value


@numba.njit(cache=True, parallel=True)
def _turn_on_threads(x, out, parts):  # type: ignore[no-untyped-def]
    k = np.int64(x.shape[1])
    each = ((k + parts - 1) // parts + _SIDE - 1) // _SIDE * _SIDE
    for part in numba.prange(parts):
        turn_part(x, out, min(k, np.int64(part) * each), min(k, (np.int64(part) + 1) * each))


@numba.njit(cache=True, parallel=True)
def _finish_on_threads(y, bias, relu, parts):  # type: ignore[no-untyped-def]
    m = np.int64(y.shape[0])
    each = (m + parts - 1) // parts
    for part in numba.prange(parts):
        first = np.int64(part) * each
        finish_part(y, bias, relu, min(m, first), min(m, first + each))


def turn(x: Array, out: Array, threads: int) -> None:
    """Write ``x`` (n, k) as ``out`` (k, n), both float32 in C order."""
    if x.size < _PARALLEL or threads == 1:
        turn_part(x, out, 0, x.shape[1])
    else:
        _turn_on_threads(x, out, threads)


def finish(y: Array, bias: int, relu: bool, threads: int) -> None:
    """Add the bias (m,) at an address to ``y`` (m, n) in place; then ReLU, if ``relu``."""
    if y.size < _PARALLEL or threads == 1:
        finish_part(y, bias, relu, 0, y.shape[0])
    else:
        _finish_on_threads(y, bias, relu, threads)
