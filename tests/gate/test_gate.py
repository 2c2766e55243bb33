"""The gate from end to end, on a machine whose times are planted; no clock is read."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossover.bench.commands.main import main
from crossover.bench.errors import InputError
from crossover.bench.gate.comparison import Comparison, latest
from crossover.bench.gate.quantities import CROSSOVER_GROUP, SIDES, Cell
from crossover.bench.gate.verdicts import Finding
from crossover.bench.records.store import FILE_NAME, Store
from crossover.bench.statistics.search_answers import search_answers
from crossover.reports import page, results
from crossover.reports.exports import gate as exports
from crossover.reports.views import gate as view
from tests.gate.conftest import Gate
from tests.gate.project import CSR, DENSE, FAMILY, KERNEL, Machine, commit, git, revision
from tests.reports import made

HEAD_CSR, BASE_CSR, CONTROL_CSR = f"head:{CSR}", f"base:{CSR}", f"control:{CSR}"
CELL = f"{CSR} fc1 forward batch 64"
CROSSING = f"{CELL} over the fastest dense kernel, drawn row-skewed pattern"


def finding(found: Comparison, metric: str, name: str) -> Finding:
    (one,) = [each for each in found.findings if each.metric == metric and each.name == name]
    return one


def regressions(found: Comparison) -> set[tuple[str, str]]:
    return {(each.metric, each.name.split()[0]) for each in found.findings if each.regression}


def test_five_percent_are_a_regression_of_their_kernel_alone(gate: Gate, machine: Machine) -> None:
    machine.slower = {HEAD_CSR: 1.05}
    found = gate()
    slower = finding(found, "time", CELL)
    assert slower.verdict == "slower"
    assert slower.change == pytest.approx(0.05, abs=0.01)
    assert slower.visits >= 12
    # Its crossover moves by 2 points, which is no more than the threshold.
    assert regressions(found) == {("time", CSR)}
    machine.slower = {BASE_CSR: 1.05, f"control:{CSR}": 1.05}
    assert finding(gate(), "time", CELL).verdict == "faster"


def test_identical_code_is_the_same(gate: Gate) -> None:
    assert {each.verdict for each in gate().findings} == {"same"}


@pytest.mark.parametrize(
    ("planted", "metric"),
    [
        ({"nbytes": 1020}, "memory"),
        ({"prepare_s": 1.3e-3}, "conversion"),
        ({"compile_s": 2.0}, "compilation"),
    ],
)
def test_other_quantities_have_thresholds_of_their_own(
    gate: Gate, machine: Machine, planted: dict[str, Any], metric: str
) -> None:
    machine.rows = {name: {"compile_s": 1.0} for name in (BASE_CSR, HEAD_CSR)}
    machine.rows[HEAD_CSR] |= planted
    assert regressions(gate()) == {(metric, CSR)}


def test_a_crossover_that_moves_is_a_regression(gate: Gate, machine: Machine) -> None:
    machine.crosses_at = {"base": 0.6, "control": 0.6, "head": 0.65}
    moved = finding(gate(), "crossover", CROSSING)
    assert moved.verdict == "slower"
    assert moved.change == pytest.approx(0.05, abs=0.005)
    assert moved.note == f"base 55-65 % over {DENSE}; head 60-70 % over {DENSE}"


def test_gate_and_search_agree_on_the_same_visits(gate: Gate, machine: Machine) -> None:
    """One definition: what the gate calls base's crossover lies where a search puts it."""
    machine.crosses_at = dict.fromkeys(SIDES, 0.47)
    crossed = finding(gate(), "crossover", CROSSING)
    kernels, sides = {}, [f"base:{DENSE}", f"base:{CSR}"]
    for name in sides:
        role = "dense" if name.endswith("dense") else "ours"
        kernels[name] = made.kernel(name, role)
    visits = [
        replace(visit, rows={name: visit.rows[name] for name in sides})
        for visit in machine.visits
        if visit.problem.network == CROSSOVER_GROUP
    ]
    (answer,) = search_answers(visits, kernels)
    searched = answer.search.estimate()
    assert (searched.kind, searched.low, searched.high) == ("between", 0.45, 0.5)
    assert crossed.note.startswith("base 45-50 %")
    assert crossed.base == pytest.approx(0.47, abs=0.003)


