"""X and dY as the kernels of a visit find them: fresh values of one kind, in the same memory.

A kernel that kept an answer would be measured at finding it again. So while kernels are timed X
changes again and again, in place: the values of the recipe, each column times a factor that was
never used before. Zeros stay where they are, signs as they are, and no honest kernel takes more or
less time. The recipe's values are rounded to 12 bits, and so are the factors, between 1 and 2:
each product is exact, and so is the reference of the oracle, times the same factors. Of a weight
gradient, which sums over the columns, it is the rows of dY and X that are scaled.

The last check has other zeros too: rows and columns of X and dY are shifted. It is not timed, for
the zeros decide what a kernel does that leaves them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from crossover.kernels.base import Array, Pass
from crossover.kernels.oracle import Oracle, Scale

_BITS = 12
# Entries that are written at once: to begin a turn, and where a kernel shall not get away with
# computing anew what was renewed alone.
_BLOCK, _WIDE_BLOCK = 1 << 14, 1 << 18


@dataclass(frozen=True)
class Content:
    """Values of X (k, n) and dY (m, n), and the oracle of what is computed with them."""

    x: Array
    dy: Array
    oracle: Oracle


def rounded(array: Array) -> Array:
    """Return ``array`` with its values rounded to 12 significant bits."""
    lost = np.finfo(array.dtype).nmant - (_BITS - 1)
    bits = array.view(f"u{array.itemsize}")
    return np.asarray((((bits + (1 << (lost - 1))) >> lost) << lost).view(array.dtype))


def rearranged(array: Array, seed: int) -> Array:
    """Return a copy of ``array`` whose rows and columns are shifted, as ``seed`` draws."""
    rng = np.random.default_rng([seed, *array.shape])
    return np.roll(array, [int(rng.integers(1, max(2, size))) for size in array.shape], (0, 1))


class Operands:
    """X and dY in the memory that a kernel reads, and by which factors they hold a content."""

    def __init__(self, pass_: Pass, x: Any, dy: Any, xp: Any, rng: np.random.Generator) -> None:
        """Take the arrays to write to, of NumPy's or of CuPy's module ``xp``."""
        self._rng = rng
        self._x = _Side(x, xp, 0 if pass_ == "backward_weight" else 1)
        self._dy = _Side(dy, xp, 0 if pass_ == "backward_weight" else 1)
        self._scaled = {
            "forward": [self._x],
            "backward_input": [self._dy],
            "backward_weight": [self._dy, self._x],
        }[pass_]

    def fill(self, content: Content) -> None:
        """Write a content as it is."""
        self.content = content
        self._x.fill(content.x)
        self._dy.fill(content.dy)

    def renew(self, widely: bool = False) -> None:
        """Write fresh values, to a part that takes little time or ``widely``."""
        for side in self._scaled:
            block, factors = side.drawn(self._rng, _WIDE_BLOCK if widely else _BLOCK)
            side.factors[block] = factors
            side.write(block)

    def rewrite(self) -> None:
        """Do all that renewing widely does, and write the values that are there."""
        for side in self._scaled:
            block, _ = side.drawn(self._rng, _WIDE_BLOCK)
            side.write(block)

    @property
    def scale(self) -> Scale:
        """Return by which factors the rows and the columns of the result are scaled."""
        *rows, columns = (side.factors.astype(np.float64) for side in self._scaled)
        return rows[0] if rows else None, columns

    def intact(self) -> bool:
        """Return whether X and dY still hold what was written to them."""
        return self._x.intact() and self._dy.intact()


class _Side:
    """X or dY: the array, the values that it holds, and the factors of its rows or columns."""

    def __init__(self, array: Any, xp: Any, axis: int) -> None:
        self._array, self._xp, self._axis = array, xp, axis

    def fill(self, values: Array) -> None:
        """Write other values, all times 1."""
        self._values = values
        self.factors = np.ones(values.shape[self._axis], values.dtype)
        self._array[...] = self._xp.asarray(values)

    def drawn(self, rng: np.random.Generator, most: int) -> tuple[slice, Array]:
        """Return rows or columns, side by side, with at most so many entries, and factors."""
        count, across = self._values.shape[self._axis], self._values.shape[1 - self._axis]
        size = max(1, min(count, most // max(1, across)))
        start = int(rng.integers(count - size + 1))
        return slice(start, start + size), _factors(rng, size, self._values.dtype)

    def write(self, block: slice) -> None:
        """Write some rows or columns."""
        place = (slice(None), block) if self._axis else (block, slice(None))
        self._array[place] = self._xp.asarray(self._product(block))

    def intact(self) -> bool:
        """Return whether the array holds what was written."""
        held = self._array.get() if hasattr(self._array, "get") else self._array
        return bool(held.tobytes() == self._product(slice(None)).tobytes())

    def _product(self, block: slice) -> Array:
        if self._axis:
            return np.asarray(self._values[:, block] * self.factors[block])
        return np.asarray(self._values[block] * self.factors[block, None])


def _factors(rng: np.random.Generator, count: int, dtype: np.dtype[Any]) -> Array:
    """Return factors of 12 significant bits, from 1 to 2."""
    steps = rng.integers(1 << (_BITS - 1), size=count)
    return (1 + steps / (1 << (_BITS - 1))).astype(dtype)
