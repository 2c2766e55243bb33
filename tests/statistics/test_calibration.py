"""A sweep taken twice: intervals that are too narrow are found, those that hold are not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from crossover.bench.records.rows import Visit
from crossover.bench.statistics import checks
from crossover.bench.statistics.calibration import (
    Calibration,
    Repeat,
    repeats,
    share_by_problem,
)
from crossover.bench.statistics.intervals import NOTHING, Interval
from tests.examples import dense, kernel, problem, visit

KERNELS = {each.name: each for each in (dense(), dense("blas"), kernel("csr"), kernel("bsr"))}


def interval(middle: float, half: float) -> Interval:
    return Interval(*np.exp([middle - half, middle, middle + half]))


def simulated(
    claimed: float, problems: int = 60, rows: int = 5, shared: float = 0.0, seed: int = 0
) -> Calibration:
    """Return two runs with errors of 1; intervals say that they are ``claimed``.

    ``shared`` is the share of their variance that all rows of a problem have in common.
    """
    rng = np.random.default_rng(seed)
    found = []
    for index in range(problems):
        own = rng.normal(0, np.sqrt(1 - shared), (rows, 2))
        errors = 0.02 * (own + rng.normal(0, np.sqrt(shared), 2))
        found += [
            Repeat(f"p{index}", f"k{row}", *(interval(e, 1.96 * 0.02 * claimed) for e in pair))
            for row, pair in enumerate(errors)
        ]
    return Calibration.of(found)


def verdicts(found: Calibration) -> list[str]:
    return [each.verdict for each in checks.calibration(found)]


def test_intervals_of_a_known_variance_pass() -> None:
    found = simulated(claimed=1.0, problems=400)
    assert found.inside.value == pytest.approx(0.834, abs=0.03)
    assert found.overlapping.value == pytest.approx(0.994, abs=0.01)
    assert verdicts(found) == ["passed", "passed"]


def test_intervals_that_are_too_narrow_fail() -> None:
    # As earlier versions had them: 62 % inside, 83.5 % overlapping.
    found = simulated(claimed=0.6, problems=400)
    assert found.inside.value < 0.7
    assert verdicts(found) == ["failed", "failed"]


def test_a_share_fails_only_where_its_problems_let_that_be_known() -> None:
    failures = [verdicts(simulated(1.0, problems=20, shared=0.8, seed=s)) for s in range(100)]
    assert sum("failed" in each for each in failures) <= 10
    # Taken for independent, the rows of these problems would be known far better.
    shares = [simulated(1.0, problems=20, shared=0.8, seed=s).inside for s in range(100)]
    assert np.std([each.value for each in shares]) > 0.04
    assert np.mean([each.at_most - each.value for each in shares]) > 0.06


def test_few_problems_decide_nothing() -> None:
    found = simulated(claimed=0.3, problems=9)
    assert verdicts(found) == ["not decided", "not decided"]
    share = share_by_problem([True, False], ["a", "b"], 0.8)
    assert (share.value, share.holds) == (0.5, None)


def test_problems_are_resampled_with_all_their_rows() -> None:
    # Ten problems that hold, ten that do not: the share of the rows is that of the problems.
    held = [True] * 50 + [False] * 50
    problems = [f"p{index // 5}" for index in range(100)]
    assert share_by_problem(held, problems, 0.8).at_most == pytest.approx(0.68, abs=0.03)
    alone = share_by_problem(held, [f"p{index}" for index in range(100)], 0.8)
    assert alone.at_most == pytest.approx(0.58, abs=0.02)


def test_the_figures_are_those_of_the_rows() -> None:
    found = Calibration.of(
        [
            Repeat("a", "csr", Interval(1.0, 1.1, 1.2), Interval(1.3, 1.4, 1.5)),
            Repeat("a", "bsr", Interval(1.1, 1.2, 1.32), Interval(0.9, 1.2, 1.3)),
            Repeat("b", "csr", Interval(0.5, 0.6, 0.7), Interval(0.7, 0.66, 0.8)),
        ]
    )
    assert [each.inside for each in found.repeats] == [False, True, True]
    assert [each.overlapping for each in found.repeats] == [False, True, True]
    assert found.median_difference == pytest.approx(0.1)
    assert found.median_width == pytest.approx(0.2)
    assert found.problems == 2
    assert found.decided == (2, 2)
    with pytest.raises(ValueError, match="need at least one"):
        Calibration.of([])


def run(speedup: float, names: Sequence[str] = ("csr",), visits: int = 3) -> list[Visit]:
    rng = np.random.default_rng(round(100 * speedup))
    return [
        visit(problem(f"p{index}"), {"dense": [1.0] * 6, "blas": [2.0] * 6} | {
            name: list(rng.lognormal(0, 0.01, 6) / speedup) for name in names
        }, process=f"{number}-a")
        for index in range(12)
        for number in range(visits)
    ]  # fmt: skip


def test_rows_are_those_that_both_runs_show() -> None:
    found = repeats(run(2.0, ("csr", "bsr")), run(1.0), KERNELS)
    # Of the fastest dense kernel over itself there is no speedup.
    assert {each.kernel for each in found} == {"csr", "blas"}
    assert len(found) == 24
    csr = [each for each in found if each.kernel == "csr"]
    assert all(each.first.median == pytest.approx(2.0, rel=0.02) for each in csr)
    assert all(each.second.median == pytest.approx(1.0, rel=0.02) for each in csr)


def test_rows_without_an_interval_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "crossover.bench.statistics.calibration.speedups"
    monkeypatch.setattr(module, lambda pairs: [NOTHING for _ in pairs])
    assert repeats(run(1.0), run(1.0), KERNELS) == []


def test_the_check_looks_at_its_two_takes() -> None:
    def found(second: float) -> list[checks.Check]:
        series = dict(zip(checks.TAKES, (run(2.0), run(second)), strict=True))
        return [e for e in checks.checks(series, KERNELS) if e.name.startswith("a sweep taken")]

    assert [each.verdict for each in found(2.001)] == ["passed", "passed"]
    inside, overlapping = found(2.2)
    assert (inside.verdict, overlapping.verdict) == ("failed", "failed")
    assert "of 24 speedups in 12 problems; median difference" in inside.found
    assert "median width" in overlapping.found
    assert overlapping.found.endswith("24, then 24 of 24 decided")
