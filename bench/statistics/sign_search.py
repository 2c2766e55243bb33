"""The adaptive search for a crossover: where does the paired log-ratio change its sign?

A scan over a few sparsities finds whether it changes, and whether more than once; then the gap
in which it changes is halved until it is narrow enough, or until no more can be decided. What a
probe decides is the sign of the median log-ratio, by an exact sign test over rounds, which assumes
only that rounds are independent.

That is not so on a machine with neighbours, whose state lasts for a second or a few and shifts the
ratio of two kernels by a quarter. So the probes that an answer rests on are visited again later,
several times and by another process, and one that the later visits do not bear out decides nothing.

Where two curves run side by side no budget decides a sign. A probe whose visits agree that the two
are within :data:`LEVEL` of each other says so, and is done.

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
from crossover.bench.statistics.intervals import CONFIDENCE, order_half_width

Verdict = Literal["faster", "slower", "level", "undecided"]

#: Scanned first. A range in which the answer differs is missed if it lies between two of these.
SCAN = (0.0, 0.4, 0.7, 0.88, 0.99)
WIDTH = 0.02
#: Two kernels are level if neither is faster by more than this share, and if as many visits agree.
LEVEL = 0.02
_LEVEL_VISITS = 4
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
# No state of the machine turns the sign of a log-ratio as far from zero as this: few visits do.
_CLEAR, _CLEAR_VISITS = 0.4, 2
# Probes beyond the scan that any search may make, however wide the answer may stay.
_MORE_PROBES = 7


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
    #: The worker processes of its visits.
    processes: tuple[str, ...] = ()

    @property
    def confirmed(self) -> bool:
        """Return whether an answer may rest on it."""
        clear = abs(np.log(self.speedup)) > _CLEAR
        enough = len(self.later) >= (_CLEAR_VISITS if clear else _LATER_VISITS)
        return enough and len(self.processes) > 1


@dataclass(frozen=True)
class Wanted:
    """The visit to make next."""

    sparsity: float
    rounds: int
    #: Whether it is a later visit to a probe that was decided.
    confirming: bool
    #: The process in which it must not be made, for all visits so far were; or nothing.
    not_in: str = ""


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
        grid = int(0.25 * (scan[-1] - scan[0]) / width)
        self._most = max(grid, len(scan) + _MORE_PROBES)
        self._probes: dict[float, Probe] = {}

    def tell(
        self, sparsity: float, visits: Sequence[Sequence[float]], processes: Sequence[str]
    ) -> None:
        """Tell the search of all visits to a sparsity, in their order, and of their processes.

        A visit is the log of dense time / sparse time in each round.
        """
        error = (1 - self.confidence) / _CLOSE_LOOKS
        self._probes[sparsity] = probe(sparsity, visits, error, processes)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Return what was measured, by sparsity."""
        return tuple(self._probes[sparsity] for sparsity in sorted(self._probes))

    def wanted(self) -> Wanted | None:
        """Return the visit to make next; None when nothing more can be learned.

        At most a quarter of the sparsities are wanted that a grid of step ``width`` would have, or
        a few more than are scanned.
        """
        for begun in self._probes.values():
            if begun.unfinished and begun.verdict == "undecided":
                return _another_look(begun)
        for sparsity in self._scan:
            if sparsity not in self._probes:
                return Wanted(sparsity, _LOOKS[0], confirming=False)
        gap = _gap_to_halve(self.probes, self.width)
        if gap is not None and len(self._probes) < self._most:
            return Wanted((gap[0] + gap[1]) / 2, _LOOKS[0], confirming=False)
        if (level := self._could_narrow()) is not None:
            return _another_look(level)
        unsure = [each for each in _rested_on(self.probes) if not each.confirmed]
        if not unsure:
            return None
        least = min(unsure, key=lambda each: len(each.later))
        # As many rounds as it took: with more the sign is seldom missed, and others wait.
        rounds, half = min(_MOST_ROUNDS, least.rounds), len(least.later) >= _CLEAR_VISITS - 1
        not_in = least.processes[0] if half and len(least.processes) == 1 else ""
        return Wanted(least.sparsity, rounds, confirming=True, not_in=not_in)

    @property
    def confirmed(self) -> bool:
        """Return whether the scan is done, and later visits bore out what the answer rests on."""
        scanned = self._probes.keys() >= set(self._scan)
        return scanned and all(each.confirmed for each in _rested_on(self.probes))

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
        if level := self._level(crossover):
            return level
        scanned = self._probes.keys() >= set(self._scan)
        if not scanned and crossover.kind in ("always", "never"):
            return CrossoverEstimate("open", min(self._scan), max(self._scan), self.confidence)
        return crossover

    def _could_narrow(self) -> Probe | None:
        """Return a probe that is level so far, and the least looked at, if its sign would help.

        It would not where the two are level over a range.
        """
        crossover = from_signs(_signs(self.probes), self.confidence)
        if crossover.kind != "between" or crossover.high - crossover.low <= self.width:
            return None
        if self._level(crossover):
            return None
        inside = [p for p in self.probes if crossover.low < p.sparsity < crossover.high]
        return min((p for p in inside if p.unfinished), key=lambda p: p.rounds, default=None)

    def _level(self, crossover: CrossoverEstimate) -> CrossoverEstimate | None:
        """Return over which sparsities the two are level, if that alone keeps the answer wide."""
        if (
            crossover.kind not in ("between", "open")
            or crossover.high - crossover.low <= self.width
        ):
            return None
        inside = [p for p in self.probes if crossover.low <= p.sparsity <= crossover.high]
        between = [each for each in inside if each.verdict in ("level", "undecided")]
        if not between or any(each.verdict == "undecided" for each in between):
            return None
        low, high = between[0].sparsity, between[-1].sparsity
        # Close to any crossover two curves are level.
        if high - low <= self.width:
            return None
        return CrossoverEstimate("level", low, high, self.confidence)


