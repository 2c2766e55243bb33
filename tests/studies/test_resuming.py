"""Every study goes on where it stopped: it is a function of the visits it was told of."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from crossover.bench.harness.task import Task
from crossover.bench.harness.visits import Visitor
from crossover.bench.records.rows import Visit
from crossover.bench.studies.study import Study, ignore
from tests.small_studies import STUDIES

Asked = list[tuple[str, tuple[str, ...], tuple[int, int], tuple[int, ...]]]


def asked(task: Task) -> tuple[str, tuple[str, ...], tuple[int, int], tuple[int, ...]]:
    return task.problem.problem_id, task.kernels, task.rounds, task.seed


def drive(
    study: Study, told: Sequence[Visit], visitor: Visitor, most: int | None = None
) -> tuple[Asked, list[Visit]]:
    """Begin ``study``, tell it of stored visits, and make up to ``most`` more."""
    # A sweep spends what is left on further visits, as many as there is time for.
    left_s = 0.0 if study.name == "sweep" else 1e9
    study.begin(ignore)
    assert all(study.take(visit) for visit in told)
    tasks: Asked = []
    visits: list[Visit] = []
    while (most is None or len(visits) < most) and (task := study.next(left_s)) is not None:
        tasks.append(asked(task))
        visits.append(visitor.visit(task, "run", study.series))
        assert study.take(visits[-1])
    return tasks, visits


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_goes_on_where_it_stopped(name: str, visitor: Visitor) -> None:
    whole, _ = drive(STUDIES[name](), [], visitor)
    assert len(whole) >= 4
    for stop in sorted({1, len(whole) // 2, len(whole) - 1, len(whole)}):
        first, made = drive(STUDIES[name](), [], visitor, stop)
        rest, _ = drive(STUDIES[name](), made, visitor)
        assert first + rest == whole  # as if it had never stopped, and no visit twice


@pytest.mark.parametrize("name", STUDIES)
def test_visits_of_others_are_not_taken(name: str, visitor: Visitor) -> None:
    other = "peers" if name == "scaling" else "scaling"
    _, (foreign,) = drive(STUDIES[other](), [], visitor, 1)
    study = STUDIES[name]()
    study.begin(ignore)
    before = study.progress()
    assert not study.take(foreign)
    assert study.progress() == before


@pytest.mark.parametrize("name", STUDIES)
def test_progress_goes_from_nothing_to_all(name: str, visitor: Visitor) -> None:
    study = STUDIES[name]()
    drive(study, [], visitor, 0)
    begun = study.progress()
    assert begun.done == 0
    assert begun.total > 0
    assert begun.title
    later = STUDIES[name]()
    drive(later, [], visitor, 2)
    assert 0 < later.progress().done <= later.progress().total
