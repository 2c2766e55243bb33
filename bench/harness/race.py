"""How a call is timed: calibrated samples, taken in rounds that interleave all competitors.

Nothing between two timed regions is left as it was (:mod:`bench.harness.examination`). A turn
begins with fresh values of X, in place, and with spoilt outputs: wherever an answer was kept, in
whichever array, it is out of date. The last result of the warm-up and of the timed calls is
glanced at; in one round, which no kernel can foresee, a timed result is checked whole. Operands do
not change inside a sample: to write them there would be timed as well, and weigh on the smallest
layers most. What tells a kernel that keeps its answers from an honest one are single calls, on
operands that it knows and on fresh ones (:mod:`bench.harness.examination.repeats`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crossover.bench.harness.clocks import MOST_LOOPS, Call, Clock, HostClock, View
from crossover.bench.harness.examination.examiner import Examiner, Unexamined
from crossover.bench.harness.examination.repeats import PROVEN, TOLD, Repeats, shown_slowdown
from crossover.bench.statistics.intervals import order_half_width

#: A sample is at least this long, so that the clock's resolution and its call do not show, and so
#: that most of the time goes into samples.
SAMPLE_S = 2e-3
# Flushes included: to empty the caches of a CPU takes milliseconds. And cold calls that tell what
# one takes where it takes less.
_MOST_COLD_S = 3e-2
_FEW_COLD_CALLS = 5
#: Seconds of untimed calls before each sample: the threads of the competitor before have gone to
#: sleep by then (see :mod:`bench.harness.environment`).
_WARM_UP_S = 2e-4
#: A speedup known this well needs no further round.
PRECISION = 0.02
# No call takes less; a GPU's events may say 0.
_RESOLUTION_S = 1e-9
# Beside a call of the CPU that takes so long it is little what the first one finds in the caches.
_LONG_CALL_S = 3e-4
LEAST_ROUNDS = 6
MOST_ROUNDS = 60


@dataclass
class Competitor:
    """A call to time, and what was measured of it."""

    call: Call
    clock: Clock
    #: Renews operands and judges results, untimed.
    examiner: Examiner = field(default_factory=Unexamined)
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
    #: The round in which a timed result is checked whole.
    checked_round: int = 0
    #: What the last call returned, until it is spoilt.
    returned: Any = None
    #: The same calls on operands that the kernel knows, and on fresh ones.
    repeats: Repeats = field(default_factory=Repeats)

    @property
    def has_long_calls(self) -> bool:
        """Return whether the first call of a turn is comparable to those of the sample."""
        hot_on_host = isinstance(self.clock, HostClock) and self.flush is None
        return hot_on_host and bool(self.samples) and self.samples[-1] >= _LONG_CALL_S


def calibrate(competitor: Competitor, sample_s: float = SAMPLE_S) -> None:
    """Set ``loops`` so that a sample takes ``sample_s``; also warms the call up.

    A cold sample takes at most ``_MOST_COLD_S`` with its flushes.
    """
    begin_turn(competitor)
    with _Busy(competitor):
        _warm_up(competitor)
        if competitor.flush is not None:
            competitor.loops = _cold_loops(competitor, sample_s)
            return
        competitor.loops = 1
        taken, competitor.returned = _timed(competitor)
        most = min(MOST_LOOPS, competitor.clock.most_loops)
        while taken < sample_s and competitor.loops < most:
            growth = sample_s / taken if taken > 0 else 10.0
            longer = max(competitor.loops + 1, int(competitor.loops * min(growth, 10.0) * 1.1))
            competitor.loops = min(most, longer)
            taken, competitor.returned = _timed(competitor)


def _cold_loops(competitor: Competitor, sample_s: float) -> int:
    """Return how many cold calls a sample has, by what they and their flushes take."""
    for calls in (1, _FEW_COLD_CALLS):
        competitor.loops = calls
        begin = time.perf_counter()
        taken, _ = _timed(competitor)
        with_flushes_s = time.perf_counter() - begin
        if with_flushes_s > _MOST_COLD_S / 10:
            break
    wanted = math.ceil(sample_s * competitor.loops / taken) if taken > 0 else MOST_LOOPS
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
    least, most = rounds
    for name, competitor in competitors.items():
        on_turn(name)
        competitor.checked_round = int(rng.integers(least))
        _guarded(competitor, calibrate)
    end = time.perf_counter() + budget_s
    names = list(competitors)
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
    compared = (len(competitor.samples) - competitor.checked_round) % 2 == 0
    long = competitor.has_long_calls
    begin_turn(competitor, widely=compared and long)
    with _Busy(competitor):
        fresh_s, first = _warm_up(competitor)
    problem = competitor.examiner.glance(first)
    with _Busy(competitor):
        seconds, last = _timed(competitor)
    competitor.returned = last
    competitor.samples.append(seconds / competitor.loops)
    problem = problem or _problem_of_timed(competitor, last)
    for name, view in competitor.views.items():
        with _Busy(competitor):
            seconds, _ = view.seconds(competitor.call, competitor.loops)
        competitor.seen.setdefault(name, []).append(seconds / competitor.loops)
    if compared and long:
        competitor.repeats.add(competitor.samples[-1], fresh_s)
    elif compared:
        problem = problem or add_pair(competitor, competitor.repeats)
    if problem:
        competitor.failure, competitor.wrong = f"while it was timed: {problem}", True


def begin_turn(competitor: Competitor, widely: bool = False) -> None:
    """Renew the operands and spoil the outputs, with the array that was returned last."""
    returned, competitor.returned = competitor.returned, None
    competitor.examiner.begin_turn(returned, widely)


def add_pair(competitor: Competitor, repeats: Repeats) -> str | None:
    """Time a call on known operands and one on fresh ones; return what is wrong with the latter.

    The first of three calls finds the caches as the harness left them, and is not timed.
    """
    examiner = competitor.examiner
    examiner.rewrite()
    with _Busy(competitor):
        competitor.call()
    examiner.rewrite()
    with _Busy(competitor):
        known_s, _ = competitor.clock.seconds(competitor.call, 1)
    examiner.renew()
    with _Busy(competitor):
        fresh_s, competitor.returned = competitor.clock.seconds(competitor.call, 1)
    repeats.add(max(known_s, _RESOLUTION_S), max(fresh_s, _RESOLUTION_S))
    return examiner.glance(competitor.returned)


def slowdown_on_fresh(competitor: Competitor) -> float:
    """Return by what factor fresh operands slow the kernel down, if that is certain; else 1."""
    if competitor.repeats.slowdown < (PROVEN if competitor.has_long_calls else TOLD):
        return 1.0

    def pair(repeats: Repeats) -> None:
        with _Busy(competitor):
            competitor.clock.seconds(competitor.call, competitor.loops)
        add_pair(competitor, repeats)

    call_s = float(np.median(competitor.samples))
    return shown_slowdown(call_s, competitor.loops, pair)


def examined_call(competitor: Competitor) -> Any:
    """Return the result of a timed call, after untimed ones, on operands of another kind."""
    returned, competitor.returned = competitor.returned, None
    competitor.examiner.change_kind(returned)
    _warm_up(competitor)
    return competitor.clock.seconds(competitor.call, 1)[1]


def _problem_of_timed(competitor: Competitor, result: Any) -> str | None:
    """Return what is wrong with a timed result; it is checked whole in one round."""
    if len(competitor.samples) - 1 == competitor.checked_round:
        return competitor.examiner.check(result).problem
    return competitor.examiner.glance(result)


class _Busy:
    """Adds the time inside it to what a competitor kept the machine busy with."""

    def __init__(self, competitor: Competitor) -> None:
        self.competitor = competitor

    def __enter__(self) -> None:
        self.begin = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self.competitor.busy_s += time.perf_counter() - self.begin


def _warm_up(competitor: Competitor) -> tuple[float, Any]:
    """Call for ``_WARM_UP_S``, at least once; return the first call's seconds and last result."""
    begin = time.perf_counter()
    result = competitor.call()
    first_s = time.perf_counter() - begin
    while time.perf_counter() < begin + _WARM_UP_S:
        result = competitor.call()
    return first_s, result


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
