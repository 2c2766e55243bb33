"""The self-check can fail: its verdicts on planted visits."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pytest

from crossover.bench.records.rows import ProblemRecord, Row, Visit
from crossover.bench.statistics import checks
from crossover.bench.statistics.checks import TWINS
from tests.examples import dense, kernel, measured, problem, visit

RNG = np.random.default_rng(0)
KERNELS = {each.name: each for each in (dense("numpy-dense"), kernel("numba-csr"))}


def noise(seconds: float, rounds: int = 40, spread: float = 0.03) -> list[float]:
    return list(seconds * RNG.lognormal(0, spread, rounds))


def twins(ratio: float, visits: int = 100) -> list[Visit]:
    return [
        visit(rows={TWINS[0]: noise(1e-3), TWINS[1]: noise(ratio * 1e-3)}) for _ in range(visits)
    ]


@pytest.fixture(autouse=True)
def _drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every test draw the same, whichever ran before it."""
    monkeypatch.setattr(sys.modules[__name__], "RNG", np.random.default_rng(0))


@pytest.mark.parametrize(("ratio", "verdict"), [(1.0, "passed"), (1.01, "failed")])
def test_a_bias_of_one_percent_is_found(ratio: float, verdict: str) -> None:
    assert checks.against_itself(twins(ratio), []).verdict == verdict


def test_intervals_that_are_too_narrow_are_found() -> None:
    # Rounds that share their luck: each visit is off by 2 %, and looks certain.
    visits = [
        visit(rows={TWINS[0]: noise(1.0, spread=1e-4), TWINS[1]: noise(s, spread=1e-4)})
        for s in np.exp(0.02 * RNG.choice([-1.0, 1.0], 100))
    ]
    found = checks.against_itself(visits, [])
    assert found.verdict == "failed"
    assert found.found.startswith("1 in 0 of 100")


def test_what_the_place_in_memory_changes_is_said() -> None:
    elsewhere = [
        visit(rows={"numba-csr": [1.0] * 6, TWINS[0]: [s] * 6}) for s in (1.0, 1.1, 0.9, 1.0)
    ]
    assert "standard deviation" in checks.against_itself(twins(1.0), elsewhere).found


def beside(
    alone: float, together: float, own: float, own_together: float, spread: float = 1e-3
) -> list[Visit]:
    """Return eight visits of each kind, whose times scatter by a factor of about exp(spread)."""

    def visits(of: ProblemRecord, by_itself: float, with_dense: float) -> list[Visit]:
        found = []
        for factor in np.exp(spread * np.array([-2.0, 0.5, 1.0, -1.0, 2.0, -0.5, 1.5, -1.5])):
            found.append(visit(of, {"numba-csr": [factor * by_itself] * 20}))
            rows = {"numpy-dense": [1e-3] * 20, "numba-csr": [with_dense / factor] * 20}
            found.append(visit(of, rows))
        return found

    other = problem("other", idle_threads="as the library likes")
    return visits(problem("resting"), alone, together) + visits(other, own, own_together)


def checked(visits: list[Visit]) -> checks.Check:
    return checks.beside_others("beside", "numba-csr", visits)


def test_a_kernel_that_suffers_from_others_is_found() -> None:
    assert checked(beside(1e-4, 1.1e-4, 1e-4, 3e-4)).verdict == "passed"
    found = checked(beside(1e-4, 1.3e-4, 1e-4, 3e-4))
    assert found.verdict == "failed"
    assert "1.30 [1.30, 1.30] of its time alone (100 µs)" in found.found
    assert "those give 3.00" in found.found
    assert checked(beside(1e-4, 1.3e-4, 1e-4, 3e-4, spread=0.3)).verdict == "not decided"


def test_a_kernel_whose_own_threads_sleep_too_soon_is_found() -> None:
    """Alone it is as slow as beside others, so that only the libraries' own settings tell."""
    found = checked(beside(3e-5, 3e-5, 1e-5, 1e-5))
    assert found.verdict == "failed"
    assert "which is 3.00 [3.00, 3.00] of that under the libraries' own settings" in found.found
    assert checked(beside(1e-5, 1e-5, 3e-5, 3e-5)).verdict == "passed"


def test_a_library_that_is_not_installed_is_not_run() -> None:
    found = checked([visit(rows=[Row("numba-csr", "skipped", "MKL cannot be imported.")])])
    assert (found.verdict, found.found) == ("not run", "MKL cannot be imported.")


def timed_in_turn(ratio: float, spread: float = 0.001) -> list[Visit]:
    visits: list[Visit] = []
    for name in checks.PYPERF_KERNELS:
        for _ in range(8):
            for process, seconds in (("1-a", 1e-3), ("pyperf", 1e-3 / ratio), ("1-a", 1e-3)):
                rows = {name: noise(seconds, 5, spread)}
                visits.append(visit(rows=rows, process=process))
    return visits


@pytest.mark.parametrize(
    ("ratio", "spread", "verdict"),
    [(1.0, 0.001, "passed"), (1.2, 0.001, "failed"), (1.2, 1.0, "not decided")],
)
def test_agreement_with_pyperf_is_said_where_it_is_known(
    ratio: float, spread: float, verdict: str
) -> None:
    assert checks.pyperf(timed_in_turn(ratio, spread)).verdict == verdict


def test_pyperf_that_is_not_installed_is_not_run() -> None:
    skipped = visit(rows=[Row("numpy-dense", "skipped", "pyperf is not installed")])
    found = checks.pyperf([*timed_in_turn(1.0), skipped])
    assert (found.verdict, found.found) == ("not run", "pyperf is not installed")


def searched(place: float) -> list[Visit]:
    def at(sparsity: float) -> Visit:
        rows = [
            measured("numpy-dense", [1.0] * 10),
            measured("numba-csr", [1.5 if sparsity < place else 0.5] * 10),
        ]
        return visit(problem(f"{sparsity}", sparsity), rows)

    return [at(s) for s in (0.0, 0.4, 0.7, 0.88, 0.99)]


@pytest.mark.parametrize(("second", "verdict"), [(0.8, "passed"), (0.5, "failed"), (1.0, "failed")])
def test_searches_that_disagree_are_found(second: float, verdict: str) -> None:
    assert checks.two_searches([searched(0.8), searched(second)], KERNELS).verdict == verdict


def sweep(busy_s: float) -> Sequence[Visit]:
    return [visit(rows=[measured("a", [1.0], busy_s=busy_s)], wall_s=1.0)]


def test_overhead_is_what_does_not_go_into_kernels() -> None:
    assert checks.overhead(sweep(0.8)).verdict == "passed"
    found = checks.overhead(sweep(0.6))
    assert found.verdict == "failed"
    assert found.found.startswith("40.0% of 1 s")


def test_what_was_not_measured_is_not_run() -> None:
    found = checks.checks({}, KERNELS)
    assert len(found) == 8
    assert {each.verdict for each in found} == {"not run"}
