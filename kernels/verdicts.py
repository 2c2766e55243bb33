"""What a check found, and how a result is held against a reference and a bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import Array, Kernel, Weight

#: The smallest normal float32: covers products that underflow.
UNDERFLOW = 2.0**-126
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """What a check found; ``problem`` is None where the result is right."""

    problem: str | None
    #: Largest absolute error over the largest absolute reference value.
    relative_error: float
    #: Largest error in units of its bound; at most 1 where the result is right.
    share_of_bound: float

    @property
    def right(self) -> bool:
        """Return whether the result is within its bound everywhere."""
        return self.problem is None


def check_update(before: Weight, step: Array, rate: float, after: Array, kernel: Kernel) -> Verdict:
    """Return the verdict on ``after`` (m, k), which should be ``before - rate * step``.

    ``step`` is dense (m, k). Three roundings are allowed for: of the rate, of the product, of the
    difference. A kernel that keeps zeros must have left all entries outside the pattern zero.
    """
    pattern = before.pattern
    if kernel.keeps_zeros and (strays := int(np.count_nonzero(after[~pattern]))):
        return Verdict(f"{strays} entries outside the pattern are no longer zero", np.inf, np.inf)
    values, moved = before.values[pattern].astype(np.float64), rate * step[pattern].astype(float)
    roundoff = kernel.arithmetic[before.values.dtype.name].sum_roundoff
    bound = (np.abs(values) + np.abs(moved)) * (gamma(3, roundoff) + gamma(3, 2.0**-53))
    exact = values - moved
    return compare(after[pattern].astype(np.float64), exact, exact, bound)


def gamma(terms: Float64 | float, roundoff: float) -> Float64:
    """Return gamma_L for L products; infinite where L is too large for any guarantee."""
    product = np.maximum(terms, 1.0) * roundoff
    with np.errstate(divide="ignore"):
        found: Float64 = np.where(product < 1, product / np.maximum(1 - product, 0.0), np.inf)
    return found


def compare(result: Float64, skipped: Float64, multiplied: Float64, bound: Float64) -> Verdict:
    """Return the verdict on ``result`` against two references and a bound of the same shape."""
    if not result.size:
        return Verdict(None, 0.0, 0.0)
    if usual := _all_close(result, skipped, bound):
        return usual
    finite = np.isfinite(skipped)
    with np.errstate(invalid="ignore"):
        # Equal covers infinities of the same sign; NaN is right only where a reference is NaN.
        same = (result == skipped) | (result == multiplied)
        same |= np.isnan(result) & (np.isnan(skipped) | np.isnan(multiplied))
        error = np.where(finite & np.isfinite(result), np.abs(result - skipped), 0.0)
        excess = error / (np.where(np.isfinite(bound), bound, np.inf) + UNDERFLOW)
        close = finite & np.isfinite(result) & (excess <= 1)
    scale = float(np.abs(skipped[finite]).max(initial=0.0)) or 1.0
    relative, share = float(error.max()) / scale, float(excess.max())
    wrong = ~(same | close)
    if not wrong.any():
        return Verdict(None, relative, share)
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    problem = (
        f"{int(wrong.sum())} of {wrong.size} results are wrong; at {place} it is "
        f"{result[place]:.9g}, should be {skipped[place]:.9g}"
    )
    return Verdict(problem, relative, share)


def _all_close(result: Float64, skipped: Float64, bound: Float64) -> Verdict | None:
    """Return that all is right where all is finite and within its bound: the usual case, fast."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(result - skipped)
        largest, share = float(error.max()), float((error / (bound + UNDERFLOW)).max())
    if not (np.isfinite(largest) and np.isfinite(share) and share <= 1):
        return None
    return Verdict(None, largest / (float(np.abs(skipped).max()) or 1.0), share)
