"""How a call is timed: calibrated samples, taken in rounds that interleave all competitors."""

from __future__ import annotations

import importlib
import math
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from bench.intervals import order_half_width

Call = Callable[[], Any]

#: A sample is at least this long, so that the clock's resolution and its call do not show.
SAMPLE_S = 1e-3
_MOST_LOOPS = 1 << 20
_MOST_COLD_LOOPS = 5
#: Before a competitor's turn: the threads of the one before have gone to sleep by then.
_SETTLE_S = 1e-3
#: A speedup known this well needs no further round.
PRECISION = 0.02
_CANARY = bytes(1 << 14)
_CANARY_CALLS = 20
LEAST_ROUNDS = 6
MOST_ROUNDS = 60


class Clock(Protocol):
    """Times a number of calls, one after the other."""

    def seconds(self, call: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds that ``loops`` calls took together, and what the last returned."""


class HostClock:
    """The monotonic clock of the host, for kernels that return when they are done."""

    def seconds(self, call: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds between before the first call and after the last."""
        repeat, result = range(loops), None
        begin = time.perf_counter()
        for _ in repeat:
            result = call()
        return time.perf_counter() - begin, result


class CudaClock:
    """CUDA events on the default stream: the device's time, without the wait of the host."""

    def seconds(self, call: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds between two events around ``loops`` launches."""
        cuda, result = importlib.import_module("cupy").cuda, None
        begin, end = cuda.Event(), cuda.Event()
        begin.record()
        for _ in range(loops):
            result = call()
        end.record()
        end.synchronize()
        return float(cuda.get_elapsed_time(begin, end)) / 1e3, result


def flusher(device: str, last_cache_bytes: int) -> Call:
    """Return a function that writes over all caches: twice ``last_cache_bytes``, or a GPU's L2."""
    if device != "cuda":
        room = np.zeros(2 * last_cache_bytes, np.uint8)
        return lambda: room.fill(1)
    cupy = importlib.import_module("cupy")
    size = int(cupy.cuda.Device().attributes["L2CacheSize"])
    on_device = cupy.zeros(2 * size, cupy.uint8)
    return lambda: on_device.fill(1)


def clock_for(device: str) -> Clock:
    """Return the clock that sees all of the work on ``device``."""
    return CudaClock() if device == "cuda" else HostClock()


@dataclass
class Competitor:
    """A call to time, and what was measured of it."""

    call: Call
    clock: Clock
    #: Says what is wrong with a result, or None; asked after every sample, untimed.
    doubt: Callable[[Any], str | None] = lambda result: None  # noqa: ARG005
    loops: int = 1
    #: Seconds per call, one value a round.
    samples: list[float] = field(default_factory=list)
    #: Why it is out of the race, if it is.
    failure: str | None = None
    #: Whether that is a wrong result.
    wrong: bool = False
    #: Empties the caches, where cold calls are timed: then it goes before each of them.
    flush: Call | None = None


def calibrate(competitor: Competitor, sample_s: float = SAMPLE_S) -> None:
    """Set ``loops`` so that a sample takes ``sample_s``; also warms the call up.

    A cold sample has at most ``_MOST_COLD_LOOPS`` calls: to empty the caches takes milliseconds.
    """
    loops = 1
    time.sleep(_SETTLE_S)
    competitor.call()
    if competitor.flush is not None:
        taken, _ = _timed(competitor)
        competitor.loops = min(_MOST_COLD_LOOPS, max(1, math.ceil(sample_s / taken)))
        return
    while True:
        taken, _ = competitor.clock.seconds(competitor.call, loops)
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
) -> list[float]:
    """Time all competitors in rounds, and return the seconds of the canary in each round.

    A round times each competitor once, in random order, and a fixed canary, by which a change of
    the machine can be told from one of a kernel. ``rounds`` are the least that are run whatever
    the budget, and the most; between them the race ends when the budget does, or when every
    speedup is known to ± ``PRECISION``.

    Every sample follows a pause, in which the threads of the competitor before go to sleep, and an
    untimed call, which wakes the competitor's own threads and brings its operands back into the
    cache. A competitor that raises, or whose result is doubted, is out, with the reason in
    ``failure``; the samples of the others still pair.
    """
    for name, competitor in competitors.items():
        on_turn(name)
        _guarded(competitor, calibrate)
    end = time.perf_counter() + budget_s
    names = list(competitors)
    canary: list[float] = []
    least, most = rounds
    for number in range(most):
        ended = time.perf_counter() >= end or _precise(list(competitors.values()))
        if number >= least and ended:
            break
        canary.append(_canary_s())
        for index in rng.permutation(len(names)):
            competitor = competitors[names[index]]
            if competitor.failure is None:
                on_turn(names[index])
                _guarded(competitor, _sample)
    return canary


def _sample(competitor: Competitor) -> None:
    time.sleep(_SETTLE_S)
    first = competitor.call()
    problem = competitor.doubt(first)
    seconds, last = _timed(competitor)
    competitor.samples.append(seconds / competitor.loops)
    if problem := problem or competitor.doubt(last):
        competitor.failure, competitor.wrong = problem, True


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


def _precise(competitors: list[Competitor]) -> bool:
    """Return whether every speedup over the fastest competitor is known to ± ``PRECISION``."""
    running = [each for each in competitors if each.failure is None]
    if not running or not running[0].samples:
        return False
    fastest = min(running, key=lambda each: float(np.median(each.samples)))
    logs = np.log(fastest.samples)
    return all(order_half_width(np.log(each.samples) - logs) <= PRECISION for each in running)


def _canary_s() -> float:
    """Return the seconds of a fixed piece of work on one thread, in the nearest cache."""
    time.sleep(_SETTLE_S)
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
