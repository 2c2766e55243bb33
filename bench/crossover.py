"""From which sparsity a kernel beats its baseline, read off measured speedups.

A speedup whose interval contains 1 decides nothing; the crossover lies between the last sparsity
that is decided against the kernel and the first that is decided for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from bench.intervals import CONFIDENCE, Interval

Kind = Literal["between", "always", "never", "several", "open"]


@dataclass(frozen=True)
class Crossover:
    """The answer, over the sparsities in [low, high].

    ``between``: speedup 1 is crossed once, inside [low, high]. ``always`` and ``never``: faster,
    or not faster, at every sparsity measured. ``several``: crossed more than once. ``open``: the
    measurements do not decide.
    """

    kind: Kind
    low: float
    high: float
    confidence: float = CONFIDENCE

    def __str__(self) -> str:
        """Return the answer as a table shows it, in percent."""
        low, high = f"{100 * self.low:.3g}", f"{100 * self.high:.3g}"
        return {
            "between": f"{low}-{high} %",
            "always": f"always in [{low}, {high}] %",
            "never": f"never in [{low}, {high}] %",
            "several": f"several in [{low}, {high}] %",
            "open": f"open in [{low}, {high}] %",
        }[self.kind]


def bracket(speedups: Sequence[tuple[float, Interval]]) -> Crossover:
    """Return the crossover of (sparsity, speedup) points; sparsities in 0 to 1.

    Raises:
        ValueError: if there is no point.
    """
    if not speedups:
        raise ValueError("no speedup was measured: measure at least one sparsity")
    points = sorted(speedups, key=lambda point: point[0])
    lowest, highest = points[0][0], points[-1][0]
    decided = [(s, speedup.low > 1) for s, speedup in points if speedup.low > 1 or speedup.high < 1]
    turns = [
        (before, after)
        for (before, was_faster), (after, faster) in pairwise(decided)
        if was_faster != faster
    ]
    if not decided:
        return Crossover("open", lowest, highest)
    if len(turns) > 1 or (turns and decided[0][1]):
        return Crossover("several", turns[0][0], turns[-1][1])
    if turns:
        return Crossover("between", *turns[0])
    first, faster = decided[0]
    last = decided[-1][0]
    if faster:
        # Undecided below the first win: the crossover, if there is one, lies there.
        return (
            Crossover("always", lowest, highest)
            if first == lowest
            else Crossover("open", lowest, first)
        )
    return (
        Crossover("never", lowest, highest) if last == highest else Crossover("open", last, highest)
    )
