"""The parts of the self-check: what each visits, and twins that share their operand."""

from __future__ import annotations

import importlib.util

import pytest

from crossover.bench.harness.sources import Discovered
from crossover.bench.harness.visits import visiting
from crossover.bench.statistics import checks
from crossover.bench.studies import selfcheck
from crossover.bench.studies.selfcheck import SelfcheckPart
from crossover.bench.studies.study import ignore
from crossover.kernels.cpu.mkl import MklCsrHinted
from tests.in_process import matrix_task, outcome
from tests.small_studies import sweep


def parts() -> dict[str, SelfcheckPart]:
    found = {each.series: each for each in selfcheck.studies() if isinstance(each, SelfcheckPart)}
    for each in found.values():
        each.begin(ignore)
    return found


def test_every_check_has_the_series_that_it_looks_at() -> None:
    series = [each.series for each in selfcheck.studies()]
    assert len(set(series)) == len(series) == 10
    known = {checks.ITSELF, checks.ELSEWHERE, checks.PYPERF, checks.SWEEP}
    known |= {checks.BESIDE, checks.MKL_BESIDE}
    assert set(series) == known | set(checks.SEARCHES) | set(checks.TAKES)
    assert {each.name for each in selfcheck.studies()} == {"selfcheck"}


def test_the_parts_are_what_the_checks_expect() -> None:
    found = parts()
    assert {each.kernels for each in found[checks.ITSELF].planned} == {checks.TWINS}
    assert len(found[checks.ITSELF].planned) == 100
    beside = found[checks.BESIDE].planned
    assert len(beside) == 4 * 8
    kinds = {(each.problem.setting.idle_threads, len(each.kernels)) for each in beside}
    assert kinds == {(idle, n) for idle in ("rest", "as the library likes") for n in (1, 2)}
    pyperf = [each.problem.setting.timer for each in found[checks.PYPERF].planned]
    assert pyperf == ["race", "pyperf", "race"] * (8 * 3)
    assert not any(each.may_end_early for each in found.values())


def test_the_two_takes_ask_the_same_and_draw_anew(
    planted: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selfcheck, "_SMALL", sweep().spec)
    monkeypatch.setattr(selfcheck, "SweepSpec", lambda: sweep().spec)
    studies = selfcheck.studies()
    takes = [each for each in studies if each.series in checks.TAKES]
    assert studies[0] is takes[0], "the other parts lie between the two"
    assert studies[-2] is takes[1]
    for each in takes:
        each.begin(ignore)
    first, second = (each.next(60.0) for each in takes)
    assert first is not None
    assert second is not None
    assert first.problem == second.problem
    assert first.kernels == second.kernels
    assert first.seed != second.seed


@pytest.mark.parametrize("reason", [None, "MKL cannot be imported."])
def test_mkl_is_held_against_dense_products_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, reason: str | None
) -> None:
    monkeypatch.setattr(MklCsrHinted, "unavailable", lambda _: reason)
    planned = parts()[checks.MKL_BESIDE].planned
    assert len(planned) == (1 if reason else 4 * 8)
    assert planned[0].kernels == (checks.MKL_KERNEL,)
    assert {each.problem.workload.batch for each in planned} == {1}


def test_twins_share_their_operand_and_a_module_holds_them() -> None:
    weight = matrix_task().problem.workload.weights.weight()  # type: ignore[union-attr]
    one, two = selfcheck.Castor(), selfcheck.Pollux()
    assert one.prepare(weight) is two.prepare(weight)
    kernels = Discovered((selfcheck.__name__,)).load()
    assert set(checks.TWINS) <= kernels.keys()
    rows = outcome(matrix_task(*checks.TWINS), kernels).rows
    assert [row.status for row in rows.values()] == ["measured"] * 2


def test_pyperf_that_is_not_installed_is_a_row_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "pyperf" else find_spec(name, *rest),
    )
    part = parts()[checks.PYPERF]
    (theirs,) = {each.problem for each in part.planned if each.problem.setting.timer == "pyperf"}
    task = next(each for each in part.planned if each.problem == theirs)
    asked = matrix_task(*task.kernels)
    asked = type(asked)(theirs, task.kernels, 0.0, (0,), (1, 1))
    with visiting(part.source) as visitor:
        made = visitor.visit(asked, "run", part.series)
    assert made.record.process == "pyperf"
    (row,) = made.rows.values()
    assert (row.status, row.reason.split(":")[0]) == ("skipped", "pyperf is not installed")
    assert checks.pyperf([made]).verdict == "not run"
