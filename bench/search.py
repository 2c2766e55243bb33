"""The adaptive search for a crossover: where does the paired log-ratio change its sign?

A scan over a few sparsities finds whether it changes, and whether more than once; then the gap
in which it changes is halved until it is narrow enough, or until no more can be decided. What a
probe decides is the sign of the median log-ratio, by an exact sign test over rounds: it asks
nothing of the noise but that the sign of one round says nothing of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import stats

from bench.crossover import Crossover, from_signs, turns
from bench.intervals import CONFIDENCE

#: From a sparsity and a number of further rounds to the log of dense time / sparse time in each.
Measure = Callable[[float, int], Sequence[float]]
Verdict = Literal["faster", "slower", "undecided"]

#: Scanned first. A range in which the answer differs is missed if it lies between two of these.
SCAN = (0.0, 0.4, 0.7, 0.88, 0.99)
WIDTH = 0.02
# Rounds after which a probe asks whether its sign is decided.
_LOOKS = (10, 20, 40, 80, 160, 320)
# The error that a search may make is shared by the looks of the probes close to the crossover:
# far from it no look errs. Five probes of two looks each.
_CLOSE_LOOKS = 10


@dataclass(frozen=True)
class Probe:
    """What was measured at one sparsity."""

    sparsity: float
    verdict: Verdict
    #: Median of dense time / sparse time.
    speedup: float
    rounds: int


@dataclass(frozen=True)
class Found:
    """The crossover and the probes it rests on, in the order they were measured."""

    crossover: Crossover
    probes: tuple[Probe, ...]


class Search:
    """A search in steps, so that several can share a budget: ask what is wanted, record it."""

    def __init__(
        self,
        confidence: float = CONFIDENCE,
        width: float = WIDTH,
        scan: Sequence[float] = SCAN,
    ) -> None:
        self.confidence = confidence
        self.width = width
        self._scan = _ends_first(scan)
        self._most = int(0.25 * (scan[-1] - scan[0]) / width)
        self._probes: list[Probe] = []

    def wanted(self) -> float | None:
        """Return the sparsity to measure next; None when nothing more can be learned.

        At most a quarter of the cells are wanted that a grid of step ``width`` would have.
        """
        done = {probe.sparsity for probe in self._probes}
        for sparsity in self._scan:
            if sparsity not in done:
                return sparsity
        gap = _gap_to_halve(self._probes, self.width)
        if gap is None or len(self._probes) >= max(self._most, len(self._scan)):
            return None
        return (gap[0] + gap[1]) / 2

    def record(self, probe: Probe) -> None:
        """Take what was measured at a sparsity that was wanted."""
        self._probes.append(probe)

    def open_width(self) -> float:
        """Return how wide the answer still is, in sparsity; before it is bracketed, 1."""
        found = turns(_signs(self._probes))
        return found[-1][1] - found[0][0] if found else 1.0

    def found(self) -> Found:
        """Return the answer so far; without a change of sign, ``open`` until the scan is done.

        Raises:
            ValueError: if nothing was recorded.
        """
        crossover = from_signs(_signs(self._probes), self.confidence)
        scanned = {probe.sparsity for probe in self._probes} >= set(self._scan)
        if not scanned and crossover.kind in ("always", "never"):
            whole = min(self._scan), max(self._scan)
            crossover = Crossover("open", *whole, self.confidence)
        return Found(crossover, tuple(self._probes))


def search(
    measure: Measure,
    confidence: float = CONFIDENCE,
    width: float = WIDTH,
    scan: Sequence[float] = SCAN,
) -> Found:
    """Return the crossover to within ``width`` of sparsity, where the noise allows it."""
    steps = Search(confidence, width, scan)
    while (sparsity := steps.wanted()) is not None:
        steps.record(probe(measure, sparsity, confidence))
    return steps.found()


def probe(measure: Measure, sparsity: float, confidence: float = CONFIDENCE) -> Probe:
    """Return what is decided at ``sparsity``, with as many rounds as that takes."""
    ratios: list[float] = []
    verdict: Verdict = "undecided"
    for look in _LOOKS:
        ratios += measure(sparsity, look - len(ratios))
        verdict = sign(ratios, (1 - confidence) / _CLOSE_LOOKS)
        if verdict != "undecided":
            break
    return Probe(sparsity, verdict, float(np.exp(np.median(ratios))), len(ratios))


def sign(ratios: Sequence[float], error: float) -> Verdict:
    """Return the sign of the median of ``ratios``, if it is sure to within ``error``."""
    positive = sum(ratio > 0 for ratio in ratios)
    negative = sum(ratio < 0 for ratio in ratios)
    if not positive + negative:
        return "undecided"
    if _sign_test(positive, positive + negative) >= error:
        return "undecided"
    return "faster" if positive > negative else "slower"


@lru_cache(maxsize=4096)
def _sign_test(positive: int, total: int) -> float:
    """Return the probability of a split at least this uneven, were the median zero."""
    return float(stats.binomtest(positive, total).pvalue)


def _ends_first(scan: Sequence[float]) -> list[float]:
    """Return the scan in an order that says most when it is cut short."""
    middle = sorted(scan[1:-1], key=lambda s: abs(s - 0.8))
    return [scan[0], scan[-1], *middle]


def _gap_to_halve(probes: list[Probe], width: float) -> tuple[float, float] | None:
    """Return the widest gap inside the one range in which the sign changes; None if done."""
    found = turns(_signs(probes))
    if len(found) != 1 or found[0][1] - found[0][0] <= width:
        return None
    low, high = found[0]
    inside = sorted(p.sparsity for p in probes if low <= p.sparsity <= high)
    gap = max(pairwise(inside), key=lambda pair: pair[1] - pair[0])
    # Around undecided probes there is nothing left to learn from gaps this narrow.
    return gap if gap[1] - gap[0] > width / 2 else None


def _signs(probes: list[Probe]) -> list[tuple[float, bool | None]]:
    faster = {"faster": True, "slower": False, "undecided": None}
    return [(probe.sparsity, faster[probe.verdict]) for probe in probes]
