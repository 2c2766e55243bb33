"""What the gate promises, on a simulated machine: no false alarm, nothing of size missed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from crossover.bench.gate.statistics import Estimate, between_process_std, estimates
from crossover.bench.gate.verdicts import POLICIES, decide
from tests.gate import noise

CELLS, REPETITIONS = 27, 100


def test_identical_code_is_reported_in_at_most_one_run_of_a_hundred() -> None:
    rng = np.random.default_rng(1)
    verdicts: Counter[str] = Counter()
    reported = 0
    for _ in range(REPETITIONS):
        found = noise.gate([0.0] * CELLS, rng)
        reported += any(each.regression for each in found)
        verdicts.update(each.verdict for each in found)
    assert reported <= 1
    # Quiet, but not because it never commits itself.
    assert verdicts["same"] > 0.3 * CELLS * REPETITIONS, verdicts


def test_five_percent_are_found_and_nothing_else_is() -> None:
    rng = np.random.default_rng(2)
    # Many at a time: each is judged on its own, with the correction for as many.
    found = noise.gate([0.05] * REPETITIONS + [0.0] * CELLS, rng)
    assert sum(each.verdict == "slower" for each in found[:REPETITIONS]) >= 95
    assert not any(each.regression for each in found[REPETITIONS:])


def test_two_percent_are_never_the_same() -> None:
    rng = np.random.default_rng(3)
    verdicts = Counter(each.verdict for each in noise.gate([0.02] * 500, rng))
    assert set(verdicts) <= {"ambiguous", "slower"}, verdicts


def test_a_load_that_comes_and_goes_raises_no_alarm() -> None:
    rng = np.random.default_rng(4)
    reports = [noise.gate([0.0] * CELLS, rng, noise.loaded()) for _ in range(30)]
    assert not any(each.regression for found in reports for each in found)


def test_a_restless_control_vetoes() -> None:
    """Head is slower by 6 %, for sure; but so is one of two processes of base, nearly."""
    quiet, restless = (Estimate(0.06, 0.005, control, 100) for control in (0.01, 0.04))
    assert decide(POLICIES["time"], quiet, quiet, 27) == ("slower", "")
    verdict, note = decide(POLICIES["time"], quiet, restless, 27)
    assert verdict == "ambiguous"
    assert "the A/A control moved by +4.1%" in note


@pytest.mark.parametrize(
    ("first", "again", "note"),
    [
        (Estimate(0.05, 0.005, 0, 100), None, "flagged, not measured again"),
        (Estimate(0.05, 0.005, 0, 100), Estimate(0.02, 0.005, 0, 100), "not confirmed"),
        (Estimate(0.05, 0.005, 0, 100), Estimate(-0.05, 0.005, 0, 100), "not confirmed"),
        (Estimate(0.05, 0.005, 0, 100), Estimate(0.05, 0.02, 0, 100), "within the noise"),
        (Estimate(0.05, 0.005, 0, 100), Estimate(0.05, 0.005, 0, 5), "5 visits are too few"),
    ],
)
def test_a_regression_needs_all_of_it(first: Estimate, again: Estimate | None, note: str) -> None:
    assert decide(POLICIES["time"], first, again, 27) == ("ambiguous", note)


def test_what_processes_differ_by_is_seen() -> None:
    rng = np.random.default_rng(6)
    restless = noise.levels([0.0] * 30, (6, 30), noise.Noise(process=0.03, state=0), rng)
    steady = noise.levels([0.0] * 30, (6, 30), noise.Noise(process=0, state=0), rng)
    assert between_process_std(restless) == pytest.approx(0.03 * np.sqrt(2), rel=0.25)
    assert between_process_std(steady) < 0.006
    assert estimates(restless)[0].error > 2 * estimates(steady)[0].error