def probe(
    sparsity: float,
    visits: Sequence[Sequence[float]],
    error: float,
    processes: Sequence[str] = (),
) -> Probe:
    """Return what ``visits`` to one sparsity decide, each a sequence of log-ratios by rounds.

    The first visits are looks at one growing sample, until its sign is decided to within
    ``error``; those after it are later visits, which must bear the verdict out. One that is level
    so far may be looked at again.
    """
    ratios: list[float] = []
    medians = [float(np.median(visit)) for visit in visits]
    verdict: Verdict = "undecided"
    used = 0
    for visit in visits:
        ratios.extend(visit)
        used += 1
        verdict = sign(ratios, error)
        if verdict == "undecided" and _is_level(medians[:used], ratios):
            verdict = "level"
        if verdict in ("faster", "slower") or len(ratios) >= _LOOKS[-1]:
            break
    later = tuple(medians[used:])
    unfinished = verdict in ("level", "undecided") and len(ratios) < _LOOKS[-1]
    dissent = sum((ratio > 0) != (verdict == "faster") for ratio in later)
    if verdict in ("faster", "slower") and dissent > _MOST_DISSENT:
        verdict = "undecided"
    speedup = float(np.exp(np.median([float(np.median(ratios)), *later])))
    distinct = tuple(dict.fromkeys(processes))
    return Probe(sparsity, verdict, speedup, len(ratios), later, unfinished, distinct)


def _is_level(medians: Sequence[float], ratios: Sequence[float]) -> bool:
    """Return whether visits agree, and rounds know, that log-ratios lie within ``LEVEL`` of 0."""
    if len(medians) < _LEVEL_VISITS:
        return False
    most = float(np.log1p(LEVEL))
    middle, half = float(np.median(ratios)), order_half_width(ratios)
    return abs(float(np.mean(medians))) <= most and abs(middle) + half <= most


def _another_look(begun: Probe) -> Wanted:
    look = next(look for look in _LOOKS if look > begun.rounds)
    return Wanted(begun.sparsity, look - begun.rounds, confirming=False)


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
    decided = [each for each in probes if each.verdict in ("faster", "slower")]
    return sorted(decided, key=lambda each: abs(np.log(each.speedup)))[:1]


def _signs(probes: Iterable[Probe]) -> list[tuple[float, bool | None]]:
    faster = {"faster": True, "slower": False}
    return [(each.sparsity, faster.get(each.verdict)) for each in probes]