def test_a_line_that_leaves_the_bracket_claims_nothing(gate: Gate, machine: Machine) -> None:
    """Speedups that a line does not describe: far from dense on one side, level on the other."""
    machine.crosses_at = {"base": 0.6, "control": 0.6, "head": 0.7}
    machine.bent = True
    bent = finding(gate(), "crossover", CROSSING)
    assert bent.verdict == "ambiguous"
    assert "a line through the speedups does not describe them" in bent.note


def test_a_second_dense_kernel_that_is_faster_moves_the_crossover(
    project: Path, gate: Gate, machine: Machine
) -> None:
    """The baseline is the fastest dense kernel of each side, whichever that is."""
    faster = FAMILY + KERNEL.format(cls="Dense2", name="other-dense").replace(
        "(Planted)", "(Dense)"
    )
    revision(project, faster)
    assert finding(gate(), "crossover", CROSSING).verdict == "same"
    machine.slower = {"head:other-dense": 0.8}
    moved = finding(gate(), "crossover", CROSSING)
    assert moved.verdict == "slower"
    assert moved.base == pytest.approx(0.6, abs=0.01)
    assert moved.head == pytest.approx(0.68, abs=0.01)


def test_a_base_without_a_crossover_has_none_to_move(gate: Gate, machine: Machine) -> None:
    machine.slower = {f"{side}:{CSR}": 1e3 for side in ("base", "control", "head")}
    crossed = finding(gate(), "crossover", CROSSING)
    assert crossed.verdict == "ambiguous"
    assert crossed.note.startswith("base has none")


def test_what_only_one_version_has_is_not_compared(project: Path, gate: Gate) -> None:
    base = revision(project)
    head = revision(project, FAMILY.replace(CSR, "other-csr"))
    verdicts = {
        (each.name.split()[0], each.verdict)
        for each in gate(base, head).findings
        if each.metric == "time"
    }
    assert verdicts == {(DENSE, "same"), ("other-csr", "new"), (CSR, "gone")}


WRONG = {"status": "wrong", "reason": "at (0, 0) it is 1"}
FAILED = {"status": "failed", "reason": "raised ValueError: no"}


