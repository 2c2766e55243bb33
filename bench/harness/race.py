"""How a call is timed: calibrated samples, taken in rounds that interleave all competitors."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from crossover.bench.statistics.intervals import order_half_width

Call = Callable[[], Any]

#: A sample is at least this long, so that the clock's resolution and its call do not show, and so
#: that most of the time goes into samples.
SAMPLE_S = 2e-3
_MOST_LOOPS = 1 << 20
_MOST_COLD_LOOPS = 5
#: Seconds of untimed calls before each sample: the threads of the competitor before have gone to
#: sleep by then (see :mod:`bench.harness.environment`).
_WARM_UP_S = 2e-4
#: A speedup known this well needs no further round.
PRECISION = 0.02
_CANARY = bytes(1 << 14)
_CANARY_CALLS = 20
LEAST_ROUNDS = 6
MOST_ROUNDS = 60


class Clock(Protocol):
    """Times a number of calls, one after the other."""

    #: More calls than this it cannot time in one go.
    most_loops: int

    def seconds(self, call: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds that ``loops`` calls took together, and what the last returned."""


class HostClock:
    """The monotonic clock of the host, for kernels that return when they are done."""

    most_loops = _MOST_LOOPS

    def seconds(self, call: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds between before the first call and after the last."""
        repeat, result = range(loops), None
        begin = time.perf_counter()
        for _ in repeat:
            result = call()
        return time.perf_counter() - begin, result


@dataclass
class Competitor:
    """A call to time, and what was measured of it."""

    call: Call
    clock: Clock
    #: Says what is wrong with a result, or None; asked after every sample, untimed.
    problem_of: Callable[[Any], str | None] = lambda result: None  # noqa: ARG005
    loops: int = 1
    #: Seconds per call, one value a round.
    samples: list[float] = field(default_factory=list)
    #: Why it is out of the race, if it is.
    failure: str | None = None
    #: Whether that is a wrong result.
    wrong: bool = False
    #: Empties the caches, where cold calls are timed: then it goes before each of them.
    flush: Call | None = None
    #: Further ways to see the same calls, each once a round; and what they saw.
    views: Mapping[str, Clock] = field(default_factory=dict)
    seen: dict[str, list[float]] = field(default_factory=dict)
    #: Seconds of warm-up, flush and timed calls: all but the harness's own work.
    busy_s: float = 0.0


def calibrate(competitor: Competitor, sample_s: float = SAMPLE_S) -> None:
    """Set ``loops`` so that a sample takes ``sample_s``; also warms the call up.

    A cold sample has at most ``_MOST_COLD_LOOPS`` calls: to empty the caches takes milliseconds.
    """
    with _Busy(competitor):
        _warm_up(competitor)
        competitor.loops = 1
        taken, _ = _timed(competitor)
        if competitor.flush is not None:
            competitor.loops = min(_MOST_COLD_LOOPS, max(1, math.ceil(sample_s / taken)))
            return
        most = min(_MOST_LOOPS, competitor.clock.most_loops)
        while taken < sample_s and competitor.loops < most:
            growth = sample_s / taken if taken > 0 else 10.0
            longer = max(competitor.loops + 1, int(competitor.loops * min(growth, 10.0) * 1.1))
            competitor.loops = min(most, longer)
            taken, _ = _timed(competitor)


def race(
    competitors: Mapping[str, Competitor],
    budget_s: float,
    rng: np.random.Generator,
    on_turn: Callable[[str], None],
    rounds: tuple[int, int] = (LEAST_ROUNDS, MOST_ROUNDS),
) -> list[float]:
    """Time all competitors in rounds, and return the seconds of the canary in each round.

    A round times each competitor once, in random order, and a fixed canary, by which a change of
    the machine can be told from one of a kernel. ``rounds`` are the least that are run whatever
    the budget, and the most; between them the race ends when the budget does, or when every
    speedup is known to ± ``PRECISION``.

    Every sample follows untimed calls, in which the threads of the competitor before go to sleep,
    the competitor's own wake, and its operands come back into the cache. A competitor that raises,
    or whose result is wrong, is out, with the reason in ``failure``; the samples of the others
    still pair.
    """
    for name, competitor in competitors.items():
        on_turn(name)
        _guarded(competitor, calibrate)
    end = time.perf_counter() + budget_s
    names = list(competitors)
    canary: list[float] = []
    least, most = rounds
    for number in range(most):
        if number >= least:
            running = [each for each in competitors.values() if each.failure is None]
            if time.perf_counter() >= end or (number % 2 and _precise(running)):
                break
        canary.append(_canary_s())
        for index in rng.permutation(len(names)):
            competitor = competitors[names[index]]
            if competitor.failure is None:
                on_turn(names[index])
                _guarded(competitor, sample)
    return canary


def sample(competitor: Competitor) -> None:
    """Add a sample to what was measured of ``competitor``, after untimed calls."""
    with _Busy(competitor):
        first = _warm_up(competitor)
    problem = competitor.problem_of(first)
    with _Busy(competitor):
        seconds, last = _timed(competitor)
        competitor.samples.append(seconds / competitor.loops)
        for name, view in competitor.views.items():
            seconds, _ = view.seconds(competitor.call, competitor.loops)
            competitor.seen.setdefault(name, []).append(seconds / competitor.loops)
    if problem := problem or competitor.problem_of(last):
        competitor.failure, competitor.wrong = problem, True


class _Busy:
    """Adds the time inside it to what a competitor kept the machine busy with."""

    def __init__(self, competitor: Competitor) -> None:
        self.competitor = competitor

    def __enter__(self) -> None:
        self.begin = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self.competitor.busy_s += time.perf_counter() - self.begin


def _warm_up(competitor: Competitor) -> Any:
    """Call for ``_WARM_UP_S``, at least once; return the last result."""
    end = time.perf_counter() + _WARM_UP_S
    result = competitor.call()
    while time.perf_counter() < end:
        result = competitor.call()
    return result


def _timed(competitor: Competitor) -> tuple[float, Any]:
    """Return the seconds of a sample's calls, and the last result; cold calls one by one."""
    if competitor.flush is None:
        return competitor.clock.seconds(competitor.call, competitor.loops)
    total, last = 0.0, None
    for _ in range(competitor.loops):
        competitor.flush()
        seconds, last = competitor.clock.seconds(competitor.call, 1)
        total += seconds
    return total, last


def _precise(running: Sequence[Competitor]) -> bool:
    """Return whether every speedup over the fastest competitor is known to ± ``PRECISION``."""
    logs = np.log([each.samples for each in running])
    if not logs.size:
        return True
    ratios = logs - logs[np.median(logs, axis=1).argmin()]
    return all(order_half_width(ratio) <= PRECISION for ratio in ratios)


def _canary_s() -> float:
    """Return the seconds of a fixed piece of work on one thread, in the nearest cache."""
    zlib.crc32(_CANARY)
    begin = time.perf_counter()
    for _ in range(_CANARY_CALLS):
        zlib.crc32(_CANARY)
    return time.perf_counter() - begin


def _guarded(competitor: Competitor, action: Callable[[Competitor], None]) -> None:
    """Run ``action``; an exception is the competitor's failure, not the race's."""
    try:
        action(competitor)
    except Exception as error:
        competitor.failure = f"raised {type(error).__name__} while timed: {error}"
