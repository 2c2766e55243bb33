"""What the gate promises, on a simulated machine: no false alarm, nothing of size missed.

A few runs here; ``pytest -m soak`` makes a thousand, which README's figures are from.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from crossover.bench.gate.statistics import Estimate, Levels, Scatter, estimates, pooled_variance
from crossover.bench.gate.verdicts import POLICIES, decide
from tests.gate import noise

CELLS, MANY = 27, 1000


@dataclass
class Outcome:
    """What simulated runs report: of the planted cell, and of the others."""

    planted: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    alarms: int = 0


def simulated(runs: int, slower: float, seed: int, kind: noise.Noise | None = None) -> Outcome:
    """Return what so many runs report in which one cell of head is slower; each run draws anew."""
    rng, outcome = np.random.default_rng(seed), Outcome()
    for _ in range(runs):
        planted, *others = noise.gate([slower] + [0.0] * (CELLS - 1), rng, kind)
        outcome.planted[planted.verdict] += 1
        outcome.others.update(each.verdict for each in others)
        outcome.alarms += any(
            each.regression for each in (others if slower else [planted, *others])
        )
    return outcome


def test_identical_code_is_reported_in_at_most_one_run_of_a_hundred() -> None:
    assert simulated(100, 0.0, seed=1).alarms <= 1


def test_a_quiet_machine_is_committed_to() -> None:
    """Quiet, but not because it never commits itself."""
    others = simulated(20, 0.0, seed=2, kind=noise.PLAIN).others
    assert others["same"] > 0.5 * others.total(), others


def test_five_percent_are_found_and_nothing_else_is() -> None:
    outcome = simulated(100, 0.05, seed=3)
    # Of a true 95 of 100, 90 are found in all but 2 % of the draws; the soak says it better.
    assert outcome.planted["slower"] >= 90, outcome
    assert outcome.alarms <= 1


def test_two_percent_are_never_the_same() -> None:
    for kind in (noise.Noise(), noise.PLAIN):
        assert simulated(100, 0.02, seed=4, kind=kind).planted["same"] == 0


def test_a_load_that_comes_and_goes_raises_no_alarm() -> None:
    assert simulated(30, 0.0, seed=5, kind=noise.LOADED).alarms == 0


@pytest.mark.soak
@pytest.mark.parametrize("kind", [noise.Noise(), noise.PLAIN, noise.LOADED], ids=str)
def test_a_thousand_runs_raise_ten_alarms_at_most(kind: noise.Noise) -> None:
    outcome = simulated(MANY, 0.0, seed=11, kind=kind)
    print(outcome)
    assert outcome.alarms <= 0.01 * MANY, outcome


@pytest.mark.soak
@pytest.mark.parametrize("kind", [noise.Noise(), noise.PLAIN], ids=str)
def test_five_percent_are_found_in_95_of_a_hundred(kind: noise.Noise) -> None:
    outcome = simulated(MANY, 0.05, seed=12, kind=kind)
    print(outcome)
    assert outcome.planted["slower"] >= 0.95 * MANY, outcome
    assert outcome.alarms <= 0.01 * MANY, outcome


@pytest.mark.soak
def test_two_percent_are_hardly_ever_the_same() -> None:
    outcome = simulated(MANY, 0.02, seed=13, kind=noise.PLAIN)
    print(outcome)
    assert outcome.planted["same"] <= 2, outcome


def test_a_restless_control_vetoes() -> None:
    """Head is slower by 6 %, for sure; but so is one of two processes of base, nearly."""
    quiet, restless = (Estimate(0.06, 0.005, control, 100, 30) for control in (0.01, 0.04))
    assert decide(POLICIES["time"], quiet, quiet, 27) == ("slower", "")
    verdict, note = decide(POLICIES["time"], quiet, restless, 27)
    assert verdict == "ambiguous"
    assert "the A/A control moved by +4.1%" in note


SEEN = Estimate(0.05, 0.005, 0, 100, 30)


@pytest.mark.parametrize(
    ("again", "note"),
    [
        (None, "flagged, not measured again"),
        (replace(SEEN, value=0.02), "not confirmed"),
        (replace(SEEN, value=-0.05), "not confirmed"),
        (replace(SEEN, error=0.02), "within the noise"),
        (replace(SEEN, visits=5), "5 visits are too few"),
    ],
)
def test_a_regression_needs_all_of_it(again: Estimate | None, note: str) -> None:
    assert decide(POLICIES["time"], SEEN, again, 27) == ("ambiguous", note)


def test_the_same_error_known_by_fewer_processes_decides_less() -> None:
    """Four processes alone would need t = 23 where many need 3.6, and find nothing."""
    many, few = (Estimate(0.06, 0.005, 0, 100, freedom) for freedom in (100, 3))
    assert decide(POLICIES["time"], many, many, 66)[0] == "slower"
    assert decide(POLICIES["time"], few, few, 66) == ("ambiguous", "within the noise")


def drawn(kind: noise.Noise, scale: float = 1.0, cells: int = 30) -> list[Levels]:
    rng = np.random.default_rng(6)
    return noise.levels([0.0] * cells, (6, 30), kind, rng, np.full(cells, scale))


def test_what_processes_differ_by_is_in_the_error() -> None:
    quiet = noise.Noise(process=0, sample=0, placement=0, wander=0, bursts=0, state=0)
    restless = noise.Noise(process=0.03, sample=0, placement=0, wander=0, bursts=0, state=0)
    pooled = pooled_variance(Scatter.of(each) for each in drawn(restless))
    # Of head less the mean of two copies.
    assert np.sqrt(pooled.variance) == pytest.approx(0.03 * np.sqrt(1.5), rel=0.25)
    (error, *_) = (each.error for each in estimates(dict(enumerate(drawn(quiet))), 0.003).values())
    assert error == pytest.approx(0.003 * np.sqrt(0.75 / 6), rel=1e-6), "no less than the floor"


def test_the_freedom_is_that_of_all_cells_that_are_alike() -> None:
    """Thirty cells of six processes each know a common variance by 150 degrees of freedom."""
    alike = dict(enumerate(drawn(noise.PLAIN)))
    (one, *_) = estimates(alike).values()
    assert one.freedom > 25
    (alone,) = estimates({0: alike[0]}).values()
    assert alone.freedom == pytest.approx(5)
    # A noisy cell among quiet ones keeps most of its own variance, and knows it less well.
    mixed = alike | {99: drawn(noise.PLAIN, scale=5.0, cells=1)[0]}
    found = estimates(mixed)
    assert found[99].error > 2 * found[0].error
    assert found[99].freedom < 25


def test_a_single_process_decides_nothing() -> None:
    levels = Levels([("only", 0.0, 0.0, 0.06 + 0.001 * (visit % 3)) for visit in range(30)])
    (estimate,) = estimates({0: levels}).values()
    assert estimate.freedom == 0
    assert estimate.interval(0.95) == (-np.inf, np.inf)
    assert decide(POLICIES["time"], estimate, estimate, 1)[0] == "ambiguous"


def test_visits_of_one_process_do_not_count_as_independent() -> None:
    """Ten times the visits in as many processes do not make an interval a third as wide."""
    few, many = (
        noise.levels([0.0] * 30, (4, visits), noise.Noise(sample=0, placement=0, wander=0,
                     bursts=0, state=0, process=0.01), np.random.default_rng(7), np.ones(30))
        for visits in (12, 120)
    )  # fmt: skip
    short, long = (estimates(dict(enumerate(each)))[0].error for each in (few, many))
    assert long > 0.7 * short


def test_intervals_hold_the_truth_where_noise_is_not_the_kind_assumed() -> None:
    rng, inside = np.random.default_rng(8), []
    for _ in range(20):
        scale = noise.sizes(CELLS, noise.Noise(), rng)
        cells = noise.levels([0.0] * CELLS, noise.AGAIN, noise.Noise(), rng, scale)
        for each in estimates(dict(enumerate(cells)), 0.003).values():
            low, high = each.interval(0.95)
            inside.append(low <= 0 <= high)
    assert np.mean(inside) >= 0.93
