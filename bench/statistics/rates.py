"""Rates, bounds and counts of what was measured; all times are seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

# Share of W that blocks may hold before nothing is gained by leaving the others out.
_FILLED = 0.95
# Of its bound, what a dense kernel has to reach for a win over it to say something of sparsity.
_LEAST_FRACTION = 0.5


class Limits(Protocol):
    """What a machine was measured to do at best, on one device with a number of threads."""

    def bound_s(self, flops: float, nbytes: float) -> float:
        """Return the least seconds for ``flops`` and compulsory ``nbytes``: the roofline."""

    def call_bound_s(self, flops: float, nbytes: float, cold: bool = False) -> float:
        """Return the same of a call, with what an empty one costs; ``cold``: from memory."""


def gflops(flops: float, seconds: float) -> float:
    """Return a rate in GFLOP/s."""
    return flops / seconds / 1e9


def roofline_fraction(limits: Limits | None, flops: float, nbytes: float, seconds: float) -> float:
    """Return bound / time: what share of the measured limits a kernel reaches.

    The bound is the larger of the work over the FMA rate, and of the compulsory bytes (the operand
    once, the dense side and the result once) over the bandwidth. NaN without limits.
    """
    return limits.bound_s(flops, nbytes) / seconds if limits else float("nan")


def call_fraction(
    limits: Limits | None, flops: float, nbytes: float, seconds: float, cold: bool = False
) -> float:
    """Return what share of its bound a call reaches, an empty call being part of the bound.

    Unlike :func:`roofline_fraction` it can come near 1 however small the work is. NaN without
    limits.
    """
    return limits.call_bound_s(flops, nbytes, cold) / seconds if limits else float("nan")


def is_weak(fraction: float) -> bool:
    """Return whether a dense kernel that reaches this :func:`call_fraction` is no fair baseline."""
    return fraction < _LEAST_FRACTION


def break_even_calls(prepare_s: float, dense_s: float, sparse_s: float) -> float:
    """Return how many calls repay the one-off cost of ``prepare``.

    ``dense_s`` and ``sparse_s`` are medians for the same problem on one device. The answer is
    ``inf`` where the sparse kernel is not faster: it never pays back.

    Raises:
        ValueError: if a time is negative or not finite.
    """
    times = {"prepare_s": prepare_s, "dense_s": dense_s, "sparse_s": sparse_s}
    for name, value in times.items():
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} {value} is not a time: must be finite and at least 0")
    return prepare_s / (dense_s - sparse_s) if sparse_s < dense_s else float("inf")


def line_through(low: tuple[float, float], high: tuple[float, float]) -> Callable[[float], float]:
    """Return the straight line through two points, as a function."""
    (x, y), slope = low, (high[1] - low[1]) / (high[0] - low[0])
    return lambda at: y + (at - x) * slope


def memory_crossover(bytes_at: Callable[[float], float], dense_bytes: float) -> float | None:
    """Return the sparsity from which an operand is smaller than the dense one, or None.

    ``bytes_at`` gives its bytes by sparsity. Those of a sparse format grow linearly with its
    density; for BSR, whose blocks fill up, this is where the line through the extremes crosses.
    """
    at_0, at_1 = bytes_at(0.0), bytes_at(1.0)
    if at_0 == at_1:
        return None
    place = (at_0 - dense_bytes) / (at_0 - at_1)
    return place if 0 <= place <= 1 else None


def crossover_at_ceilings(
    limits: Limits,
    executed_flops: float,
    side_bytes: float,
    dense_bytes: float,
    bytes_at: Callable[[float], float],
) -> float | None:
    """Return the crossover of two kernels at the ceilings, one dense and one sparse.

    Both take the time of their roofline: multiply-adds of what is stored, and compulsory bytes,
    which are ``bytes_at`` a sparsity of the sparse operand. None where the sparse one would never
    be faster.
    """
    dense = limits.bound_s(executed_flops, dense_bytes + side_bytes)
    for sparsity in np.linspace(0.0, 1.0, 1001):
        nbytes = bytes_at(float(sparsity)) + side_bytes
        if limits.bound_s((1 - sparsity) * executed_flops, nbytes) <= dense:
            return float(sparsity)
    return None


def leaves_out(stores_zeros: bool, stored_entries: int, nnz: int, entries: int) -> bool:
    """Return whether an operand leaves anything out of W: else it is dense by another name.

    A format of blocks may come to hold all of a W of ``entries`` of which ``nnz`` are stored.
    """
    filled = nnz < _FILLED * entries <= stored_entries
    return not stores_zeros and not filled


def geometric_mean(values: object) -> float:
    """Return the geometric mean, NaN of nothing."""
    logs = np.log(np.asarray(values, float))
    return float(np.exp(logs.mean())) if logs.size else float("nan")
