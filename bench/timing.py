"""How a call is timed: calibrated samples, taken in rounds that interleave all competitors."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

Call = Callable[[], Any]

#: A sample is at least this long, so that the clock's resolution and its call do not show.
SAMPLE_S = 1e-3
_MOST_LOOPS = 1 << 20
#: Before a competitor's turn: the threads of the one before have gone to sleep by then.
_SETTLE_S = 1e-3
LEAST_ROUNDS = 5
MOST_ROUNDS = 60


class Clock(Protocol):
    """Times a number of calls, one after the other."""

    def seconds(self, call: Call, loops: int) -> float:
        """Return the seconds that ``loops`` calls took together."""


class HostClock:
    """The monotonic clock of the host, for kernels that return when they are done."""

    def seconds(self, call: Call, loops: int) -> float:
        """Return the seconds between before the first call and after the last."""
        repeat = range(loops)
        begin = time.perf_counter()
        for _ in repeat:
            call()
        return time.perf_counter() - begin


class CudaClock:
    """CUDA events on the default stream: the device's time, without the wait of the host."""

    def seconds(self, call: Call, loops: int) -> float:
        """Return the seconds between two events around ``loops`` launches."""
        cuda = importlib.import_module("cupy").cuda
        begin, end = cuda.Event(), cuda.Event()
        begin.record()
        for _ in range(loops):
            call()
        end.record()
        end.synchronize()
        return float(cuda.get_elapsed_time(begin, end)) / 1e3


def clock_for(device: str) -> Clock:
    """Return the clock that sees all of the work on ``device``."""
    return CudaClock() if device == "cuda" else HostClock()


@dataclass
class Competitor:
    """A call to time, and what was measured of it."""

    call: Call
    clock: Clock
    loops: int = 1
    #: Seconds per call, one value a round.
    samples: list[float] = field(default_factory=list)
    #: Why it is out of the race, if it is.
    failure: str | None = None


def calibrate(competitor: Competitor, sample_s: float = SAMPLE_S) -> None:
    """Set ``loops`` so that a sample takes ``sample_s``; also warms the call up."""
    loops = 1
    time.sleep(_SETTLE_S)
    competitor.call()
    while True:
        taken = competitor.clock.seconds(competitor.call, loops)
        if taken >= sample_s or loops >= _MOST_LOOPS:
            competitor.loops = loops
            return
        growth = sample_s / taken if taken > 0 else 10.0
        loops = min(_MOST_LOOPS, max(loops + 1, int(loops * min(growth, 10.0) * 1.1)))


def race(
    competitors: Mapping[str, Competitor],
    budget_s: float,
    rng: np.random.Generator,
    on_turn: Callable[[str], None],
    rounds: tuple[int, int] = (LEAST_ROUNDS, MOST_ROUNDS),
) -> None:
    """Time all competitors in rounds: each once, in random order, until the budget ends.

    ``rounds`` are the least that are run whatever the budget, and the most. Every sample follows
    a pause, in which the threads of the competitor before go to sleep, and an untimed call, which
    wakes the competitor's own threads and brings its operands back into the cache. A competitor
    that raises is out, with the reason in ``failure``; the samples of the others still pair.
    """
    for name, competitor in competitors.items():
        on_turn(name)
        _guarded(competitor, calibrate)
    end = time.perf_counter() + budget_s
    names = list(competitors)
    least, most = rounds
    for number in range(most):
        if number >= least and time.perf_counter() >= end:
            return
        for index in rng.permutation(len(names)):
            competitor = competitors[names[index]]
            if competitor.failure is None:
                on_turn(names[index])
                _guarded(competitor, _sample)


def _sample(competitor: Competitor) -> None:
    time.sleep(_SETTLE_S)
    competitor.call()
    seconds = competitor.clock.seconds(competitor.call, competitor.loops)
    competitor.samples.append(seconds / competitor.loops)


def _guarded(competitor: Competitor, action: Callable[[Competitor], None]) -> None:
    """Run ``action``; an exception is the competitor's failure, not the race's."""
    try:
        action(competitor)
    except Exception as error:
        competitor.failure = f"raised {type(error).__name__} while timed: {error}"
