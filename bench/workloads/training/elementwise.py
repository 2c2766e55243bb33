"""What a network computes between its products, entry by entry, in one pass over each array.

On the CPU compiled and on all threads, for NumPy's one pass per operation, on one, took as long as
the sparse products beside it. Arrays of another library (``xp``) go through its own operations.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
# Entries from which threads are worth waking.
_THREADED = 1 << 14


def add_bias(y: Any, bias: Any, rectify: bool, xp: Any) -> None:
    """Add ``bias`` (m,) to the columns of ``y`` (m, n), in place; then its ReLU, if asked for."""
    if compiled := _compiled(_add_bias, xp, y):
        compiled(y, bias, rectify)
        return
    y += bias[:, None]
    if rectify:
        xp.maximum(y, 0, out=y)


def pass_through_relu(gradient: Any, after: Any, xp: Any) -> None:
    """Set ``gradient`` to 0 where the ReLU's result ``after`` is, in place; of equal shapes."""
    if compiled := _compiled(_pass_through_relu, xp, gradient, after):
        compiled(gradient.reshape(-1), after.reshape(-1))
    else:
        xp.multiply(gradient, after > 0, out=gradient)


def sum_columns(dy: Any, xp: Any) -> Any:
    """Return the sums (m,) over the columns of ``dy`` (m, n): the gradient of a bias."""
    if compiled := _compiled(_sum_columns, xp, dy):
        sums = np.empty(dy.shape[0], dy.dtype)
        compiled(dy, sums)
        return sums
    return dy.sum(axis=1)


def adam_direction(gradient: Any, moments: Any, steps: int, xp: Any) -> None:
    """Replace ``gradient`` by Adam's direction at its ``steps``-th step, in place.

    ``moments`` are the first and the second, of the gradient's shape, which move along.

    Source: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization".
    """
    first, second = moments
    unbias, unbias_root = 1 / (1 - BETA1**steps), 1 / (1 - BETA2**steps) ** 0.5
    if compiled := _compiled(_adam_direction, xp, gradient, first, second):
        flat = (each.reshape(-1) for each in (gradient, first, second))
        compiled(*flat, np.float32(unbias), np.float32(unbias_root))
        return
    first += (1 - BETA1) * (gradient - first)
    second += (1 - BETA2) * (gradient * gradient - second)
    scale = xp.sqrt(second) * np.float32(unbias_root) + np.float32(EPSILON)
    gradient[...] = first * np.float32(unbias) / scale


def _compiled(function: Any, xp: Any, *arrays: Any) -> Any:
    """Return the compiled form of a function for such arrays, or None where there is none."""
    if xp is not np or not all(array.flags.c_contiguous for array in arrays):
        return None
    return _COMPILED[function][arrays[0].size >= _THREADED]


def _add_bias(y, bias, rectify):  # type: ignore[no-untyped-def]
    for i in numba.prange(y.shape[0]):
        for j in range(y.shape[1]):
            value = y[i, j] + bias[i]
            # Not ``max``: NaN stays NaN.
            y[i, j] = np.float32(0) if rectify and value < 0 else value


def _pass_through_relu(gradient, after):  # type: ignore[no-untyped-def]
    for i in numba.prange(gradient.size):
        gradient[i] = gradient[i] if after[i] > 0 else np.float32(0)


def _sum_columns(dy, sums):  # type: ignore[no-untyped-def]
    for i in numba.prange(dy.shape[0]):
        total = np.float32(0)
        for j in range(dy.shape[1]):
            total += dy[i, j]
        sums[i] = total


def _adam_direction(gradient, first, second, unbias, unbias_root):  # type: ignore[no-untyped-def]
    beta1, beta2, epsilon = np.float32(BETA1), np.float32(BETA2), np.float32(EPSILON)
    one = np.float32(1)
    for i in numba.prange(gradient.size):
        g = gradient[i]
        m = first[i] = first[i] * beta1 + (one - beta1) * g
        v = second[i] = second[i] * beta2 + (one - beta2) * g * g
        gradient[i] = m * unbias / (np.sqrt(v) * unbias_root + epsilon)


# Sums may be taken in any order, so that they fill vectors; NaN and Inf stay what they are.
_FASTMATH = {"reassoc", "nsz", "contract"}
_FUNCTIONS = _add_bias, _pass_through_relu, _sum_columns, _adam_direction
# Of each: on one thread, on all.
_COMPILED = {
    each: [numba.njit(cache=True, parallel=p, fastmath=_FASTMATH)(each) for p in (False, True)]
    for each in _FUNCTIONS
}
