"""Studies whose visits are known from the start: each is made once, by those still in the race."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossover.bench.errors import InputError
from crossover.bench.records.rows import Row
from crossover.bench.studies import study as studies
from crossover.bench.studies.study import PlannedStudy, PlannedVisit, Report, ignore, threads_or_all
from crossover.bench.workloads.problem import Setting
from tests.examples import measured, problem, visit
from tests.in_process import matrix_task
from tests.small_studies import selfcheck_part

ONE = matrix_task().problem
TWO = replace(ONE, setting=Setting(2))


class Planned(PlannedStudy):
    name = "planned"

    def __init__(self, *visits: PlannedVisit) -> None:
        super().__init__()
        self.spec = selfcheck_part().spec
        self._visits = visits
        self.begin(ignore)

    @property
    def threads(self) -> tuple[int, ...]:
        return (1,)

    def plan(self, report: Report) -> list[PlannedVisit]:
        return list(self._visits)


def planned(*kernels: str, of: object = ONE) -> PlannedVisit:
    return PlannedVisit(of, kernels, (6, 6))  # type: ignore[arg-type]


def made(*rows: str | Row, of: object = ONE) -> object:
    asked = problem(of.problem_id)  # type: ignore[attr-defined]
    return visit(asked, [measured(r, [1.0]) if isinstance(r, str) else r for r in rows])


def names(study: Planned) -> tuple[str, ...] | None:
    task = study.next(1.0)
    return None if task is None else task.kernels


def test_each_visit_is_made_once_in_order() -> None:
    study = Planned(planned("a"), planned("a", of=TWO), planned("a"))
    for expected in (ONE, TWO, ONE):
        task = study.next(1.0)
        assert task is not None
        assert task.problem == expected
        assert study.take(made("a", of=task.problem))  # type: ignore[arg-type]
    assert study.next(1.0) is None
    assert study.progress().done == study.progress().total == 3


def test_equal_visits_are_each_made() -> None:
    study = Planned(*[planned("a", "b")] * 3)
    seeds = set()
    for _ in range(3):
        task = study.next(1.0)
        assert task is not None
        seeds.add(task.seed)
        study.take(made("a", "b"))  # type: ignore[arg-type]
    assert study.next(1.0) is None
    assert len(seeds) == 3


def test_a_visit_without_a_kernel_that_is_asked_for_is_made_again() -> None:
    study = Planned(planned("a", "b"))
    assert not study.take(made("a"))  # type: ignore[arg-type]
    assert names(study) == ("a", "b")
    assert study.take(made("a", "b", "c"))  # type: ignore[arg-type]
    assert names(study) is None


def test_a_visit_counts_for_the_one_that_it_fits_best() -> None:
    study = Planned(planned("a"), planned("a", "b"))
    study.take(made("a", "b"))  # type: ignore[arg-type]
    assert names(study) == ("a",)
    study = Planned(planned("a", "b"), planned("a"))
    study.take(made("a"))  # type: ignore[arg-type]
    assert names(study) == ("a", "b")


def test_who_failed_has_had_its_chance() -> None:
    study = Planned(*[planned("a", "b")] * 3)
    study.take(made("a", Row("b", "wrong", "why")))  # type: ignore[arg-type]
    assert names(study) == ("a",)
    study.take(made("a"))  # type: ignore[arg-type]
    assert names(study) == ("a",)
    study.take(made(Row("a", "failed", "why")))  # type: ignore[arg-type]
    assert study.progress().done == 3


def test_where_nobody_is_left_nothing_is_visited() -> None:
    study = Planned(*[planned("a")] * 3, planned("a", of=TWO))
    study.take(made(Row("a", "skipped", "why")))  # type: ignore[arg-type]
    task = study.next(1.0)
    assert task is not None
    assert task.problem == TWO
    assert study.progress().done == 3


def test_more_visits_than_planned_count_as_kept() -> None:
    study = Planned(planned("a"))
    assert study.take(made("a"))  # type: ignore[arg-type]
    assert study.take(made("a"))  # type: ignore[arg-type]
    assert study.progress().done == study.progress().total == 1


def test_a_budget_that_ends_ends_it_early_but_not_before_the_first() -> None:
    study = Planned(*[planned("a")] * 2)
    assert study.next(0.0) is not None
    study.take(made("a"))  # type: ignore[arg-type]
    assert study.next(0.0) is None
    assert study.next(1.0) is not None


def test_threads_are_those_asked_for_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "available_cores", lambda: 4)
    assert threads_or_all(()) == (4,)
    assert threads_or_all((1, 3)) == (1, 3)
    for refused in (0, 5):
        with pytest.raises(InputError, match=f"threads {refused} is outside 1 to 4"):
            threads_or_all((refused,))
