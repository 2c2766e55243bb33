"""The float64 reference, and how far from it a kernel may honestly be.

The bound is the standard one for a sum of L products (Higham 2002, section 3.1): whatever the
order of summation, ``|computed - exact| <= gamma_L |W| |X|`` with ``gamma_L = L u / (1 - L u)``
and ``u`` the unit roundoff of the accumulation. Operands that are rounded as they are read
(TF32) add twice their own roundoff. Operands that are too small for their format's full precision
(fp16 below 2^-14) are read with an absolute error e, and a product then is off by at most
``e (|w| + |x| + e)`` more. No tolerance is chosen by hand.

L is the number of nonzeros in the row of W (of Wᵀ), for kernels that multiply the zeros as well:
zero is read exactly in every format, times a finite x it is exactly zero, and adding zero to a
partial sum rounds nothing, in whatever order, so a sum of k products rounds where one of the
nonzeros alone would. Tensor cores that cut off bits where they align a block of products to the
largest find nothing to cut off in a zero, and a block of zeros alone leaves the sum as it was.
What multiplies an infinity or NaN is no sum of finite products, and has no bound:

a kernel may skip the entries that W does not store, or multiply them as zeros. Both are right,
and differ only where X or dY is NaN or infinite (0 times infinity is NaN), so a non-finite result
must equal one of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import Arithmetic, Array, Pass, Weight
from .verdicts import UNDERFLOW, Float64, Verdict, compare, gamma

# Of the sums and quotients in float64 that belong to a check, not to the reference.
_OWN_TERMS = 2
# Where kernels cut a result into tiles, so that the rows at their edges are looked at.
_TILES = (8, 16, 32, 64)
# Entries of a large weight gradient that are looked at beside the rows, and multiply-adds of them.
_ENTRIES, _ENTRY_PRODUCTS = 1 << 14, 1 << 24
_Places = NDArray[np.int64]
#: By which factors the rows (None: by 1) and the columns of a result were scaled, each at least 1.
Scale = tuple[Float64 | None, Float64]


@dataclass(frozen=True)
class _Reference:
    """The entries of a result that are looked at, all arrays of one shape or broadcast to it."""

    #: The product of the stored entries alone, and of all.
    skipped: Float64
    multiplied: Float64
    #: The product of magnitudes, and how many products an entry sums up.
    magnitude: Float64
    terms: Float64


class Oracle:
    """The reference for one weight, X (k, n) and dY (m, n); computes each pass once.

    With ``rows`` a result is too large to be checked whole: the reference would take longer than
    all kernels together. Then so many rows are looked at, drawn by ``seed``, with the first, the
    last, and those at the edges of tiles; and all others by the sums of the result's columns, or
    of a weight gradient by entries drawn from all rows.
    """

    def __init__(self, weight: Weight, x: Array, dy: Array, rows: int = 0, seed: int = 0) -> None:
        self.weight = weight
        self._rows, self._seed = rows, seed
        self._w = weight.values.astype(np.float64)
        self._take(x, dy)

    def with_sides(self, x: Array, dy: Array, rows: int | None = None) -> Oracle:
        """Return the oracle of the same weight for another X (k, n) and dY (m, n).

        It looks at as many ``rows`` as this one, unless they are given.
        """
        other = object.__new__(Oracle)
        other.weight, other._seed = self.weight, self._seed
        other._rows = self._rows if rows is None else rows
        other._w = self._w
        other._take(x, dy)
        return other

    def _take(self, x: Array, dy: Array) -> None:
        self._x, self._dy = x.astype(np.float64), dy.astype(np.float64)
        self._references: dict[Pass, _Reference] = {}
        self._bounds: dict[tuple[Pass, Arithmetic], Float64] = {}
        self._sums: dict[tuple[Pass, Arithmetic, float], tuple[Float64, Float64]] = {}
        self._drawn: dict[int, _Places] = {}
        self._stored: tuple[_Places, _Places] | None = None

    def check(
        self, pass_: Pass, result: Array, arithmetic: Arithmetic, scale: Scale | None = None
    ) -> Verdict:
        """Return the verdict on ``result``; for ``backward_weight`` dense, (m, k).

        ``scale`` says by which factors exactly scaled operands made its rows and its columns larger
        than those of this oracle would.
        """
        shape = self._shape(pass_)
        if result.shape != shape:
            return Verdict(f"shape {result.shape}, not {shape}", np.inf, np.inf)
        partly = self._rows_of(pass_) is not None
        if partly and not np.isfinite(result).all():
            return Verdict("a result is NaN or infinite", np.inf, np.inf)
        reference = self._reference(pass_)
        if (pass_, arithmetic) not in self._bounds:
            self._bounds[pass_, arithmetic] = self._bound(pass_, arithmetic)
        seen = self._seen(pass_, result).astype(np.float64)
        if scale is not None:
            seen /= self._seen_scale(scale)
        verdict = compare(
            seen, reference.skipped, reference.multiplied, self._bounds[pass_, arithmetic]
        )
        if verdict.right and partly and pass_ != "backward_weight":
            sums = result.sum(axis=0, dtype=np.float64)
            if problem := self.check_sums(
                pass_, sums, arithmetic, None if scale is None else scale[1]
            ):
                return Verdict(problem, verdict.relative_error, np.inf)
        return verdict

    def check_sums(
        self, pass_: Pass, sums: Array, arithmetic: Arithmetic, scale: Float64 | None = None
    ) -> str | None:
        """Return what is wrong with the sums of the columns of a result, or None.

        ``sums`` (n,) were added up in their own dtype, in any order; ``scale`` (n,) as above. Not
        for ``backward_weight``, of which only the pattern is specified.
        """
        roundoff = float(np.finfo(sums.dtype).eps) / 2
        if (pass_, arithmetic, roundoff) not in self._sums:
            self._sums[pass_, arithmetic, roundoff] = self._expected_sums(
                pass_, arithmetic, roundoff
            )
        expected, bound = self._sums[pass_, arithmetic, roundoff]
        with np.errstate(invalid="ignore"):
            error = np.abs((sums if scale is None else sums / scale) - expected)
            wrong = ~(error <= bound)
        if not wrong.any() or not np.isfinite(expected).all():
            return None
        column = int(np.argmax(wrong))
        if not np.isfinite(sums[column]):
            return "a result had a NaN or infinity"
        return f"the sums of {int(wrong.sum())} of {wrong.size} columns of a result are wrong"

    def _expected_sums(
        self, pass_: Pass, arithmetic: Arithmetic, roundoff: float
    ) -> tuple[Float64, Float64]:
        """Return the sums of a result's columns, and how far from them a kernel's may be."""
        left, right = self._factors(pass_)
        terms = np.count_nonzero(left, axis=1).astype(np.float64)
        unit = _unit(terms, arithmetic)
        own = gamma(left.shape[0], roundoff) + gamma(sum(left.shape) + _OWN_TERMS, 2.0**-53)
        with np.errstate(invalid="ignore", over="ignore"):
            magnitudes = np.abs(right)
            expected = left.sum(axis=0) @ right
            bound = ((unit + own * (1 + unit)) @ np.abs(left)) @ magnitudes + UNDERFLOW
            if lost := arithmetic.operand_underflow:
                sides = np.abs(left).sum() + np.count_nonzero(left, axis=0) @ magnitudes
                roundoffs = arithmetic.operand_roundoff + gamma(
                    terms.max(initial=1), arithmetic.sum_roundoff
                )
                bound += lost * (sides + terms.sum() * lost) * (1 + roundoffs) ** 2
        return expected, bound

    def _shape(self, pass_: Pass) -> tuple[int, int]:
        m, k = self.weight.shape
        return {
            "forward": (m, self._x.shape[1]),
            "backward_input": (k, self._dy.shape[1]),
            "backward_weight": (m, k),
        }[pass_]

    def _factors(self, pass_: Pass) -> tuple[Float64, Float64]:
        """Return the two matrices whose product a pass is."""
        return {
            "forward": (self._w, self._x),
            "backward_input": (self._w.T, self._dy),
            "backward_weight": (self._dy, self._x.T),
        }[pass_]

    def _rows_of(self, pass_: Pass) -> _Places | None:
        """Return the rows of a result that are looked at; None for all."""
        count = self._shape(pass_)[0]
        if not self._rows or self._rows >= count:
            return None
        if count not in self._drawn:
            drawn = np.random.default_rng(self._seed).choice(count, self._rows, replace=False)
            self._drawn[count] = np.union1d(drawn, _edges(count))
        return self._drawn[count]

    def _entries(self) -> tuple[_Places, _Places]:
        """Return the rows and columns of the entries of a weight gradient that are looked at.

        They are the stored ones; of a large W those in some rows, and others drawn from all.
        """
        if self._stored is None:
            pattern, rows = self.weight.pattern, self._rows_of("backward_weight")
            near, across = np.nonzero(pattern if rows is None else pattern[rows])
            if rows is not None:
                drawn = np.divmod(self._drawn_entries(), pattern.shape[1])
                near, across = np.append(rows[near], drawn[0]), np.append(across, drawn[1])
            self._stored = near.astype(np.int64), across.astype(np.int64)
        return self._stored

    def _drawn_entries(self) -> _Places:
        stored = np.flatnonzero(self.weight.pattern)
        most = max(1, _ENTRY_PRODUCTS // max(1, self._x.shape[1]))
        count = min(stored.size, _ENTRIES, most)
        rng = np.random.default_rng(self._seed)
        return np.asarray(rng.choice(stored, count, replace=False), np.int64)

    def _seen(self, pass_: Pass, array: Array) -> Array:
        """Return the entries of an array of the result's shape that are looked at."""
        if pass_ == "backward_weight":
            rows, columns = self._entries()
            seen: Array = array.reshape(-1)[rows * array.shape[1] + columns]
            return seen
        rows_seen = self._rows_of(pass_)
        return array if rows_seen is None else np.asarray(array[rows_seen])

    def _seen_scale(self, scale: Scale) -> Float64:
        """Return the factors of the entries that are looked at, to be broadcast to them."""
        by_row, by_column = scale
        if by_row is None:
            return by_column
        rows, columns = self._entries()
        return by_row[rows] * by_column[columns]

    def _bound(self, pass_: Pass, arithmetic: Arithmetic) -> Float64:
        """Return how far from the reference a kernel of ``arithmetic`` may be, per entry."""
        reference = self._reference(pass_)
        bound = reference.magnitude * _unit(reference.terms, arithmetic)
        if lost := arithmetic.operand_underflow:
            roundoff = arithmetic.operand_roundoff + gamma(reference.terms, arithmetic.sum_roundoff)
            errors = self._sides(pass_) + reference.terms * lost
            bound = bound + lost * errors * (1 + roundoff) ** 2
        return bound

    def _sides(self, pass_: Pass) -> Float64:
        """Return at least the sums of |w| + |x| over the products of each entry looked at."""
        (left, right), rows = self._factors(pass_), self._rows_of(pass_)
        with np.errstate(invalid="ignore", over="ignore"):
            magnitudes = np.abs(right)
            if pass_ == "backward_weight":
                at_rows, at_columns = self._entries()
                by_row, by_column = np.abs(left).sum(axis=1), magnitudes.sum(axis=0)
                return np.asarray(by_row[at_rows] + by_column[at_columns])
            left = left if rows is None else left[rows]
            nonzero = (left != 0).astype(np.float64)
            return np.asarray(np.abs(left).sum(axis=1)[:, None] + nonzero @ magnitudes)

    def _reference(self, pass_: Pass) -> _Reference:
        if pass_ not in self._references:
            with np.errstate(invalid="ignore", over="ignore"):
                self._references[pass_] = (
                    self._gradient() if pass_ == "backward_weight" else self._product(pass_)
                )
        return self._references[pass_]

    def _product(self, pass_: Pass) -> _Reference:
        (left, right), rows = self._factors(pass_), self._rows_of(pass_)
        stored = self.weight.pattern if pass_ == "forward" else self.weight.pattern.T
        if rows is not None:
            left, stored = left[rows], stored[rows]
        multiplied = left @ right
        skipped = multiplied
        if not np.isfinite(multiplied).all():
            skipped = _product_of_stored(left, stored, right)
        terms = np.count_nonzero(left, axis=1)[:, None].astype(np.float64)
        return _Reference(skipped, multiplied, np.abs(left) @ np.abs(right), terms)

    def _gradient(self) -> _Reference:
        left, right = self._factors("backward_weight")
        rows, (at_rows, at_columns) = self._rows_of("backward_weight"), self._entries()
        some, inside = left, at_rows
        drawn = slice(at_rows.size, None)
        if rows is not None:
            some, drawn = left[rows], slice(int(self.weight.pattern[rows].sum()), None)
            inside = np.searchsorted(rows, at_rows[: drawn.start])
        place = inside, at_columns[: drawn.start]
        one, other = left[at_rows[drawn]], self._x[at_columns[drawn]]
        product = np.append((some @ right)[place], np.einsum("en,en->e", one, other))
        one, other = np.abs(one), np.abs(other)
        magnitude = np.append(
            (np.abs(some) @ np.abs(right))[place], np.einsum("en,en->e", one, other)
        )
        return _Reference(product, product, magnitude, np.array(float(left.shape[1])))


def _edges(count: int) -> _Places:
    """Return the first and the last of ``count`` rows, and those at edges of the tiles there."""
    places = {0, count - 1}
    for tile in _TILES:
        for edge in (tile, count // tile * tile):
            places |= {edge - 1, edge, edge + 1}
    return np.array(sorted(place for place in places if 0 <= place < count), np.int64)


def _unit(terms: Float64, arithmetic: Arithmetic) -> Float64:
    """Return the bound in units of |W||X| for sums of ``terms``, with the reference's rounding."""
    operands = 2 * arithmetic.operand_roundoff + arithmetic.operand_roundoff**2
    sums = gamma(terms, arithmetic.sum_roundoff) + gamma(terms + _OWN_TERMS, 2.0**-53)
    return operands + sums * (1 + operands)


def _product_of_stored(left: Float64, stored: NDArray[np.bool_], right: Float64) -> Float64:
    """Return ``left @ right`` summed over the stored entries of ``left`` alone."""
    out = np.zeros((left.shape[0], right.shape[1]))
    for row in range(left.shape[0]):
        entries = np.flatnonzero(stored[row])
        out[row] = (left[row, entries, None] * right[entries]).sum(axis=0)
    return out
