"""The search that ends a sweep, with kernels whose crossover is planted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from crossover.bench.commands.run import studies
from crossover.bench.harness.visits import Visitor
from crossover.bench.statistics.search_answers import FASTEST, search_answers
from crossover.bench.studies import narrow
from crossover.bench.studies.narrow import ANSWER_WIDTH, Narrow
from crossover.bench.studies.study import ignore
from crossover.bench.studies.sweep import Sweep, SweepSpec
from tests.small_studies import FAKES, searching, sweep

pytestmark = pytest.mark.usefixtures("planted")


def narrowing(sparse: Sequence[str] = ("fake-halving", "fake-slow")) -> Narrow:
    """Return a search of the layer fc1 alone, which counts as large."""
    spec = replace(
        searching().spec, layers=(), kernels=(), against="", batches=(4,), width=ANSWER_WIDTH
    )
    return Narrow(spec, lambda layer, *_: (("fake-steady",), sparse if layer == "fc1" else ()))


@pytest.fixture(autouse=True)
def any_layer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrow, "_LEAST_SHAPE", (10, 24))


def test_it_narrows_the_crossover_of_the_fastest_against_the_fastest(visitor: Visitor) -> None:
    study = narrowing()
    study.begin(ignore)
    visits = []
    while (task := study.next(1e9)) is not None:
        assert set(task.kernels) == {"fake-steady", "fake-halving", "fake-slow"}
        visits.append(visitor.visit(task, "run", study.series))
        assert study.take(visits[-1])
    (answer,) = study.answers
    assert (answer.kernel, answer.baselines) == (FASTEST, ("fake-steady",))
    found = answer.search.estimate()
    assert found.kind == "between"
    assert 0.4 < found.low <= 0.5 <= found.high < 0.6
    assert found.high - found.low <= ANSWER_WIDTH
    assert answer.search.confirmed
    # What it rests on was seen by more than one process.
    assert len({visit.record.process for visit in visits}) > 1
    (stored,) = search_answers(visits, study.declared, 0.95, ANSWER_WIDTH)
    assert stored.search.estimate() == found
    assert stored.search.confirmed


def test_where_nobody_is_left_in_the_race_there_is_nothing_to_do() -> None:
    study = narrowing(sparse=())
    study.begin(ignore)
    assert study.answers == []
    assert study.next(60.0) is None
    assert study.progress().total == 1


def test_a_layer_that_is_over_in_a_microsecond_is_left_to_the_grid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(narrow, "_LEAST_SHAPE", (100, 300))
    study = narrowing()
    study.begin(ignore)
    assert study.answers == []


def test_a_run_is_a_sweep_and_a_search_within_one_budget() -> None:
    spec = replace(sweep().spec, budget_s=100.0)
    grid, search = studies(spec)
    assert isinstance(grid, Sweep)
    assert isinstance(search, Narrow)
    assert grid.spec.budget_s + search.spec.budget_s == pytest.approx(100.0)
    assert (search.spec.batches, search.spec.network) == ((4, 8), "tiny")
    assert search.spec.modules == FAKES


@pytest.mark.parametrize(
    "changes", [{"passes": ("backward_input",)}, {"caches": ("cold",)}], ids=["pass", "caches"]
)
def test_where_no_crossover_is_searched_the_grid_has_the_budget(
    changes: dict[str, object],
) -> None:
    spec: SweepSpec = replace(sweep().spec, budget_s=100.0, **changes)
    (grid,) = studies(spec)
    assert grid.spec.budget_s == 100.0
