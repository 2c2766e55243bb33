"""The adaptive search for a crossover: where does the paired log-ratio change its sign?

A scan over a few sparsities finds whether it changes, and whether more than once; then the gap
in which it changes is halved until it is narrow enough, or until no more can be decided. What a
probe decides is the sign of the median log-ratio, by an exact sign test over rounds: it asks
nothing of the noise but that the sign of one round says nothing of the next.

That is not so on a machine with neighbours, whose state lasts for a second or a few and shifts the
ratio of two kernels by a quarter. So the probes that an answer rests on are visited again later,
several times, and one that the later visits do not bear out decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import stats

from crossover.bench.crossover import Crossover, from_signs, turns
from crossover.bench.intervals import CONFIDENCE

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


# Later visits to a probe that an answer rests on, and how many of these may differ: by chance, were
# the sign undecided, as few would differ in 11 of 1,024 cases.
_LATER_VISITS = 10
_MOST_DISSENT = 1
_MOST_ROUNDS = 160
# No state of the machine turns the sign of a log-ratio as far from zero as this.
_CLEAR = 0.4


@dataclass(frozen=True)
class Probe:
    """What was measured at one sparsity."""

    sparsity: float
    verdict: Verdict
    #: Median of dense time / sparse time.
    speedup: float
    #: Rounds of the first visit.
    rounds: int
    #: Median log-ratios of later visits, of ``later_rounds`` each.
    later: tuple[float, ...] = ()

    def again(self, ratios: Sequence[float]) -> Probe:
        """Return the probe with one more visit, undecided if the visits do not bear it out."""
        later = (*self.later, float(np.median(ratios)))
        dissent = sum((ratio > 0) != (self.verdict == "faster") for ratio in later)
        verdict = "undecided" if dissent > _MOST_DISSENT else self.verdict
        speedup = float(np.exp(np.median([np.log(self.speedup), *later])))
        return Probe(self.sparsity, verdict, speedup, self.rounds, later)

    @property
    def later_rounds(self) -> int:
        """Return the rounds of a later visit: with so many the sign is seldom missed."""
        return min(_MOST_ROUNDS, 2 * self.rounds)

    @property
    def borne_out(self) -> bool:
        """Return whether an answer may rest on it."""
        return abs(np.log(self.speedup)) > _CLEAR or len(self.later) >= _LATER_VISITS


@dataclass(frozen=True)
class Found:
    """The crossover and the probes it rests on, in the order they were measured."""

    crossover: Crossover
    probes: tuple[Probe, ...]


class Search:
    """A search in steps, so that several can share a budget."""

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
        self._probes: dict[float, Probe] = {}

    def wanted(self) -> float | None:
        """Return the sparsity to measure next; None when nothing more can be learned.

        At most a quarter of the cells are wanted that a grid of step ``width`` would have.
        """
        for sparsity in self._scan:
            if sparsity not in self._probes:
                return sparsity
        probes = list(self._probes.values())
        gap = _gap_to_halve(probes, self.width)
        if gap is not None and len(probes) < max(self._most, len(self._scan)):
            return (gap[0] + gap[1]) / 2
        unsure = [probe for probe in _rested_on(probes) if not probe.borne_out]
        return min(unsure, key=lambda probe: len(probe.later)).sparsity if unsure else None

    @property
    def confirming(self) -> bool:
        """Return whether what is wanted next is a later visit to a probe."""
        return self.wanted() in self._probes

    def step(self, measure: Measure) -> None:
        """Measure what is wanted, if anything is."""
        sparsity = self.wanted()
        if sparsity is None:
            return
        before = self._probes.get(sparsity)
        if before is None:
            self._probes[sparsity] = probe(measure, sparsity, self.confidence)
        else:
            self._probes[sparsity] = before.again(measure(sparsity, before.later_rounds))

    def open_width(self) -> float:
        """Return how wide the answer still is, in sparsity; before it is bracketed, 1."""
        found = turns(_signs(self._probes.values()))
        return found[-1][1] - found[0][0] if found else 1.0

    def found(self) -> Found:
        """Return the answer so far; without a change of sign, ``open`` until the scan is done.

        Raises:
            ValueError: if nothing was recorded.
        """
        crossover = from_signs(_signs(self._probes.values()), self.confidence)
        scanned = self._probes.keys() >= set(self._scan)
        if not scanned and crossover.kind in ("always", "never"):
            whole = min(self._scan), max(self._scan)
            crossover = Crossover("open", *whole, self.confidence)
        return Found(crossover, tuple(self._probes.values()))


def search(
    measure: Measure,
    confidence: float = CONFIDENCE,
    width: float = WIDTH,
    scan: Sequence[float] = SCAN,
) -> Found:
    """Return the crossover to within ``width`` of sparsity, where the noise allows it."""
    steps = Search(confidence, width, scan)
    while steps.wanted() is not None:
        steps.step(measure)
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


def _rested_on(probes: list[Probe]) -> list[Probe]:
    """Return the probes between which the sign changes; else the decided one closest to 1."""
    ends = {sparsity for turn in turns(_signs(probes)) for sparsity in turn}
    if ends:
        return [probe for probe in probes if probe.sparsity in ends]
    decided = [probe for probe in probes if probe.verdict != "undecided"]
    return sorted(decided, key=lambda probe: abs(np.log(probe.speedup)))[:1]


def _signs(probes: Iterable[Probe]) -> list[tuple[float, bool | None]]:
    faster = {"faster": True, "slower": False, "undecided": None}
    return [(probe.sparsity, faster[probe.verdict]) for probe in probes]
