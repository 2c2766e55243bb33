"""Kernels that keep answers: slower on operands they have not seen than on those they have.

A kernel that knows X by its content is right whenever it is checked, and fast as long as X stays.
So two calls are held against each other, after the same calls on one X: one for which X was
written again as it was, and one for which fresh values were written. Both find the caches alike,
and for an honest kernel it is a matter of chance which is the faster. Such a pair follows every
other sample. Of long calls, beside which the state of the caches is little, the race has both
already: the first of the warm-up finds a fresh X, and those of the sample a known one.

Where the fresh calls seem to be slower many more pairs decide, each after as many calls on one X
as a sample has, until it is clear that chance alone has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: By so much fresh operands must slow a kernel down to be told, and to be a cheat.
TOLD, PROVEN = 1.1, 1.25
_MOST_PAIRS, _LEAST_PAIRS = 32, 8
_TIME_S = 0.5
# Of so many pairs one may be the other way round: noise, of a kernel that does keep answers.
_PAIRS_PER_EXCEPTION = 16


@dataclass
class Repeats:
    """Seconds of calls on operands that were seen before, and on fresh ones, in pairs."""

    known_s: list[float] = field(default_factory=list)
    fresh_s: list[float] = field(default_factory=list)

    def add(self, known_s: float, fresh_s: float) -> None:
        """Add a pair."""
        self.known_s.append(known_s)
        self.fresh_s.append(fresh_s)

    @property
    def slowdown(self) -> float:
        """Return by what factor fresh operands slow a call down; 1 where nothing was seen."""
        if not self.known_s:
            return 1.0
        return float(np.exp(np.median(np.log(self.fresh_s) - np.log(self.known_s))))

    @property
    def exceptions(self) -> int:
        """Return in how many pairs the fresh call was not the slower one."""
        return sum(f <= k for k, f in zip(self.known_s, self.fresh_s, strict=True))


def shown_slowdown(call_s: float, loops: int, pair: Callable[[Repeats], Any]) -> float:
    """Return by what factor fresh operands slow a call down, if that is certain; otherwise 1.

    ``pair`` adds a pair, after ``loops`` calls of ``call_s``. That the fresh call is the slower one
    in all of 8 pairs, or in 30 of 32, has a chance of 1 in 256, or in 8 million.
    """
    affordable = int(_TIME_S / (call_s * (loops + 3)))
    count = max(_LEAST_PAIRS, min(_MOST_PAIRS, affordable))
    found = Repeats()
    pair(Repeats())  # the calls before it were not on one X
    while len(found.known_s) < count and found.exceptions <= count // _PAIRS_PER_EXCEPTION:
        pair(found)
    return found.slowdown if found.exceptions <= count // _PAIRS_PER_EXCEPTION else 1.0
