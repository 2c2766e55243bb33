"""The adaptive search for a crossover: where does the paired log-ratio change its sign?

A scan over a few sparsities finds whether it changes, and whether more than once; then the gap
in which it changes is halved until it is narrow enough, or until no more can be decided. What a
probe decides is the sign of the median log-ratio, by an exact sign test over rounds, which assumes
only that rounds are independent.

That is not so on a machine with neighbours, whose state lasts for a second or a few and shifts the
ratio of two kernels by a quarter. So the probes that an answer rests on are visited again later,
several times, and one that the later visits do not bear out decides nothing.

A search is a function of the visits it was told of, in their order: told of stored ones, it goes on
where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import stats

from crossover.bench.statistics.crossover import CrossoverEstimate, from_signs, sign_changes
from crossover.bench.statistics.intervals import CONFIDENCE

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
    #: Rounds that the verdict took.
    rounds: int
    #: Median log-ratios of later visits.
    later: tuple[float, ...] = ()
    #: Whether more rounds could still decide it.
    unfinished: bool = False

    @property
    def confirmed(self) -> bool:
        """Return whether an answer may rest on it."""
        return abs(np.log(self.speedup)) > _CLEAR or len(self.later) >= _LATER_VISITS


@dataclass(frozen=True)
class Wanted:
    """The visit to make next."""

    sparsity: float
    rounds: int
    #: Whether it is a later visit to a probe that was decided.
    confirming: bool


class SignSearch:
    """A search over sparsity, told of visits one after the other."""

    def __init__(
        self,
        confidence: float = CONFIDENCE,
        width: float = WIDTH,
        scan: Sequence[float] = SCAN,
    ) -> None:
        self.confidence, self.width = confidence, width
        self._scan = _ends_first(scan)
        self._most = int(0.25 * (scan[-1] - scan[0]) / width)
        self._visits: dict[float, list[list[float]]] = {}
        self._probes: dict[float, Probe] = {}

    def add(self, sparsity: float, ratios: Sequence[float]) -> None:
        """Tell the search of a visit: the log of dense time / sparse time in each round."""
        self._visits.setdefault(sparsity, []).append(list(ratios))
        error = (1 - self.confidence) / _CLOSE_LOOKS
        self._probes[sparsity] = probe(sparsity, self._visits[sparsity], error)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Return what was measured, by sparsity."""
        return tuple(self._probes[sparsity] for sparsity in sorted(self._probes))

    def wanted(self) -> Wanted | None:
        """Return the visit to make next; None when nothing more can be learned.

        At most a quarter of the sparsities are wanted that a grid of step ``width`` would have.
        """
        for begun in self._probes.values():
            if begun.unfinished:
                look = next(look for look in _LOOKS if look > begun.rounds)
                return Wanted(begun.sparsity, look - begun.rounds, confirming=False)
        for sparsity in self._scan:
            if sparsity not in self._probes:
                return Wanted(sparsity, _LOOKS[0], confirming=False)
        gap = _gap_to_halve(self.probes, self.width)
        if gap is not None and len(self._probes) < max(self._most, len(self._scan)):
            return Wanted((gap[0] + gap[1]) / 2, _LOOKS[0], confirming=False)
        unsure = [each for each in _rested_on(self.probes) if not each.confirmed]
        if not unsure:
            return None
        least = min(unsure, key=lambda each: len(each.later))
        # With twice the rounds the sign is seldom missed.
        return Wanted(least.sparsity, min(_MOST_ROUNDS, 2 * least.rounds), confirming=True)

    def open_width(self) -> float:
        """Return how wide the answer still is, in sparsity; before it is bracketed, 1."""
        changes = sign_changes(_signs(self.probes))
        return changes[-1][1] - changes[0][0] if changes else 1.0

    def estimate(self) -> CrossoverEstimate:
        """Return the answer so far; without a change of sign, ``open`` until the scan is done.

        Raises:
            ValueError: if nothing was measured.
        """
        crossover = from_signs(_signs(self.probes), self.confidence)
        scanned = self._probes.keys() >= set(self._scan)
        if not scanned and crossover.kind in ("always", "never"):
            return CrossoverEstimate("open", min(self._scan), max(self._scan), self.confidence)
        return crossover


def probe(sparsity: float, visits: Sequence[Sequence[float]], error: float) -> Probe:
    """Return what ``visits`` to one sparsity decide, each a sequence of log-ratios by rounds.

    The first visits are looks at one growing sample, until its sign is decided to within
    ``error``; those after it are later visits, which must bear the verdict out.
    """
    ratios: list[float] = []
    verdict: Verdict = "undecided"
    used = 0
    for visit in visits:
        ratios.extend(visit)
        used += 1
        verdict = sign(ratios, error)
        if verdict != "undecided" or len(ratios) >= _LOOKS[-1]:
            break
    later = tuple(float(np.median(visit)) for visit in visits[used:])
    unfinished = verdict == "undecided" and len(ratios) < _LOOKS[-1]
    dissent = sum((ratio > 0) != (verdict == "faster") for ratio in later)
    if verdict != "undecided" and dissent > _MOST_DISSENT:
        verdict = "undecided"
    speedup = float(np.exp(np.median([float(np.median(ratios)), *later])))
    return Probe(sparsity, verdict, speedup, len(ratios), later, unfinished)


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


def _gap_to_halve(probes: Sequence[Probe], width: float) -> tuple[float, float] | None:
    """Return the widest gap inside the one range in which the sign changes; None if done."""
    changes = sign_changes(_signs(probes))
    if len(changes) != 1 or changes[0][1] - changes[0][0] <= width:
        return None
    low, high = changes[0]
    inside = sorted(each.sparsity for each in probes if low <= each.sparsity <= high)
    gap = max(pairwise(inside), key=lambda pair: pair[1] - pair[0])
    # Around undecided probes there is nothing left to learn from gaps this narrow.
    return gap if gap[1] - gap[0] > width / 2 else None


def _rested_on(probes: Sequence[Probe]) -> list[Probe]:
    """Return the probes between which the sign changes; else the decided one closest to 1."""
    ends = {sparsity for change in sign_changes(_signs(probes)) for sparsity in change}
    if ends:
        return [each for each in probes if each.sparsity in ends]
    decided = [each for each in probes if each.verdict != "undecided"]
    return sorted(decided, key=lambda each: abs(np.log(each.speedup)))[:1]


def _signs(probes: Iterable[Probe]) -> list[tuple[float, bool | None]]:
    faster = {"faster": True, "slower": False, "undecided": None}
    return [(each.sparsity, faster[each.verdict]) for each in probes]
