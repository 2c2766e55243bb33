"""How a call is timed: calibrated samples, taken in rounds that interleave all competitors."""

from __future__ import annotations

import math
import time
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
# Flushes included: to empty the caches of a CPU takes milliseconds. And cold calls that tell what
# one takes where it takes less.
_MOST_COLD_S = 3e-2
_FEW_COLD_CALLS = 5
#: Seconds of untimed calls before each sample: the threads of the competitor before have gone to
#: sleep by then (see :mod:`bench.harness.environment`).
_WARM_UP_S = 2e-4
#: A speedup known this well needs no further round.
PRECISION = 0.02
LEAST_ROUNDS = 6
MOST_ROUNDS = 60


class View(Protocol):
    """Times a number of calls, one after the other."""

    #: More calls than this it cannot time in one go.
    most_loops: int

    def seconds(self, call: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds that ``loops`` calls took together, and what the last returned."""


class Clock(View, Protocol):
    """Times calls one by one, too."""

    def cold_seconds(self, call: Call, flush: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds of ``loops`` calls, each after an untimed flush, and the last result.

        A pool of threads has gone to sleep by the end of a flush, so that a call wakes its own.
        """


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

    def cold_seconds(self, call: Call, flush: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds of calls that are timed one by one, each after a flush."""
        total, result = 0.0, None
        for _ in range(loops):
            flush()
            seconds, result = self.seconds(call, 1)
            total += seconds
        return total, result


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
    views: Mapping[str, View] = field(default_factory=dict)
    seen: dict[str, list[float]] = field(default_factory=dict)
    #: Seconds of warm-up, flush and timed calls: all but the harness's own work.
    busy_s: float = 0.0


def calibrate(competitor: Competitor, sample_s: float = SAMPLE_S) -> None:
    """Set ``loops`` so that a sample takes ``sample_s``; also warms the call up.

    A cold sample takes at most ``_MOST_COLD_S`` with its flushes.
    """
    with _Busy(competitor):
        _warm_up(competitor)
        if competitor.flush is not None:
            competitor.loops = _cold_loops(competitor, sample_s)
            return
        competitor.loops = 1
        taken, _ = _timed(competitor)
        most = min(_MOST_LOOPS, competitor.clock.most_loops)
        while taken < sample_s and competitor.loops < most:
            growth = sample_s / taken if taken > 0 else 10.0
            longer = max(competitor.loops + 1, int(competitor.loops * min(growth, 10.0) * 1.1))
            competitor.loops = min(most, longer)
            taken, _ = _timed(competitor)


def _cold_loops(competitor: Competitor, sample_s: float) -> int:
    """Return how many cold calls a sample has, by what they and their flushes take."""
    for calls in (1, _FEW_COLD_CALLS):
        competitor.loops = calls
        begin = time.perf_counter()
        taken, _ = _timed(competitor)
        with_flushes_s = time.perf_counter() - begin
        if with_flushes_s > _MOST_COLD_S / 10:
            break
    wanted = math.ceil(sample_s * competitor.loops / taken) if taken > 0 else _MOST_LOOPS
    return max(1, min(wanted, int(_MOST_COLD_S * competitor.loops / with_flushes_s)))


def race(
    competitors: Mapping[str, Competitor],
    budget_s: float,
    rng: np.random.Generator,
    on_turn: Callable[[str], None],
    rounds: tuple[int, int] = (LEAST_ROUNDS, MOST_ROUNDS),
    canary: Callable[[], None] = lambda: None,
) -> None:
    """Time all competitors in rounds, and have the canary do its work in each.

    A round times each competitor once, in random order. ``rounds`` are the least that are run
    whatever the budget, and the most; between them the race ends when the budget does, or when
    every speedup is known to ± ``PRECISION``.

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
    least, most = rounds
    for number in range(most):
        if number >= least:
            running = [each for each in competitors.values() if each.failure is None]
            if time.perf_counter() >= end or (number % 2 and _precise(running)):
                break
        canary()
        for index in rng.permutation(len(names)):
            competitor = competitors[names[index]]
            if competitor.failure is None:
                on_turn(names[index])
                _guarded(competitor, sample)


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
    clock, flush = competitor.clock, competitor.flush
    if flush is None:
        return clock.seconds(competitor.call, competitor.loops)
    return clock.cold_seconds(competitor.call, flush, competitor.loops)


def _precise(running: Sequence[Competitor]) -> bool:
    """Return whether every speedup over the fastest competitor is known to ± ``PRECISION``."""
    logs = np.log([each.samples for each in running])
    if not logs.size:
        return True
    ratios = logs - logs[np.median(logs, axis=1).argmin()]
    return all(order_half_width(ratio) <= PRECISION for ratio in ratios)


def _guarded(competitor: Competitor, action: Callable[[Competitor], None]) -> None:
    """Run ``action``; an exception is the competitor's failure, not the race's."""
    try:
        action(competitor)
    except Exception as error:
        competitor.failure = f"raised {type(error).__name__} while timed: {error}"
