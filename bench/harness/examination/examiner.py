"""Who stands between a kernel and the clock: what the race asks before and after it times.

The threat is a kernel within its contract: it may keep what it saw, count its calls, compare
addresses and contents, and return any array that it can reach. It does not patch the harness.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from crossover.kernels.base import Kernel
from crossover.kernels.verdicts import Verdict

# Of a result with more entries than this so many rows are checked.
_LARGE_RESULT, _CHECKED_ROWS = 1 << 22, 64


class Examiner(Protocol):
    """Renews a kernel's operands, spoils its outputs and judges its results; nothing is timed."""

    def begin_turn(self, returned: Any, widely: bool) -> None:
        """Write fresh operands, and spoil what the kernel writes to and what it ``returned``.

        No array anywhere holds the answer now. Much of the operands is fresh if it is done
        ``widely``, and as much as takes little time otherwise.
        """

    def renew(self) -> None:
        """Write fresh operands, widely."""

    def rewrite(self) -> None:
        """Write the same operands once more: what :meth:`renew` takes, and no change."""

    def glance(self, result: Any) -> str | None:
        """Return what is seen to be wrong with ``result`` in a few microseconds, or None."""

    def check(self, result: Any) -> Verdict:
        """Return the whole verdict on ``result``."""

    def change_kind(self, returned: Any) -> None:
        """As :meth:`begin_turn`, and operands differ in more than values, for the last check."""


class Unexamined:
    """An examiner of calls that nobody doubts: it does nothing."""

    def begin_turn(self, returned: Any, widely: bool) -> None:
        """Leave all as it is."""

    def renew(self) -> None:
        """Leave all as it is."""

    def rewrite(self) -> None:
        """Leave all as it is."""

    def glance(self, result: Any) -> str | None:
        """Return None."""

    def check(self, result: Any) -> Verdict:
        """Return that all is right."""
        return Verdict(None, 0.0, 0.0)

    def change_kind(self, returned: Any) -> None:
        """Leave all as it is."""


def poison(kernel: Kernel, array: Any) -> None:
    """Fill the kernel's own ``array`` with NaN."""
    kernel.local(array).fill(np.nan)


def spoil(kernel: Kernel, array: Any, rng: np.random.Generator) -> None:
    """Make the kernel's own ``array`` wrong, in one of the ways that rng draws.

    Half the time it holds NaN. A kernel may look for that, so otherwise it holds what might be an
    answer: its rows one further, or the answer for the operands before.
    """
    drawn = rng.random()
    if drawn < 0.5:
        poison(kernel, array)
    elif drawn < 0.75:
        local = kernel.local(array)
        local[...] = kernel.namespace().roll(local, 1, axis=0)


def rows_to_check(entries: int) -> int:
    """Return how many rows of a result with so many ``entries`` the oracle looks at; 0: at all."""
    return _CHECKED_ROWS if entries > _LARGE_RESULT else 0


def finite(array: Any) -> str | None:
    """Return that a NumPy or CuPy ``array`` holds a NaN or infinity, or None."""
    return None if np.isfinite(float(array.sum())) else "a result had a NaN or infinity"
