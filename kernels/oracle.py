"""The float64 reference, and how far from it a kernel may honestly be.

The bound is the standard one for a sum of L products (Higham 2002, section 3.1): whatever the
order of summation, ``|computed - exact| <= gamma_L |W| |X|`` with ``gamma_L = L u / (1 - L u)``
and ``u`` the unit roundoff of the accumulation. Operands that are rounded as they are read
(TF32) add twice their own roundoff. Operands that are too small for their format's full precision
(fp16 below 2^-14) are read with an absolute error e, and a sum of products then is off by at most
``e (sum |W| + sum |X|)`` more. No tolerance is chosen by hand.

Zeros: a kernel may skip the entries that W does not store, or multiply them as zeros. Both are
right, and differ only where X or dY is NaN or infinite (0 times infinity is NaN), so a
non-finite result must equal one of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Arithmetic, Array, Kernel, Pass, Weight

# The smallest normal float32: covers products that underflow.
_UNDERFLOW = 2.0**-126
_Float64 = NDArray[np.float64]


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


class Oracle:
    """The reference for one weight, X (k, n) and dY (m, n); computes each pass once.

    With ``rows`` it looks at so many rows of a result alone, drawn at random once: the reference of
    a large problem takes longer than all kernels together.
    """

    def __init__(self, weight: Weight, x: Array, dy: Array, rows: int = 0) -> None:
        self.weight = weight
        self._rows = rows
        self._w = weight.values.astype(np.float64)
        self._x = x.astype(np.float64)
        self._dy = dy.astype(np.float64)
        self._references: dict[Pass, tuple[_Float64, _Float64, _Float64]] = {}
        self._drawn: dict[int, NDArray[np.int64]] = {}

    def check(self, pass_: Pass, result: Array, arithmetic: Arithmetic) -> Verdict:
        """Return the verdict on ``result``; for ``backward_weight`` dense, (m, k)."""
        m, k = self.weight.shape
        shape = {
            "forward": (m, self._x.shape[1]),
            "backward_input": (k, self._dy.shape[1]),
            "backward_weight": (m, k),
        }[pass_]
        if result.shape != shape:
            return Verdict(f"shape {result.shape}, not {shape}", np.inf, np.inf)
        skipped, multiplied, magnitude = self._reference(pass_)
        if self._rows and not np.isfinite(result).all():
            return Verdict("a result is NaN or infinite", np.inf, np.inf)
        rows = self._rows_of(pass_)
        result = result[rows].astype(np.float64)
        if pass_ == "backward_weight":
            pattern = self.weight.pattern[rows]
            result, skipped = result[pattern], skipped[pattern]
            multiplied, magnitude = multiplied[pattern], magnitude[pattern]
        bound = magnitude * self._unit(pass_, arithmetic)
        if arithmetic.operand_underflow:
            underflow = self._underflow(pass_, arithmetic)
            bound = bound + (underflow[pattern] if pass_ == "backward_weight" else underflow)
        return _compare(result, skipped, multiplied, bound)

    def _unit(self, pass_: Pass, arithmetic: Arithmetic) -> float:
        """Return the bound in units of |W||X|, with the reference's own rounding."""
        m, k = self.weight.shape
        terms = {"forward": k, "backward_input": m, "backward_weight": self._x.shape[1]}[pass_]
        operands = 2 * arithmetic.operand_roundoff + arithmetic.operand_roundoff**2
        sums = _gamma(terms, arithmetic.sum_roundoff) + _gamma(terms, 2.0**-53)
        return operands + sums * (1 + operands)

    def _underflow(self, pass_: Pass, arithmetic: Arithmetic) -> _Float64:
        """Return what operands too small for their format add to the bound, per result."""
        left, right = self._factors(pass_)
        lost, terms = arithmetic.operand_underflow, left.shape[1]
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.abs(left).sum(1)[:, None] + np.abs(right).sum(0) + terms * lost
        roundoff = arithmetic.operand_roundoff + _gamma(terms, arithmetic.sum_roundoff)
        found: _Float64 = lost * sums * (1 + roundoff) ** 2
        return found

    def _factors(self, pass_: Pass) -> tuple[_Float64, _Float64]:
        """Return the two matrices whose product a pass is, the first in the rows looked at."""
        left, right = {
            "forward": (self._w, self._x),
            "backward_input": (self._w.T, self._dy),
            "backward_weight": (self._dy, self._x.T),
        }[pass_]
        return left[self._rows_of(pass_)], right

    def _rows_of(self, pass_: Pass) -> Any:
        """Return the rows of a result that are looked at, as an index."""
        m, k = self.weight.shape
        count = k if pass_ == "backward_input" else m
        if not self._rows or self._rows >= count:
            return slice(None)
        if count not in self._drawn:
            drawn = np.random.default_rng().choice(count, self._rows, replace=False)
            self._drawn[count] = np.sort(drawn)
        return self._drawn[count]

    def _reference(self, pass_: Pass) -> tuple[_Float64, _Float64, _Float64]:
        """Return (result that skips zeros, that multiplies them, the product of magnitudes)."""
        if pass_ not in self._references:
            left, right = self._factors(pass_)
            with np.errstate(invalid="ignore", over="ignore"):
                multiplied = left @ right
                skipped = multiplied
                if pass_ != "backward_weight" and not np.isfinite(multiplied).all():
                    stored = self.weight.pattern if pass_ == "forward" else self.weight.pattern.T
                    skipped = _product_of_stored(left, stored[self._rows_of(pass_)], right)
                magnitude = np.abs(left) @ np.abs(right)
            self._references[pass_] = skipped, multiplied, magnitude
        return self._references[pass_]


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
    bound = (np.abs(values) + np.abs(moved)) * (_gamma(3, roundoff) + _gamma(3, 2.0**-53))
    exact = values - moved
    return _compare(after[pattern].astype(np.float64), exact, exact, bound)


def _gamma(terms: int, roundoff: float) -> float:
    """Return gamma_L for L products; infinite where L is too large for any guarantee."""
    product = max(terms, 1) * roundoff
    return product / (1 - product) if product < 1 else np.inf


def _product_of_stored(left: _Float64, stored: NDArray[np.bool_], right: _Float64) -> _Float64:
    """Return ``left @ right`` summed over the stored entries of ``left`` alone."""
    out = np.zeros((left.shape[0], right.shape[1]))
    for row in range(left.shape[0]):
        entries = np.flatnonzero(stored[row])
        out[row] = (left[row, entries, None] * right[entries]).sum(axis=0)
    return out


def _compare(result: _Float64, skipped: _Float64, multiplied: _Float64, bound: _Float64) -> Verdict:
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
        excess = error / (np.where(np.isfinite(bound), bound, np.inf) + _UNDERFLOW)
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


def _all_close(result: _Float64, skipped: _Float64, bound: _Float64) -> Verdict | None:
    """Return that all is right where all is finite and within its bound: the usual case, fast."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(result - skipped)
        largest, share = float(error.max()), float((error / (bound + _UNDERFLOW)).max())
    if not (np.isfinite(largest) and np.isfinite(share) and share <= 1):
        return None
    return Verdict(None, largest / (float(np.abs(skipped).max()) or 1.0), share)
