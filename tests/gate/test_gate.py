"""The gate from end to end, on a machine whose times are planted; no clock is read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossover.bench.commands.main import main
from crossover.bench.errors import InputError
from crossover.bench.gate.comparison import Comparison, latest
from crossover.bench.gate.verdicts import Finding
from crossover.bench.records.store import FILE_NAME, Store
from crossover.reports import page, results
from tests.gate.conftest import Gate
from tests.gate.project import CSR, DENSE, FAMILY, KERNEL, Machine, commit, git, revision

HEAD_CSR, BASE_CSR = f"head:{CSR}", f"base:{CSR}"
CELL = f"{CSR} fc1 forward batch 64"


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
    moved = finding(gate(), "crossover", f"fc1 at batch 64, {CSR}")
    assert moved.verdict == "slower"
    assert moved.change == pytest.approx(0.05, abs=0.005)
    ends = [float(each) for each in re.findall(r"\d+\.\d", moved.note)]
    assert ends == pytest.approx([60, 60, 65, 65], abs=0.6)
    assert "over the fastest dense kernel, on a drawn row-skewed pattern" in moved.note


def test_a_second_dense_kernel_that_is_faster_moves_the_crossover(
    project: Path, gate: Gate, machine: Machine
) -> None:
    """The baseline is the fastest dense kernel of each side, whichever that is."""
    faster = FAMILY + KERNEL.format(cls="Dense2", name="other-dense").replace(
        "(Planted)", "(Dense)"
    )
    revision(project, faster)
    crossing = f"fc1 at batch 64, {CSR}"
    assert finding(gate(), "crossover", crossing).verdict == "same"
    machine.slower = {"head:other-dense": 0.8}
    moved = finding(gate(), "crossover", crossing)
    assert moved.verdict == "slower"
    assert moved.base == pytest.approx(0.6, abs=0.01)
    assert moved.head == pytest.approx(0.68, abs=0.01)


def test_a_base_without_a_crossover_has_none_to_move(gate: Gate, machine: Machine) -> None:
    machine.slower = {f"{side}:{CSR}": 1e3 for side in ("base", "control", "head")}
    crossed = finding(gate(), "crossover", f"fc1 at batch 64, {CSR}")
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


@pytest.mark.parametrize("status", ["wrong", "failed"])
def test_a_wrong_result_is_exit_3_only_where_head_has_it(
    gate: Gate, machine: Machine, status: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {"status": status, "reason": "at (0, 0) it is 1"}
    machine.rows = {BASE_CSR: broken}
    found = finding(gate(), "time", CELL)
    assert (found.verdict, found.note) == ("new", "base: at (0, 0) it is 1")
    machine.rows = {HEAD_CSR: broken}
    found = finding(gate(), "time", CELL)
    assert (found.verdict, found.note) == ("wrong", "at (0, 0) it is 1")
    assert command("HEAD", "HEAD", tmp_path) == 3
    assert "a wrong result" in capsys.readouterr().out


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
    with pytest.raises(InputError, match="give more --budget"):
        gate(budget_s=0.5)
    machine.rows = {HEAD_CSR: {"status": "wrong", "reason": "it is 1"}}
    assert finding(gate(budget_s=0.5), "time", CELL).verdict == "wrong"


def test_only_the_kernels_that_are_named_are_gated(gate: Gate, machine: Machine) -> None:
    found = gate(kernels=(CSR,))
    assert {
        each.name.split()[-1 if each.metric == "crossover" else 0] for each in found.findings
    } == {CSR}
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
