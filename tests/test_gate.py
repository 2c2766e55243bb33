"""The gate from end to end, on versions that answer planted times; no clock is read."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossover.bench.__main__ import main
from crossover.bench.ceilings import Ceilings
from crossover.bench.errors import InputError
from crossover.bench.gate import comparison, crossings, environments, preset
from crossover.bench.gate.checkout import Checkout, remove_leftovers
from crossover.bench.gate.comparison import Comparison
from crossover.bench.gate.protocol import WorkerError, WorkerProcess
from crossover.bench.gate.session import Request, compare
from crossover.bench.gate.verdicts import Finding
from crossover.bench.worker import thread_environment
from crossover.kernels import discover
from crossover.kernels.base import PASSES
from tests import gate_project
from tests.gate_project import cell, crossing, git, repository, revision

ROOT = Path(__file__).parent.parent
Gate = Callable[..., Comparison]


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository to compare revisions of, with a folder for temporary files of its own."""
    folder = repository(tmp_path_factory.mktemp("project") / "checkout")
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    # To measure the real ones takes seconds.
    limits = Ceilings(2, 1.0, 2.0, 1.0, {"L1": 1.0, "L3": 1.0}, {"L1": 1, "L3": 1 << 30}, 0, 0)
    monkeypatch.setattr("crossover.bench.commands.gate.in_fresh_process", lambda *_: limits)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def gate(project: Path) -> Gate:
    """Return a function that compares two revisions, and asserts that nothing is left behind."""

    def call(base: str, head: str, budget_s: float = 3.0) -> Comparison:
        try:
            return compare(Request(base, head, budget_s, own_environments=False))
        finally:
            assert not list(Path(tempfile.gettempdir()).iterdir())
            assert git(project, "worktree", "list").count("\n") == 0

    return call


def finding(found: Comparison, metric: str, name: str) -> Finding:
    (one,) = [each for each in found.findings if each.metric == metric and name in each.name]
    return one


def test_five_percent_are_a_regression_of_their_cell_alone(project: Path, gate: Gate) -> None:
    base = revision(project)
    head = revision(project, seconds={"numba-csr": 1.05})
    found = gate(base, head)
    slower = finding(found, "time", "numba-csr")
    assert slower.verdict == "slower"
    assert slower.change == pytest.approx(0.05, abs=0.01)
    assert [each for each in found.findings if each.regression] == [slower]
    assert finding(gate(head, base), "time", "numba-csr").verdict == "faster"


def test_identical_code_is_the_same(project: Path, gate: Gate) -> None:
    base = revision(project)
    assert {each.verdict for each in gate(base, base).findings} == {"same"}


@pytest.mark.parametrize(
    ("planted", "metric"),
    [
        ({"nbytes": {"numba-csr": 1020}}, "memory"),
        ({"prepare": {"numba-csr": 1.3}}, "conversion"),
        ({"compile_s": {"numba-csr": 2.0}}, "compilation"),
    ],
)
def test_other_quantities_have_thresholds_of_their_own(
    project: Path, gate: Gate, planted: dict[str, Any], metric: str
) -> None:
    base = revision(project, compile_s={"numba-csr": 1.0})
    head = revision(project, **{"compile_s": {"numba-csr": 1.0}, **planted})
    regressions = [each.metric for each in gate(base, head).findings if each.regression]
    assert regressions == [metric]


def test_a_crossover_that_moves_is_a_regression(project: Path, gate: Gate) -> None:
    base, head = (revision(project, **crossing(at)) for at in (0.7, 0.75))
    moved = finding(gate(base, head), "crossover", "numba-csr")
    assert moved.verdict == "slower"
    assert moved.change == pytest.approx(0.05, abs=0.005)
    ends = [float(each) for each in re.findall(r"\d+\.\d", moved.note)]
    assert ends == pytest.approx([70, 70, 75, 75], abs=0.6)
    assert finding(gate(base, base), "crossover", "numba-csr").verdict == "same"


def test_cells_that_only_one_version_has_are_not_compared(project: Path, gate: Gate) -> None:
    changed = cell("scipy-csr", seed=2)
    base = revision(project, [cell("numba-csr"), cell("numpy-dense"), cell("scipy-csr")])
    head = revision(project, [cell("numba-csr"), cell("numba-sell"), changed])
    verdicts = {
        (each.name.split()[0], each.verdict)
        for each in gate(base, head).findings
        if each.metric == "time"
    }
    assert verdicts == {
        ("numba-csr", "same"), ("numba-sell", "new"), ("numpy-dense", "gone"),
        ("scipy-csr", "new"), ("scipy-csr", "gone"),
    }  # fmt: skip


def test_operands_drawn_differently_are_not_compared(project: Path, gate: Gate) -> None:
    base, head = revision(project), revision(project, inputs="others")
    assert {each.verdict for each in gate(base, head).findings if each.metric == "time"} == {"new"}


