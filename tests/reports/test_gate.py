"""What a gate writes, read by the tools it is written for; and the trends over commits."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from junitparser import Error, Failure, JUnitXml

from crossover.bench.gate.faults import Coverage
from crossover.bench.gate.statistics import Levels
from crossover.bench.gate.verdicts import Finding
from crossover.reports.exports import gate as exports
from crossover.reports.views import gate, history
from tests.reports import made

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SECONDS = 1e-4


@dataclass(frozen=True)
class Cell:
    """What a gate times, as far as exports know it."""

    kernel: str
    name: str
    digest: str = "d"
    sparsity: float = 0.9


@pytest.fixture(scope="module")
def found() -> Any:
    """A comparison of two cells: one is 10 % slower."""
    rng = np.random.default_rng(0)
    cells = [Cell("numpy-dense", "numpy-dense fc1 forward batch 1"),
             Cell("scipy-csr", "scipy-csr fc1 forward batch 64")]  # fmt: skip
    levels = {}
    for cell, slower in zip(cells, (1.0, 1.1), strict=True):
        levels[cell] = Levels()
        for process in range(40):
            base, control, head = np.log(SECONDS) + rng.normal(0, 0.01, 3)
            levels[cell].add(str(process), base, control, head + np.log(slower))
    slow = Finding("time", cells[1].name, "d", "slower", SECONDS, 1.1 * SECONDS, 0.1,
                   0.09, 0.11, 0.001, 40)  # fmt: skip
    same = replace(slow, name=cells[0].name, verdict="same", head=SECONDS, change=0.0)
    wrong = Finding("time", "bad | fc1 <forward>", "d", "wrong", note="at (0, 0) it is 1")
    memory = Finding("memory", "scipy-csr", "d", "same", 1000.0, 1000.0, 0.0)
    crossed = Finding("crossover", "fc1 at batch 64, k", "d", "slower", 0.325, 0.43, 0.105,
                      0.1, 0.11, 0.0, 40)  # fmt: skip
    version = {"title": "main", "commit": COMMIT, "committed_at": "2026-01-02T03:04:05+01:00"}
    return SimpleNamespace(
        base=SimpleNamespace(**version),
        head=SimpleNamespace(**{**version, "title": "topic", "commit": COMMIT[::-1]}),
        findings=[same, slow, wrong, memory, crossed],
        levels=levels,
        threads=2,
        versions={"python": "3.12.1"},
        measuring_s=60.0,
        processes=4,
        coverage=Coverage(2, 3, {"gone in head": 1}),
        environment="",
        wrong=True,
        regressed=True,
    )


@pytest.fixture(scope="module")
def folder(found: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every export."""
    folder = tmp_path_factory.mktemp("exports")
    machine = {**made.RUN.machine, "architecture": "x86_64", "system": "Linux"}
    assert all(path.stat().st_size for path in exports.write(found, machine, folder))
    return folder


def test_junitparser_reads_a_failure_and_an_error(folder: Path) -> None:
    (suite,) = JUnitXml.fromfile(str(folder / "junit.xml"))
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (5, 2, 1, 0)
    cases = {case.name: case for case in suite}
    (failed,) = cases["scipy-csr fc1 forward batch 64"].result
    assert isinstance(failed, Failure)
    assert "+10.0 [+9.0, +11.0] %" in failed.message
    (error,) = cases["bad | fc1 <forward>"].result
    assert isinstance(error, Error)
    assert cases["scipy-csr"].is_passed


def test_pytest_benchmark_compares_base_and_head(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", "--columns=median", "--sort=name",
         "pytest-benchmark-base.json", "pytest-benchmark-head.json"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("scipy-csr fc1 forward batch 64") == 2
    assert "(1.1" in done.stdout, done.stdout


def test_asv_loads_its_results(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asv.benchmarks import Benchmarks
    from asv.config import Config
    from asv.results import Results

    monkeypatch.chdir(folder / "asv")
    config = Config.load("asv.conf.json")
    known = Benchmarks.load(config)
    (path,) = Path("results", "this").glob("*-gate.json")
    results = Results.load(str(path), machine_name="this")
    assert results.commit_hash == COMMIT[::-1]
    name = "gate.scipy-csr_fc1_forward_batch_64"
    assert results.get_result_value(name, known[name]["params"]) == [
        pytest.approx(1.1 * SECONDS, rel=0.01)
    ]
    stats = results.get_result_stats(name, known[name]["params"])
    assert stats[0]["q_25"] < stats[0]["q_75"]


def test_the_markdown_has_what_matters_open(folder: Path) -> None:
    text = (folder / "summary.md").read_text()
    open_, folded = text.split("<details>")
    assert "a wrong result" in open_.splitlines()[0]
    assert "32.5 % | 43.0 %" in " ".join(open_.split())
    assert "numpy-dense" not in open_
    assert "numpy-dense fc1 forward batch 1" in folded
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {10}


def test_the_table_begins_with_what_is_urgent(found: Any) -> None:
    assert list(gate.table(found)["verdict"]) == ["wrong", "slower", "slower", "same", "same"]
    assert gate.sentence(found).startswith("a wrong result: topic against main: 2 slower, 2 same")


def test_a_trend_is_shown_with_its_change() -> None:
    steady: Any = SimpleNamespace(
        metric="time", name="k fc2", digest="d", values=(1e-3,) * 30, rooflines=(None,), changes=()
    )
    change = SimpleNamespace(revision=f"{15:040}", change=0.12)
    changed: Any = SimpleNamespace(
        metric="time", name="k fc1", digest="d", values=(1e-3,) * 15 + (1.12e-3,) * 9,
        rooflines=(0.5,), changes=(change,),
    )  # fmt: skip
    table = history.table([steady, changed])
    assert list(table["of"]) == ["k fc1", "k fc2"]
    assert table["changed at"][0] == "0000000000 +12.0 %"
    assert table["course"][0] == "▁" * 15 + "█" * 9
    assert (table["newest"][0], table["of the ceilings"][0]) == ("1120.0 µs", "50 %")
    assert len(table["course"][1]) == 24
