"""How calls are timed: samples long enough, rounds in random order, caches emptied."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from crossover.bench.harness import clocks
from crossover.bench.harness import race as racing
from crossover.bench.harness.clocks import HostClock
from crossover.bench.harness.examination.examiner import Unexamined
from crossover.bench.harness.race import Competitor, calibrate, race, sample
from crossover.kernels.verdicts import Verdict
from tests.fakes import Clock


class Counting:
    """Counts calls instead of seconds."""

    most_loops = 1

    def __init__(self, name: str, log: list[str], seconds: float = 1.0) -> None:
        self.name, self.log, self.taken = name, log, seconds

    def seconds(self, call: Callable[[], Any], loops: int) -> tuple[float, Any]:
        self.log.append(self.name)
        return self.taken, call()

    def cold_seconds(
        self, call: Callable[[], Any], flush: Callable[[], Any], loops: int
    ) -> tuple[float, Any]:
        raise AssertionError("was not to be cold")


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that only pauses move, and its readings by 0.1 ms."""
    clock = Clock()
    clock.still = True
    for module in (clocks, racing):
        monkeypatch.setattr(module, "time", clock)
    return clock


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_calibration_reaches_the_sample_length(still: Clock) -> None:
    competitor = Competitor(lambda: still.pause(3e-6), HostClock())
    calibrate(competitor, 2e-3)
    taken, _ = competitor.clock.seconds(competitor.call, competitor.loops)
    assert 2e-3 <= taken < 1e-2
    short = Competitor(lambda: still.pause(1.0), HostClock())
    calibrate(short, 2e-3)
    assert short.loops == 1


def test_a_round_times_each_competitor_once_in_random_order() -> None:
    order: list[str] = []
    told: list[str] = []
    competitors = {name: Competitor(lambda: None, Counting(name, order)) for name in "abcd"}
    canary: list[int] = []
    race(competitors, 1e-9, rng(), told.append, canary=lambda: canary.append(len(told)))
    assert [
        name for name, before in zip(order, [None, *order], strict=False) if name != before
    ] == [name for name, before in zip(told, [None, *told], strict=False) if name != before]
    turns = told[4:]  # without the calibration
    rounds = [tuple(turns[i : i + 4]) for i in range(0, len(turns), 4)]
    assert all(set(each) == set("abcd") for each in rounds)
    assert len(set(rounds)) > 1
    assert all(len(c.samples) == len(rounds) for c in competitors.values())
    assert canary == [4 + 4 * index for index in range(len(rounds))]


def test_rounds_are_at_least_and_at_most_so_many(still: Clock) -> None:
    def competing(spread: float) -> dict[str, Competitor]:
        drawn = rng()

        def call() -> None:
            still.pause(float(0.02 * np.exp(spread * drawn.standard_normal())))

        return {name: Competitor(call, HostClock()) for name in "ab"}

    for budget_s, spread, limits, expected in (
        (0.0, 0.5, (6, 60), 6),  # nothing left: the least
        (1e6, 0.5, (6, 9), 9),  # never precise: the most
        (1e6, 0.0, (6, 60), 7),  # as precise as is asked for
    ):
        competitors = competing(spread)
        race(competitors, budget_s, rng(), lambda _: None, limits)
        assert len(competitors["a"].samples) == expected


def test_a_competitor_that_raises_is_out_and_the_others_pair() -> None:
    calls = []

    def failing() -> None:
        calls.append(1)
        if len(calls) > 8:
            raise RuntimeError("planted")

    log: list[str] = []
    competitors = {
        "bad": Competitor(failing, Counting("bad", log)),
        "good": Competitor(lambda: None, Counting("good", log)),
    }
    race(competitors, 0.0, rng(), lambda _: None, (6, 6))
    assert competitors["bad"].failure == "raised RuntimeError while timed: planted"
    assert not competitors["bad"].wrong
    assert len(competitors["bad"].samples) < len(competitors["good"].samples) == 6