@pytest.mark.parametrize("fault", ["wrong", "crashes"])
def test_a_wrong_result_is_exit_3_only_where_head_has_it(
    project: Path, gate: Gate, fault: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    planted: dict[str, Any] = {fault: ["numba-csr"]}
    good, bad = revision(project), revision(project, **planted)
    wrong = finding(gate(good, bad), "time", "numba-csr")
    assert wrong.verdict == "wrong"
    assert wrong.note
    assert finding(gate(bad, good), "time", "numba-csr").verdict == "new"
    assert command(good, bad, tmp_path) == 3
    assert "a wrong result" in capsys.readouterr().err


def command(base: str, head: str, out: Path, *more: str) -> int:
    return main(
        ["gate", "--base", base, "--head", head, "--budget", "2s", "--this-environment",
         "--out", str(out / "out"), *more]
    )  # fmt: skip


def test_the_command_keeps_a_history_and_exports(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, head = revision(project), revision(project, seconds={"numba-csr": 1.06})
    assert command(base, base, tmp_path, "--quiet") == 0
    assert command(base, head, tmp_path, "--quiet", "--json", "--export", "report") == 1
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["findings"][0]["verdict"] == "slower"
    assert {"summary.md", "junit.xml", "bencher.json"} <= set(os.listdir("report"))
    assert main(["history", "--out", str(tmp_path / "out"), "--json", "--quiet"]) == 0
    (trend,) = [
        each
        for each in json.loads(capsys.readouterr().out)
        if each["metric"] == "time" and each["name"] == cell("numba-csr").name
    ]
    assert trend["revisions"] == [base, head]
    assert trend["values"][1] / trend["values"][0] == pytest.approx(1.06, abs=0.02)
    assert trend["rooflines"][0] > 0


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda _: "no-such-branch", "revision 'no-such-branch' is no commit"),
        (lambda _: "--all", "revision '--all' is no commit|expected one argument"),
        (lambda folder: revision(folder, protocol=0), "speaks version 0 of the gate's protocol"),
        (lambda folder: _without_benchmark(folder), "has no benchmark for the gate"),
        (lambda folder: revision(folder, [cell("scipy-csc")]), "no cell in common"),
    ],
)
def test_a_bad_base_is_one_line_and_exit_2(
    project: Path, tmp_path: Path, prepare: Callable[[Path], str], says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    base, head = prepare(project), revision(project)
    assert command(base, head, tmp_path, "--quiet") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("crossover: ")
    assert any(part in line for part in says.split("|"))
    assert not list(Path(tempfile.gettempdir()).iterdir())


def _without_benchmark(folder: Path) -> str:
    (folder / "bench" / "gate" / "worker.py").unlink()
    commit = gate_project.commit(folder, "no benchmark")
    git(folder, "checkout", "--quiet", "HEAD~1", "--", "bench")
    return commit


def test_outside_a_repository_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert main(["gate", "--base", "main", "--out", str(tmp_path / "out")]) == 2
    assert "is in no git repository" in capsys.readouterr().err
    assert main(["gate"]) == 2
    assert "no --base is given" in capsys.readouterr().err


def test_too_little_measured_is_refused(
    project: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "_SCREENS", 1)
    base = revision(project)
    with pytest.raises(InputError, match="give more --budget"):
        gate(base, base, budget_s=0.01)


def test_the_users_checkout_is_only_read(project: Path, gate: Gate) -> None:
    base = revision(project)
    hook = project / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    trace = project.parent / "ran"
    hook.write_text(f"#!/bin/sh\ntouch {trace}\n")
    hook.chmod(0o755)
    (project / "ignored.txt").write_text("mine")
    plan = json.loads((project / "plan.json").read_text())
    (project / "plan.json").write_text(json.dumps(plan | {"seconds": {"numba-csr": 1.1}}))
    before = {
        path: path.stat().st_mtime_ns for path in project.rglob("*") if ".git" not in path.parts
    }
    status = git(project, "status", "--porcelain")
    # What is not committed is measured.
    assert finding(gate(base, "worktree"), "time", "numba-csr").verdict == "slower"
    after = {
        path: path.stat().st_mtime_ns for path in project.rglob("*") if ".git" not in path.parts
    }
    assert after == before
    assert git(project, "status", "--porcelain") == status
    assert not trace.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_behind_when_it_is_ended(project: Path, number: signal.Signals) -> None:
    """A killed run can clean up nothing: the next one does."""
    base = revision(project, hangs=["numba-csr"])
    temporary = Path(tempfile.gettempdir())
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "bench", "gate", "--base", base, "--head", base,
         "--this-environment", "--out", str(project.parent / "out")],
        env=os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(temporary.glob("*/head/plan.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(temporary.glob("*/head/plan.json"))
    assert remove_leftovers(project) == 0, "it still runs"
    process.send_signal(number)
    process.communicate(timeout=30)
    if number == signal.SIGTERM:
        # CPython ends with the signal itself where one met a string in ``exec``: an import of
        # dataclasses, say. It is cleaned up all the same.
        assert process.returncode in (130, -signal.SIGINT)
    else:
        assert remove_leftovers(project) == 1
    assert not list(temporary.glob("crossover-gate-*"))
    assert git(project, "worktree", "list").count("\n") == 0


def test_a_worker_that_hangs_or_dies_is_said_so(project: Path) -> None:
    revision(project, hangs=["numba-csr"], crashes=["numpy-dense"])
    for kernel, says in (("numba-csr", "no answer within"), ("numpy-dense", "broke everything")):
        worker = WorkerProcess(Path(sys.executable), project, os.environ, time_limit_s=0.5)
        with pytest.raises(WorkerError, match=says):
            worker.ask("turn", cell={"kernel": kernel})
        assert not worker.alive
        worker.close()


def test_an_environment_is_built_once_and_not_by_halves(tmp_path: Path) -> None:
    told: list[str] = []
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text(gate_project._PYPROJECT)
    python = environments.obtain(source, "base", told.append)
    assert subprocess.run([str(python), "-m", "pip", "--version"], check=False).returncode == 0
    assert environments.obtain(source, "head", told.append) == python
    assert told == ["environment of base"]
    planted = gate_project._PYPROJECT.replace("[]", '["planted @ file:///nowhere/planted.whl"]')
    (source / "pyproject.toml").write_text(planted)
    with pytest.raises(InputError, match="base v1 does not install"):
        environments.obtain(source, "base v1", told.append)
    (source / "pyproject.toml").write_text("[project")
    with pytest.raises(InputError, match="its pyproject"):
        environments.obtain(source, "base v1", told.append)
    assert len(list(environments.folder().iterdir())) == 1
    assert environments.remove_all() == 1


def test_the_real_worker_measures_a_real_cell(tmp_path: Path) -> None:
    (real,) = [c for c in preset.cells(discover()) if c.name == "scipy-csr fc1 forward batch 64"]
    environment = {**os.environ, **thread_environment(1)}
    worker = WorkerProcess(Path(sys.executable), ROOT, environment)
    try:
        hello = worker.hello()
        assert preset.Cell(**hello["cells"][0]) in preset.cells(discover())
        definition = next(c for c in hello["cells"] if preset.Cell(**c) == real)
        checked = worker.ask("check", cell=definition, path=str(tmp_path / "result.npy"))
        assert checked["problem"] is None
        weight, x, _ = real.operands()
        np.testing.assert_allclose(
            np.load(tmp_path / "result.npy"), weight.values @ x, rtol=1e-4, atol=1e-4
        )
        loops = worker.ask("calibrate", cell=definition)["loops"]
        turn = worker.ask("turn", cell=definition, loops=loops, place=7)
        assert turn["seconds"] > 0
        assert turn["problem"] is None
        with pytest.raises(WorkerError, match="KeyError"):
            worker.ask("dance")
    finally:
        worker.close()


def test_the_preset_covers_every_family_pass_and_batch() -> None:
    cells = preset.cells(discover())
    assert 20 <= len(cells) <= 40
    assert {each.pass_ for each in cells} == set(PASSES)
    assert {each.batch for each in cells} == {1, 16, 64, 256}
    available = {
        name
        for name, kernel in discover().items()
        if kernel.device == "cpu" and not name.startswith(("mkl-", "torch-"))
    }
    assert {each.kernel for each in cells} == available
    assert len({each.digest for each in cells}) == len(cells) == len({each.name for each in cells})


def test_a_definition_and_its_operands_belong_together() -> None:
    """Operands of the same definition never change: ``VERSION`` is to be raised with them."""
    weight, x, dy = cell("numba-csr").operands()
    assert weight.nnz == 96
    assert float(x.sum()) == pytest.approx(25.577, abs=1e-3)
    assert dy.shape == (12, 4)


def test_lines_cross_where_they_should() -> None:
    grid = np.array([0.5, 0.6, 0.7, 0.8, 0.9])
    speedups = np.log(0.3) - np.log(1 - grid)  # as fast at 30 % of the density
    assert crossings.line_crossing(list(grid), list(speedups)) == pytest.approx(0.7)
    assert crossings.line_crossing(list(grid), list(speedups + 5)) == 0.0
    assert np.isnan(crossings.line_crossing([0.6, 0.7], [0.1, 0.0]))


def test_a_checkout_of_a_live_run_is_left_alone(project: Path) -> None:
    with Checkout() as one:
        with Checkout() as two:
            assert one.folder != two.folder
            assert one.folder.exists()
        assert one.folder.exists()