def test_a_wrong_result_is_exit_3_only_where_head_has_it(
    gate: Gate, machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.rows = {BASE_CSR: WRONG}
    found = finding(gate(), "time", CELL)
    assert (found.verdict, found.note) == ("new", "base: at (0, 0) it is 1")
    machine.rows = {HEAD_CSR: WRONG}
    found = finding(gate(), "time", CELL)
    assert (found.verdict, found.note) == ("wrong", "at (0, 0) it is 1")
    # It is wrong whatever base does.
    machine.rows = {HEAD_CSR: WRONG, BASE_CSR: FAILED, CONTROL_CSR: FAILED}
    found = finding(gate(), "time", CELL)
    assert (found.verdict, found.note) == (
        "wrong",
        "at (0, 0) it is 1; base: raised ValueError: no",
    )
    assert command("HEAD", "HEAD", tmp_path) == 3
    assert "a wrong result" in capsys.readouterr().out


def test_the_control_is_checked_by_itself(gate: Gate, machine: Machine) -> None:
    machine.rows = {CONTROL_CSR: WRONG}
    found = finding(gate(), "time", CELL)
    assert (found.verdict, found.note) == ("new", "control: at (0, 0) it is 1")


def test_head_that_fails_again_in_a_fresh_process_is_a_regression(
    gate: Gate, machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.rows = {HEAD_CSR: FAILED}
    found = finding(gate(), "time", CELL)
    assert (found.verdict, found.regression) == ("failed", True)
    assert found.note == "failed in 2 processes: raised ValueError: no"
    tries = [
        (task.fresh_process, visit.record.process)
        for task, visit in zip(machine.tasks, machine.visits, strict=True)
        if visit.rows.get(HEAD_CSR) and Cell.recorded(CSR, visit.problem).name == CELL
        if visit.problem.network == "gate"
    ]
    assert [fresh for fresh, _ in tries] == [False, True], "tried twice, and then no more"
    assert len({process for _, process in tries}) == 2
    assert command("HEAD", "HEAD", tmp_path) == 1
    printed = capsys.readouterr().out
    assert "a confirmed regression" in printed
    assert "raised ValueError: no" in " ".join(printed.split())


def test_where_base_fails_too_it_is_no_regression(gate: Gate, machine: Machine) -> None:
    machine.rows = {HEAD_CSR: FAILED, BASE_CSR: FAILED, CONTROL_CSR: FAILED}
    found = finding(gate(kernels=(DENSE, CSR)), "time", CELL)
    assert (found.verdict, found.regression) == ("failed", False)
    assert found.note.endswith("; base: raised ValueError: no")
    with pytest.raises(InputError, match=r"only 0 of 4 cells compared \(4 in which base failed\)"):
        gate(kernels=(CSR,))


@pytest.mark.parametrize("side", ["head", "base"])
def test_a_failure_that_does_not_come_again(gate: Gate, machine: Machine, side: str) -> None:
    """Something else may have ended the process: the kernel is measured on, and it is said."""
    name = f"{side}:{CSR}"

    def fail_once(number: int) -> None:
        machine.rows = {name: FAILED} if number == 0 else {}

    machine.before = fail_once
    found = gate()
    (it,) = {
        Cell.recorded(CSR, visit.problem).name
        for visit in machine.visits
        if visit.rows.get(name) and visit.rows[name].status == "failed"
    }
    judged = finding(found, "time", it)
    assert not judged.regression
    if side == "head":
        assert judged.verdict == "ambiguous"
        assert judged.note == (
            "head failed once, not when it was tried again: raised ValueError: no"
        )
    else:
        assert (judged.verdict, judged.note) == ("same", "")


def test_a_stopped_gate_tries_again_what_failed(
    gate: Gate, machine: Machine, tmp_path: Path
) -> None:
    machine.rows = {HEAD_CSR: FAILED}

    def stop(number: int) -> None:
        if number == 1:
            raise KeyboardInterrupt

    machine.before = stop
    with pytest.raises(KeyboardInterrupt):
        gate(again=False)
    machine.before = lambda _: None
    found = gate(again=False)
    assert machine.tasks[1].fresh_process
    assert finding(found, "time", CELL).note.startswith("failed in 2 processes")


def test_what_is_flagged_is_judged_by_fresh_processes(gate: Gate, machine: Machine) -> None:
    machine.slower = {HEAD_CSR: 1.05}
    found = gate()
    looks: dict[str, set[str]] = {}
    for visit in machine.visits:
        look = visit.record.series.split(maxsplit=2)[2]
        looks.setdefault(look, set()).add(visit.record.process)
    assert looks["again"]
    assert not looks["again"] & looks["first look"]
    again = [v for v in machine.visits if v.record.series.endswith("again")]
    forward = [v for v in again if (v.problem.computes, v.problem.batch) == ("forward", 64)]
    cells = [v for v in forward if v.problem.network == "gate"]
    assert finding(found, "time", CELL).visits == len(cells)
    assert {name for v in cells for name in v.rows} == {
        f"{side}:{CSR}" for side in ("base", "control", "head")
    }


def test_code_is_compiled_in_a_fair_order_and_raced_in_any(gate: Gate, machine: Machine) -> None:
    gate()
    orders: dict[str, list[tuple[str, ...]]] = {}
    for task in machine.tasks:
        if len(task.kernels) == 6:  # a workload, with both kernels of all sides
            orders.setdefault(task.problem.problem_id, []).append(task.kernels)
    for first, *others in orders.values():
        sides = [name.partition(":")[0] for name in first]
        # What the first one to compile pays alone falls on the control.
        assert sides == ["control"] * 2 + ["base"] * 2 + ["head"] * 2
        assert len(set(others)) > 1


def test_a_stopped_gate_goes_on_where_it_was(gate: Gate, machine: Machine, tmp_path: Path) -> None:
    def stop(number: int) -> None:
        if number == 50:
            raise KeyboardInterrupt

    machine.before = stop
    with pytest.raises(KeyboardInterrupt):
        gate(again=False)
    machine.before = lambda _: None
    found = gate(again=False)
    made = len(machine.visits)
    with_store = Store(tmp_path / "out" / FILE_NAME, readonly=True)
    assert len(with_store.visits(found.run.run_id)) == made
    # Asked for once more, all is there; and what is stored says the same without measuring.
    assert gate(again=False) == found
    assert len(machine.visits) == made
    with_store.close()
    stored = results.load(tmp_path / "out")
    again = latest(stored.run, stored.series, stored.kernels, stored.asked("gate"))
    assert again == found
    assert page.sections(stored, "gate")[0].record["answers"]


def test_other_kernels_are_other_visits(project: Path, gate: Gate, machine: Machine) -> None:
    """What was measured of one version is not taken for another's."""
    base = revision(project)
    head = revision(project, f"{FAMILY}\n# changed")
    gate(base, base, again=False)
    made = len(machine.visits)
    gate(base, head, again=False)
    assert len(machine.visits) > made


def command(base: str, head: str, out: Path, *more: str) -> int:
    return main(
        ["gate", "--base", base, "--head", head, "--budget", "60s", "--out", str(out / "kept"),
         *more]
    )  # fmt: skip


def test_the_command_keeps_a_history_and_exports(
    project: Path, machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = revision(project)
    assert command(base, base, tmp_path, "--quiet") == 0
    head = revision(project, f"{FAMILY}\n# slower")
    machine.slower = {HEAD_CSR: 1.06}
    assert command(base, head, tmp_path, "--quiet", "--json", "--export", "report") == 1
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["studies"]["gate"]["answers"][0]["verdict"] == "slower"
    assert {"summary.md", "junit.xml"} <= set(os.listdir("report"))
    assert main(["history", "--out", str(tmp_path / "kept"), "--json", "--quiet"]) == 0
    trends = {
        each["name"]: each
        for each in json.loads(capsys.readouterr().out)
        if each["metric"] == "time"
    }
    assert trends[CELL]["revisions"] == [base, head]
    assert trends[CELL]["values"][1] / trends[CELL]["values"][0] == pytest.approx(1.06, abs=0.02)
    # Bound by its operations: 2 nnz n at 2 GFLOP/s; the dense kernel does 2 m k n.
    dense = trends[f"{DENSE} fc1 forward batch 64"]
    useful, executed = 2 * 23520 * 64 / 2e9, 2 * 235200 * 64 / 2e9
    assert trends[CELL]["rooflines"][0] * trends[CELL]["values"][0] == pytest.approx(useful, 0.05)
    assert dense["rooflines"][0] * dense["values"][0] == pytest.approx(executed, 0.05)


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda _: "no-such-branch", "revision 'no-such-branch' is no commit"),
        (lambda _: "--all", "revision '--all' is no commit|has no value"),
        (lambda folder: _without_kernels(folder), "has no folder kernels"),
        (lambda folder: revision(folder, "import planted_and_missing"), "cannot be loaded"),
        (lambda folder: revision(folder, "raise SystemExit(0)"), "cannot be loaded"),
        (lambda folder: revision(folder, ""), "no kernel in common"),
    ],
)
def test_a_bad_base_is_one_line_and_exit_2(
    project: Path, machine: Machine, temporary: Path, tmp_path: Path,
    prepare: Callable[[Path], str], says: str, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    base, head = prepare(project), revision(project)
    assert command(base, head, tmp_path, "--quiet") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("crossover: ")
    assert any(part in line for part in says.split("|")), line
    assert not list(temporary.iterdir())


def _without_kernels(folder: Path) -> str:
    git(folder, "mv", "kernels", "elsewhere")
    base = commit(folder, "no kernels")
    git(folder, "mv", "elsewhere", "kernels")
    return base


def test_outside_a_repository_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert main(["gate", "--base", "main", "--out", str(tmp_path / "out")]) == 2
    assert "is in no git repository" in capsys.readouterr().err
    assert main(["gate"]) == 2
    assert "no --base is given" in capsys.readouterr().err


def test_too_little_measured_is_refused_unless_it_is_wrong(gate: Gate, machine: Machine) -> None:
    with pytest.raises(InputError, match=r"only 0 of 8 cells compared \(8 with fewer than 12"):
        gate(budget_s=0.5)
    machine.rows = {HEAD_CSR: WRONG}
    assert finding(gate(budget_s=0.5), "time", CELL).verdict == "wrong"


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ({f"base:{DENSE}": WRONG}, "4 in which base is wrong"),
        ({f"control:{DENSE}": FAILED}, "4 in which control failed"),
    ],
)
def test_under_half_compared_is_exit_2_and_says_why(
    project: Path, machine: Machine, tmp_path: Path, rows: dict[str, dict[str, Any]], why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """What was not compared counts, for whatever reason it was not: it is not just left out."""
    base = revision(project, FAMILY + KERNEL.format(cls="Gone", name="gone-csr"))
    machine.rows = rows
    assert command(base, revision(project), tmp_path, "--quiet") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "only 4 of 12 cells compared" in line
    assert "4 gone in head" in line
    assert why in line


def test_a_kernel_that_is_gone_is_said_and_counted(project: Path, gate: Gate) -> None:
    base = revision(project, FAMILY + KERNEL.format(cls="Gone", name="gone-csr"))
    found = gate(base, revision(project))
    assert str(found.coverage) == "8 of 12 cells compared (4 gone in head)"
    assert "8 of 12 cells compared" in view.sentence(found)


UNLOADABLE = "import planted_and_missing"


def test_head_is_checked_by_itself_where_base_cannot_be_loaded(
    project: Path, machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, head = revision(project, UNLOADABLE), revision(project)
    assert command(base, head, tmp_path, "--quiet") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "head was checked by itself, and computes 8 cells right" in line
    machine.rows = {HEAD_CSR: WRONG}
    assert command(base, head, tmp_path, "--quiet", "--again") == 3
    printed = capsys.readouterr().out
    assert "a wrong result" in printed
    assert set(machine.visits[-1].rows) <= {HEAD_CSR, f"head:{DENSE}"}
    # What is stored says the same.
    stored = results.load(tmp_path / "kept")
    assert page.sections(stored, "gate")[0].record["answers"][0]["verdict"] == "wrong"


def test_head_that_cannot_be_loaded_is_a_regression_where_base_can(
    project: Path, machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, head = revision(project), revision(project, UNLOADABLE)
    assert command(base, head, tmp_path, "--quiet") == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("crossover: a confirmed regression: head")
    assert "cannot be loaded" in line
    assert command(head, head, tmp_path, "--quiet") == 2, "neither can be loaded"


def test_what_a_version_lacks_stands_beside_every_verdict(project: Path, gate: Gate) -> None:
    """All sides run under one set of libraries, which may be another than base declares."""
    text = (project / "pyproject.toml").read_text()
    assert gate().environment == ""
    (project / "pyproject.toml").write_text(text.replace("numpy>=2", "numpy>=2,<2.0.1"))
    base = commit(project, "another NumPy")
    (project / "pyproject.toml").write_text(text)
    head = commit(project, "this one")
    found = gate(base, head)
    lacking = f"base: numpy<2.0.1,>=2 is needed, {np.__version__} is installed"
    assert found.environment == lacking
    assert set(view.table(found)["environment"]) == {lacking}
    assert lacking in view.libraries(found)
    text = exports.junit.xml(found)
    assert text.count(html.escape(lacking)) == len(found.findings)


def test_only_the_kernels_that_are_named_are_gated(gate: Gate, machine: Machine) -> None:
    found = gate(kernels=(CSR,))
    assert {each.name.split()[0] for each in found.findings} == {CSR}
    with pytest.raises(InputError, match="kernel 'magic' is not gated here"):
        gate(kernels=("magic",))


def test_the_users_checkout_is_only_read(project: Path, gate: Gate) -> None:
    (project / "kernels" / "cpu" / "ignored.py").write_text("raise SystemExit")
    (project / "kernels" / "cpu" / "planted.py").write_text(FAMILY.replace(CSR, "mine-csr"))
    before = {p: p.stat().st_mtime_ns for p in project.rglob("*") if ".git" not in p.parts}
    status = git(project, "status", "--porcelain")
    # What is not committed is compared, what git ignores is not.
    found = gate("HEAD", "worktree")
    assert {e.name.split()[0] for e in found.findings if e.verdict == "new"} == {"mine-csr"}
    assert found.head.commit.endswith("-dirty")
    after = {p: p.stat().st_mtime_ns for p in project.rglob("*") if ".git" not in p.parts}
    assert after == before
    assert git(project, "status", "--porcelain") == status


def test_levels_and_work_are_those_of_the_cells(gate: Gate) -> None:
    found = gate()
    cells = {each.name for each in found.findings if each.metric == "time"}
    assert {cell.name for cell in found.levels} == {cell.name for cell in found.work} == cells
    assert found.versions["numpy"] == np.__version__
