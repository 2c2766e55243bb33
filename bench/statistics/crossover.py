"""From which sparsity a kernel beats its baseline, read off measured speedups.

A speedup whose interval contains 1 decides nothing; the crossover lies between the last sparsity
that is decided against the kernel and the first that is decided for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from crossover.bench.statistics.intervals import CONFIDENCE, Interval

Kind = Literal["between", "always", "never", "several", "level", "open"]


@dataclass(frozen=True)
class CrossoverEstimate:
    """The answer, over the sparsities in [low, high].

    ``between``: speedup 1 is crossed once, inside [low, high]. ``always`` and ``never``: faster,
    or not faster, at every sparsity measured. ``several``: crossed more than once. ``level``:
    within 2 % of each other there, so that no budget would decide. ``open``: not decided.
    """

    kind: Kind
    low: float
    high: float
    confidence: float = CONFIDENCE

    def __str__(self) -> str:
        """Return the answer as a table shows it, in percent."""
        low, high = f"{100 * self.low:.3g}", f"{100 * self.high:.3g}"
        if self.kind == "between":
            return f"{low}-{high} %"
        if self.kind == "level":
            return f"within 2 % of each other over [{low}, {high}] %"
        if self.low == self.high:
            return f"{self.kind} at {low} %"
        return f"{self.kind} in [{low}, {high}] %"


def bracket(speedups: Sequence[tuple[float, Interval]]) -> CrossoverEstimate:
    """Return the crossover of (sparsity, speedup) points; sparsities in 0 to 1.

    Raises:
        ValueError: if there is no point.
    """
    return from_signs([(sparsity, speedup.decided) for sparsity, speedup in speedups])


def from_signs(
    points: Sequence[tuple[float, bool | None]], confidence: float = CONFIDENCE
) -> CrossoverEstimate:
    """Return the crossover of (sparsity, whether faster there) points; None is undecided.

    Raises:
        ValueError: if there is no point.
    """
    if not points:
        raise ValueError("no speedup was measured: measure at least one sparsity")
    lowest, highest = min(s for s, _ in points), max(s for s, _ in points)
    decided = sorted((s, faster) for s, faster in points if faster is not None)
    changes = sign_changes(points)
    if not decided:
        return CrossoverEstimate("open", lowest, highest, confidence)
    if len(changes) > 1 or (changes and decided[0][1]):
        return CrossoverEstimate("several", changes[0][0], changes[-1][1], confidence)
    if changes:
        return CrossoverEstimate("between", *changes[0], confidence)
    undecided = [s for s, faster in points if faster is None]
    if not undecided:
        return CrossoverEstimate(
            "always" if decided[0][1] else "never", lowest, highest, confidence
        )
    # The sign is the same wherever it is decided; around the other places it may still change.
    low = max((s for s, _ in decided if s < min(undecided)), default=lowest)
    high = min((s for s, _ in decided if s > max(undecided)), default=highest)
    return CrossoverEstimate("open", low, high, confidence)


def sign_changes(points: Sequence[tuple[float, bool | None]]) -> list[tuple[float, float]]:
    """Return each pair of neighbouring decided sparsities between which the sign changes."""
    decided = sorted((s, faster) for s, faster in points if faster is not None)
    return [
        (before, after)
        for (before, was_faster), (after, faster) in pairwise(decided)
        if was_faster != faster
    ]