class Noting(Unexamined):
    """Notes what it is asked, and finds whatever is true wrong."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def begin_turn(self, returned: Any, widely: bool) -> None:
        self.log.append(("turn", returned))

    def renew(self) -> None:
        self.log.append("renewed")

    def rewrite(self) -> None:
        self.log.append("rewritten")

    def glance(self, result: Any) -> str | None:
        self.log.append(("glance", result))
        return "bad" if result else None

    def check(self, result: Any) -> Verdict:
        self.log.append(("check", result))
        return Verdict("bad" if result else None, 0.0, 0.0)


@pytest.fixture
def one_warm_up_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(racing, "_WARM_UP_S", -1.0)


@pytest.mark.usefixtures("one_warm_up_call")
@pytest.mark.parametrize("wrong", ["warm-up", "timed", "pair"])
def test_a_wrong_result_is_seen_in_any_call(wrong: str) -> None:
    calls = ["warm-up", "timed", "first of the pair", "known", "pair"]
    given = iter([float(each == wrong) for each in calls])
    competitor = Competitor(lambda: next(given), Counting("a", []), Noting())
    sample(competitor)
    assert (competitor.failure, competitor.wrong) == ("while it was timed: bad", True)


@pytest.mark.usefixtures("one_warm_up_call")
def test_nothing_is_left_as_it_was_between_timed_calls() -> None:
    examiner = Noting()
    competitor = Competitor(lambda: examiner.log.append("call"), Counting("a", [], 1e-6), examiner)
    competitor.checked_round = 1
    sample(competitor)
    turn, glance = ("turn", None), ("glance", None)
    assert examiner.log == [turn, "call", glance, "call", glance]
    examiner.log.clear()
    sample(competitor)
    pair = ["rewritten", "call", "rewritten", "call", "renewed", "call", glance]
    assert examiner.log == [turn, "call", glance, "call", ("check", None), *pair]


@pytest.mark.usefixtures("one_warm_up_call")
def test_what_was_returned_is_spoilt_in_the_next_turn() -> None:
    examiner, results = Noting(), [np.zeros(1) for _ in range(9)]
    given = iter(results)
    competitor = Competitor(lambda: next(given), Counting("a", []), examiner, checked_round=1)
    sample(competitor)
    examiner.log.clear()
    sample(competitor)
    assert examiner.log[0] == ("turn", results[1])


def test_a_timed_result_is_checked_whole_in_one_round() -> None:
    examiners = {name: Noting() for name in "abcdefgh"}
    competitors = {
        name: Competitor(lambda: None, Counting(name, []), each) for name, each in examiners.items()
    }
    race(competitors, 0.0, rng(), lambda _: None, (4, 4))
    rounds = set()
    for examiner in examiners.values():
        turns = "".join(each[0][0] for each in examiner.log if isinstance(each, tuple)).split("t")
        assert ["c" in turn for turn in turns].count(True) == 1
        rounds.add(next(number for number, turn in enumerate(turns) if "c" in turn))
    assert len(rounds) > 1


@pytest.mark.usefixtures("still")
def test_long_calls_need_no_pair(still: Clock) -> None:
    times = itertools.cycle([0.02, 0.01])
    examiner = Noting()
    competitor = Competitor(lambda: still.pause(next(times)), HostClock(), examiner)
    competitor.checked_round = 1
    for _ in range(4):
        sample(competitor)
    # In two rounds the first call of the warm-up is held against the sample.
    assert [each for each in examiner.log if each == "renewed"] == []
    assert len(competitor.repeats.fresh_s) == 2
    assert competitor.repeats.slowdown == pytest.approx(2, rel=0.1)


def test_the_caches_are_emptied_before_each_cold_call() -> None:
    class Timed(HostClock):
        def seconds(self, call: Callable[[], object], loops: int) -> tuple[float, object]:
            events.append("timed")
            return super().seconds(call, loops)

    events: list[str] = []
    flush, call = (lambda: events.append("flush")), (lambda: events.append("call"))
    competitor = Competitor(call, Timed(), flush=flush)
    race({"only": competitor}, 0.0, rng(), lambda _: None, (1, 1))
    assert competitor.loops > 1
    # One and five to calibrate, and a pair, which is not cold.
    assert events.count("flush") == 1 + 5 + competitor.loops
    assert events.count("timed") == 1 + 5 + competitor.loops + 2
    for before, event, after in zip(events, events[1:], events[2:], strict=False):
        if before == "flush":
            assert (event, after) == ("timed", "call")
    assert len(competitor.samples) == 1


@pytest.mark.parametrize(
    ("flush_s", "call_s", "loops"),
    [
        (4e-3, 3e-5, 7),  # of a CPU: its flushes take all the time there is
        (5e-5, 1.2e-5, 167),  # of a GPU: enough for 2 ms of a call that takes 12 µs
        (4e-3, 1.5e-3, 2),  # two are long enough
        (1e-3, 0.5, 1),
    ],
)
def test_a_cold_sample_has_as_many_calls_as_flushes_allow(
    still: Clock, flush_s: float, call_s: float, loops: int
) -> None:
    class Known(HostClock):
        def cold_seconds(self, call: Any, flush: Any, loops: int) -> tuple[float, Any]:
            still.pause(loops * (flush_s + call_s))
            return loops * call_s, None

    competitor = Competitor(lambda: None, Known(), flush=lambda: None)
    calibrate(competitor)
    assert competitor.loops == loops


def test_other_views_see_the_same_calls() -> None:
    view = Counting("view", [], seconds=4.0)
    competitor = Competitor(lambda: None, Counting("a", [], 2.0), views={"inside": view}, loops=2)
    sample(competitor)
    sample(competitor)
    assert competitor.samples == [1.0, 1.0]
    assert competitor.seen == {"inside": [2.0, 2.0]}


def test_busy_is_all_but_the_harness_itself(still: Clock) -> None:
    class Slow(Unexamined):
        def begin_turn(self, returned: object, widely: bool) -> None:
            still.pause(100.0)

        def glance(self, result: object) -> None:
            still.pause(100.0)

    competitor = Competitor(lambda: still.pause(1.0), HostClock(), Slow(), checked_round=1)
    sample(competitor)
    assert competitor.busy_s == pytest.approx(2.0, abs=0.01)
