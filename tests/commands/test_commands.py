"""Commands from end to end: what they print, what they keep, and their exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crossover.bench.__main__ import main
from crossover.bench.harness.visits import Visitor
from crossover.bench.machine.identity import available_cores
from crossover.bench.records.rows import Visit
from crossover.bench.records.store import FILE_NAME, Store
from crossover.bench.studies.experiments import EXPERIMENTS
from crossover.bench.workloads.pruning import registry
from crossover.kernels import discover
from tests.commands.conftest import SWEEP
from tests.reports import made

ROOT = Path(__file__).parents[2]
FAKES = ["--kernel-module", "tests.fakes"]
COMMANDS = {
    "run": ["run", "--sparsity", "0.9", "--batch", "8", "--passes", "forward", "--budget", "0.2s",
            "--kernels", "numpy-dense", "fake-halving", *FAKES],
    "search": ["search", "--layer", "fc2", "--kernels", "fake-halving", "--against", "fake-steady",
               "--width", "0.1", "--budget", "3s", *FAKES],
    "peers": ["peers", "--network", "none", "--squares", "16", "--batch", "8", "--sparsity", "0.5",
              "--kernels", "fake-halving", "--passes", "forward", *FAKES],
    "step": ["step", "--network", "lenet-300-100", "--pattern", "initial", "--batch", "8",
             "--budget", "1s", "--kernels", "numpy-masked-update", "numba-csr"],
    "scaling": ["scaling", "--shape", "16x16", "--batch", "8", "--sparsity", "0.5", "--passes",
                "forward", "--kernels", "fake-halving", *FAKES],
    "regret": ["regret", "--shape", "16x100", "--batch", "8", "--sparsity", "0.5", "--passes",
               "forward"],
}  # fmt: skip


def visits(folder: Path) -> list[Visit]:
    store = Store(folder / FILE_NAME, readonly=True)
    found = store.visits(store.run().run_id)
    store.close()
    return found


def command(name: str, out: Path, data: Path) -> list[str]:
    more = ["--data", str(data)] if name == "run" else []
    return [*COMMANDS[name], *more, "--out", str(out), "--quiet"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_study_is_measured_shown_and_kept(
    name: str, small_mnist: Path, small_data: None, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if name == "scaling" and available_cores() < 2:
        pytest.skip("not run: one core")
    assert main([*command(name, tmp_path, small_mnist), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)
    assert captured.err == ""
    made = visits(tmp_path)
    assert made
    assert (tmp_path / "report.html").stat().st_size > 1000
    if name == "search":  # a search that the budget ended goes on
        return
    assert main(command(name, tmp_path, small_mnist)) == 0
    assert capsys.readouterr().out
    again = visits(tmp_path)
    assert again[: len(made)] == made
    assert name == "run" or len(again) == len(made)


@pytest.mark.parametrize("kernel", ["fake-wrong", "fake-nan-once"])
def test_a_wrong_kernel_is_exit_3(
    kernel: str, small_mnist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command("run", tmp_path, small_mnist)
    assert main([*arguments, "--kernels", "numpy-dense", kernel]) == 3
    error = capsys.readouterr().err
    assert f"wrong result: lenet-300-100, fc1, forward, batch 8, {kernel}" in error
    rows = [visit.rows for visit in visits(tmp_path)]
    assert {each["numpy-dense"].status for each in rows} == {"measured"}


def test_nothing_measured_is_exit_2_and_says_why(
    small_mnist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", *SWEEP, "--data", str(small_mnist), "--out", str(tmp_path), *FAKES]
    assert main([*arguments, "--kernels", "fake-absent"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "nothing was measured (fake-absent: The library of this fake was never written" in line


@pytest.mark.parametrize("name", ["run", "step"])
def test_ctrl_c_shows_what_was_found_so_far(
    name: str, small_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    visit = Visitor.visit
    made: list[Any] = []

    def stopped(self: Visitor, *given: Any) -> Visit:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(given)
        return visit(self, *given)

    monkeypatch.setattr(Visitor, "visit", stopped)
    assert main([*command(name, tmp_path, small_mnist), "--json"]) == 130
    captured = capsys.readouterr()
    assert json.loads(captured.out)
    (line,) = captured.err.strip().splitlines()
    assert "stopped; what was measured is kept, and the same command resumes" in line
    assert len(visits(tmp_path)) == 2


def test_ctrl_c_before_anything_was_measured(
    small_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def stopped(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Visitor, "visit", stopped)
    assert main(command("run", tmp_path, small_mnist)) == 130
    assert "stopped; what was measured is kept" in capsys.readouterr().err
    monkeypatch.setattr("crossover.bench.commands.machine.identity.identity", stopped)
    assert main(["machine"]) == 130
    assert capsys.readouterr().err == "crossover: stopped; nothing was kept\n"


def test_kill_9_with_a_real_worker_loses_at_most_one_visit(
    small_mnist: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    arguments = [*command("run", tmp_path, small_mnist), "--kernels", "fake-logging", "numpy-dense"]
    arguments += ["--batch", *map(str, range(1, 6))]
    environment = os.environ | {"FAKE_LOG": str(log), "PYTHONPATH": str(ROOT)}

    def start() -> subprocess.Popen[bytes]:
        # In its own process group, so that the worker is not killed with it by accident.
        return subprocess.Popen(
            [sys.executable, "-m", "crossover.bench", *arguments], cwd=tmp_path, env=environment,
            stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    first = start()
    deadline = time.monotonic() + 120
    while not log.exists() or len(log.read_text().splitlines()) < 6:
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = visits(tmp_path)
    begun = len(log.read_text().splitlines())
    assert begun - 1 <= len(kept) <= begun
    assert start().wait() == 0
    after = visits(tmp_path)
    assert after[: len(kept)] == kept
    assert len({visit.record.problem_id for visit in after}) == len(after) == 6 * 3


def test_kernels_list_names_all_with_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernels", "list", "--json"]) == 0
    listed = {line["name"]: line for line in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(discover())
    for line in listed.values():
        assert line["available"] == "yes" or line["available"].endswith(".")
    assert main(["kernels", "list"]) == 0
    assert "numpy-dense" in capsys.readouterr().out


def test_networks_train_list_and_show(
    small_mnist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["lenet-300-100", "--data", str(small_mnist), "--sparsity", "90%", "--seed", "21"]
    assert main(["networks", "train", *options, "--quiet"]) == 0
    trained = capsys.readouterr().out
    assert "fc1" in trained
    assert main(["networks", "show", *options]) == 0
    assert capsys.readouterr().out == trained
    assert main(["networks", "show", *options, "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["parameters"] == 266_610
    assert shown["nnz"] == 26_620
    assert main(["networks", "list"]) == 0
    assert "lenet-300-100" in capsys.readouterr().out


def test_a_report_is_written_again_without_measuring(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = visits(measured)
    assert main(["report", "--out", str(measured), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert visits(measured) == before
    frame = pd.read_csv(measured / "results.csv")
    assert len(frame) == 2 * 3 * 5  # sparsities, layers, kernels
    page = (measured / "report.html").read_text()
    assert "The library of this fake was never written" in page


@pytest.mark.parametrize("name", ["numba-tiled", "numba-bsr", "numba-sell"])
def test_a_kernel_explains_what_it_chose(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--shape", "300x784", "--batch", "1,256", "--json"]
    assert main(["kernels", "explain", name, *given]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert {line["batch"] for line in lines} == {1, 256, "all"}
    assert all(line["chosen"] and line["why"] for line in lines)


def test_machine_and_doctor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["machine", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cores"] == available_cores()
    assert found["versions"]["numpy"]
    assert found["ceilings"][str(available_cores())]["fma_gflops"] > 1
    kept = found["ceilings"]
    monkeypatch.setattr("crossover.bench.commands.machine.ceilings_of", lambda _: kept)
    assert main(["machine"]) == 0
    assert "empty parallel loop" in capsys.readouterr().out
    assert main(["doctor"]) == 0
    # Where a cell is wrapped depends on the figures in it.
    assert "dense baseline" in capsys.readouterr().out


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    grouped = ("networks train", "kernels explain", *(f"experiment {name}" for name in EXPERIMENTS))
    for each in (*COMMANDS, "selfcheck", "report", "machine", "doctor", *grouped):
        with pytest.raises(SystemExit) as ended:
            main([*each.split(), "--help"])
        assert ended.value.code == 0
        assert f"usage: crossover {each} [options]" in capsys.readouterr().out


def test_experiments_are_listed_with_what_they_ask(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["experiment"] for each in listed] == list(EXPERIMENTS)
    assert all(each["asks"].endswith("?") for each in listed)


def test_pruning_methods_are_listed_with_those_of_a_module(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "listed_methods_here.py").write_text(
        "from crossover.bench.workloads.pruning.method import PruningMethod\n"
        "class Mine(PruningMethod):\n    name, title = 'mine', 'as I like it'\n"
    )
    assert main(["networks", "methods", "--pruning-module", "listed_methods_here", "--json"]) == 0
    listed = {each["method"]: each["how"] for each in json.loads(capsys.readouterr().out)}
    assert listed["rigl"] == "sparse from the start, regrown by gradient (RigL)"
    assert listed["mine"] == "as I like it"


def again(measured: Path, folder: Path, machine: str = "") -> Path:
    """Return a copy of a results folder, as of a ``machine`` called so."""
    shutil.copytree(measured, folder)
    if machine:
        with closing(sqlite3.connect(folder / "results.sqlite")) as store, store:
            query = "UPDATE runs SET machine = json_set(machine, '$.cpu', ?)"
            store.execute(query, (machine,))
    return folder


def test_two_stored_runs_are_held_against_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = tmp_path / "one"
    made.results(one, made.sweep(), [made.study("sweep")])
    copy = again(one, tmp_path / "copy")
    assert main(["selfcheck", "--runs", str(one), str(copy), "--json"]) == 0
    inside, overlapping = json.loads(capsys.readouterr().out)
    # What a run finds lies in its own intervals.
    assert inside["found"].startswith("100.0% (at most 100.0%) of 30 speedups in 15 problems")
    assert "median difference 0.0%" in inside["found"]
    assert overlapping["found"].startswith("100.0%")
    assert not list(tmp_path.glob("results")), "nothing is measured"
    assert main(["selfcheck", "--runs", str(one), str(copy)]) == 0
    assert "a sweep taken twice" in capsys.readouterr().out


def test_runs_that_cannot_be_compared_are_one_line(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = again(measured, tmp_path / "other", machine="Another CPU")
    for folders, said in (
        ([measured], "--runs names 1 folders: give two, of the same sweep"),
        ([measured, tmp_path / "none"], "holds no results.sqlite"),
        ([measured, other], "on Another CPU, "),
    ):
        assert main(["selfcheck", "--runs", *map(str, folders)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
