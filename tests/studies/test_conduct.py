"""Studies conducted into a folder: asked, measured, kept, and told again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crossover.bench.errors import InputError
from crossover.bench.harness.visits import Visitor
from crossover.bench.machine import identity
from crossover.bench.records.files import sole_writer
from crossover.bench.records.store import FILE_NAME, Store
from crossover.bench.studies import conduct as conducting
from crossover.bench.studies.conduct import Conducted, asked, conduct, study_record
from crossover.bench.studies.study import Progress
from tests.in_process import InProcess
from tests.small_studies import STUDIES, scaled, searching, selfcheck_part, sweep

pytestmark = pytest.mark.usefixtures("planted")


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_kept_and_not_measured_twice(name: str, tmp_path: Path) -> None:
    first = conduct([STUDIES[name]()], tmp_path, f"crossover {name}")
    assert first.visits_made >= 4
    assert (first.visits_kept, first.interrupted, first.wrong) == (0, False, [])
    again = conduct([STUDIES[name]()], tmp_path, f"crossover {name}")
    assert (again.run_id, again.visits_made) == (first.run_id, 0)
    assert again.visits_kept == first.visits_made
    assert again.rows_measured == first.rows_measured
    store = Store(tmp_path / FILE_NAME, readonly=True)
    (study,) = store.studies(first.run_id)
    assert (study.study, study.command) == (name, f"crossover {name}")
    run = store.run()
    assert run.ceilings
    kernels = store.kernels(run.run_id)
    visits = store.visits(run.run_id, study.series)
    assert len(visits) == first.visits_made
    assert {kernel for visit in visits for kernel in visit.rows} <= set(kernels)
    assert {visit.record.run_id for visit in visits} == {run.run_id}
    store.close()


def test_a_kernel_added_later_is_raced_again_with_its_baselines(tmp_path: Path) -> None:
    before = conduct([sweep("fake-steady", "fake-halving")], tmp_path, "")
    after = conduct([sweep("fake-steady", "fake-halving", "numpy-dense")], tmp_path, "")
    assert after.visits_kept == before.visits_made
    assert after.visits_made == before.visits_made  # each problem once more
    store = Store(tmp_path / FILE_NAME, readonly=True)
    visits = store.visits(after.run_id)
    store.close()
    for visit in visits[before.visits_made :]:
        assert list(visit.rows) == ["fake-steady", "fake-halving", "numpy-dense"]
        assert len({len(row.samples) for row in visit.rows.values()}) == 1


def test_again_is_a_run_of_its_own(tmp_path: Path) -> None:
    first = conduct([scaled()], tmp_path, "")
    anew = conduct([scaled()], tmp_path, "", again=True)
    assert anew.run_id != first.run_id
    assert (anew.visits_made, anew.visits_kept) == (first.visits_made, 0)


def test_ctrl_c_keeps_whole_visits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    visit = Visitor.visit

    def stopped(self: Visitor, *given: Any) -> Any:
        if len(InProcess.tasks) == 3:
            raise KeyboardInterrupt
        return visit(self, *given)

    monkeypatch.setattr(Visitor, "visit", stopped)
    done = conduct([scaled(), selfcheck_part()], tmp_path, "")
    assert done.interrupted
    assert done.visits_made == 3
    monkeypatch.undo()


def test_wrong_results_are_named(tmp_path: Path) -> None:
    done = conduct([sweep("fake-steady", "fake-wrong")], tmp_path, "")
    assert {name for _, name in done.wrong} == {"fake-wrong"}
    assert len(done.wrong) == done.visits_made == 8
    kept = conduct([sweep("fake-steady", "fake-wrong")], tmp_path, "")
    assert len(kept.wrong) == 8  # old ones are named, too


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    with (
        sole_writer(tmp_path / "results.lock", "crossover run"),
        pytest.raises(InputError, match="in use by crossover run"),
    ):
        conduct([scaled()], tmp_path, "")
    assert not (tmp_path / FILE_NAME).exists()


def test_the_progress_says_what_goes_on(tmp_path: Path) -> None:
    told: list[Progress] = []
    conduct([scaled()], tmp_path, "", told.append)
    assert [each.phase for each in told[:2]] == ["ceilings", "ceilings"]
    assert told[-1].done == told[-1].total
    assert all(0 <= each.done <= each.total for each in told)


def test_ceilings_are_measured_once_for_each_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def ceilings_of(threads: list[int]) -> dict[str, Any]:
        measured.extend(threads)
        return {str(count): {} for count in threads}

    monkeypatch.setattr(conducting, "ceilings_of", ceilings_of)
    conduct([sweep()], tmp_path, "")
    conduct([scaled()], tmp_path, "")
    conduct([scaled()], tmp_path, "")
    assert measured == [1, 2]


def test_the_budget_is_charged_for_what_was_measured_before(tmp_path: Path) -> None:
    stopped = scaled()
    stopped.spec = replace(stopped.spec, budget_s=1e-9)
    first = conduct([stopped], tmp_path, "")
    assert first.visits_made == 1  # the least
    more = scaled()
    more.spec = replace(more.spec, budget_s=2e-9)
    assert conduct([more], tmp_path, "").visits_made == 0
    whole = scaled()
    assert conduct([whole], tmp_path, "").visits_made == 15


def test_what_is_asked_leaves_the_budget_out() -> None:
    one, other = searching(), searching(budget_s=5.0)
    assert asked(one.spec) == asked(other.spec)
    record = study_record(one, "run", "command")
    assert record.study_id == study_record(other, "run", "another").study_id
    assert record.study_id != study_record(searching(width=0.05), "run", "command").study_id
    assert json.loads(json.dumps(record.spec)) == record.spec


def test_runs_differ_by_what_could_change_their_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    one = conducting.new_run()
    assert conducting.new_run().run_id == one.run_id
    assert conducting.new_run(["tests.fakes"]).run_id != one.run_id
    assert conducting.new_run(again=True).run_id != one.run_id
    monkeypatch.setattr(identity, "code_digest", lambda: "other code")
    assert conducting.new_run().run_id != one.run_id


def test_what_was_done_is_counted() -> None:
    done = Conducted("run")
    assert (done.visits_made, done.busy_s, done.interrupted) == (0, 0.0, False)


def test_a_kernel_added_to_a_planned_study_is_raced_too(tmp_path: Path) -> None:
    before = conduct([scaled("fake-halving")], tmp_path, "")
    after = conduct([scaled("fake-halving", "fake-steady")], tmp_path, "")
    assert (after.visits_made, after.visits_kept) == (before.visits_made, 0)
    fewer = conduct([scaled("fake-steady")], tmp_path, "")
    assert fewer.visits_made == 0
