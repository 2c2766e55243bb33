"""Visits: typed records of a race, and the processes they were made in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from crossover.bench.harness import visits
from crossover.bench.harness.task import Outcome, Task
from crossover.bench.harness.visits import Visitor, problem_record, visiting
from crossover.bench.workloads.problem import Setting
from tests.in_process import FAKES, InProcess, matrix_task


@pytest.fixture
def visitor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    monkeypatch.setattr(visits, "Worker", InProcess)
    with visiting(FAKES) as made:
        yield made


def test_a_visit_is_recorded_with_all_that_is_known(visitor: Visitor) -> None:
    task = replace(matrix_task("numpy-dense", "fake-absent"), seed=(3, 4))
    found = visitor.visit(task, "run", "series")
    record = found.record
    assert (record.run_id, record.series, record.seed) == ("run", "series", [3, 4])
    assert record.problem_id == found.problem.problem_id == task.problem.problem_id
    assert record.process
    assert {len(seconds) for seconds in record.canary.values()} == {6}
    assert record.wall_s > 0
    assert record.started.startswith("20")
    assert list(found.rows) == ["numpy-dense", "fake-absent"]
    problem = found.problem
    assert (problem.m, problem.k, problem.batch, problem.n, problem.nnz) == (12, 8, 4, 4, 48)
    assert (problem.network, problem.layer, problem.pattern) == ("tests", "12x8", "random")
    assert (problem.threads, problem.caches, problem.computes) == (1, "hot", "forward")
    assert problem.recipe["weights"]["sparsity"] == 0.5


def test_a_problem_that_could_not_be_made_has_no_nonzeros() -> None:
    record = problem_record(matrix_task().problem, Outcome(None, {}, {}))
    assert (record.m, record.nnz, record.format_bytes) == (0, 0, {})
    assert record.sparsity == 0.0


def test_each_setting_has_a_worker_and_keeps_it(visitor: Visitor) -> None:
    def process(task: Task) -> str:
        return visitor.visit(task, "run", "series").record.process

    one = matrix_task("numpy-dense")
    two = replace(one, problem=replace(one.problem, setting=Setting(2)))
    names = [process(task) for task in (one, two, one, two)]
    assert names[:2] == names[2:]
    assert names[0] != names[1]
    visitor.renew()
    assert process(one) != names[0]


def test_a_visit_can_ask_for_a_fresh_process(visitor: Visitor) -> None:
    task = matrix_task("numpy-dense")
    asked = [task, task, replace(task, fresh_process=True), task]
    names = [visitor.visit(each, "run", "series").record.process for each in asked]
    assert names[0] == names[1] != names[2] == names[3]


def test_a_process_is_replaced_when_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch, visitor: Visitor
) -> None:
    now = [0.0]
    monkeypatch.setattr("crossover.bench.harness.visits.time.monotonic", lambda: now[0])
    task = matrix_task("numpy-dense")
    names = []
    for moment in (0.0, 44.0, 46.0, 50.0, 92.0):
        now[0] = moment
        names.append(visitor.visit(task, "run", "series").record.process)
    assert names[0] == names[1] != names[2] == names[3] != names[4]


def test_a_visit_is_kept_out_of_the_process_that_made_the_others(visitor: Visitor) -> None:
    task = matrix_task("numpy-dense")

    def process(not_in: str) -> str:
        return visitor.visit(replace(task, not_in=not_in), "run", "series").record.process

    first = process("")
    assert process("another") == first
    second = process(first)
    assert second != first
    assert process(first) == second  # which was not in it any more


def test_workers_end_with_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    class Closing(InProcess):
        def close(self) -> None:
            closed.append(self.process_name)

    monkeypatch.setattr(visits, "Worker", Closing)

    def interrupted() -> None:
        with visiting(FAKES) as visitor:
            visitor.visit(matrix_task("numpy-dense"), "run", "series")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(closed) == 1
