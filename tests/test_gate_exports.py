"""What a gate writes, read by the tools it is written for; where one is missing, that is said."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossover.bench.gate import preset
from crossover.bench.gate.comparison import Comparison
from crossover.bench.gate.statistics import Levels
from crossover.bench.gate.trio import Version
from crossover.bench.gate.verdicts import Finding
from crossover.kernels import discover
from crossover.reports import exports, gate

ROOT = Path(__file__).parent.parent
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SECONDS = 1e-4


@pytest.fixture(scope="module")
def found() -> Comparison:
    """A comparison of two cells: one is 10 % slower."""
    rng = np.random.default_rng(0)
    cells = [
        each
        for each in preset.cells(discover())
        if each.name in ("numpy-dense fc1 forward batch 1", "scipy-csr fc1 forward batch 64")
    ]
    levels = {}
    for cell, slower in zip(cells, (1.0, 1.1), strict=True):
        levels[cell] = Levels()
        for generation in range(40):
            base, control, head = np.log(SECONDS) + rng.normal(0, 0.01, 3)
            levels[cell].add(generation, base, control, head + np.log(slower))
    slow = Finding("time", cells[1].name, cells[1].digest, "slower", SECONDS, 1.1 * SECONDS, 0.1,
                   0.09, 0.11, 0.001, 40)  # fmt: skip
    same = replace(slow, name=cells[0].name, verdict="same", head=SECONDS, change=0.0)
    wrong = Finding("time", "bad | fc1 <forward>", "d", "wrong", note="at (0, 0) it is 1")
    memory = Finding("memory", "scipy-csr", "d", "same", 1000.0, 1000.0, 0.0)
    crossed = Finding("crossover", "fc1 at batch 64, k", "d", "slower", 0.325, 0.43, 0.105,
                      0.1, 0.11, 0.0, 40)  # fmt: skip
    version = Version("main", COMMIT, Path(), Path(), Path(), "2026-01-02T03:04:05+01:00")
    return Comparison(
        base=version,
        head=replace(version, title="topic", commit=COMMIT[::-1]),
        findings=[same, slow, wrong, memory, crossed],
        levels=levels,
        threads=2,
        versions={"python": "3.12.1"},
        measuring_s=60.0,
        generations=4,
    )


@pytest.fixture(scope="module")
def folder(found: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every export."""
    folder = tmp_path_factory.mktemp("exports")
    assert all(path.stat().st_size for path in exports.write(found, folder))
    return folder


def test_pytest_benchmark_compares_base_and_head(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", "--columns=median", "--sort=name",
         "pytest-benchmark-base.json", "pytest-benchmark-head.json"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("scipy-csr fc1 forward batch 64") == 2
    assert "(1.1" in done.stdout, done.stdout


def test_the_suite_runs_and_compares_itself_with_an_export(folder: Path, tmp_path: Path) -> None:
    # Not one of xdist's workers, in which pytest-benchmark times nothing.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(ROOT / "bench"), "--benchmark-only", "-p",
         "no:cacheprovider", "-k", "numpy-dense and fc1 and forward and (1] or 64])", "--rootdir",
         str(ROOT), f"--benchmark-compare={folder / 'pytest-benchmark-head.json'}",
         f"--benchmark-json={tmp_path / 'mine.json'}", "--benchmark-columns=median"],
        cwd=ROOT, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    mine = {each["param"]: each for each in _benchmarks(tmp_path / "mine.json")}
    theirs = {each["fullname"] for each in _benchmarks(folder / "pytest-benchmark-head.json")}
    (one,) = [each for each in mine.values() if "forward batch 1]" in each["name"]]
    assert one["fullname"] in theirs
    assert done.stdout.count("numpy-dense fc1 forward batch 1]") == 2, done.stdout
    assert one["extra_info"]["relative_error"] < 1e-5
    assert one["stats"]["iterations"] > 10, "warm-up did not come before the calibration"


def _benchmarks(path: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads(path.read_text())["benchmarks"]
    return content


def test_asv_loads_its_results(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("asv") is None:
        pytest.skip("not run: asv is not installed")
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


def test_junit_counts_a_failure_and_an_error(folder: Path) -> None:
    suite = ET.parse(folder / "junit.xml").getroot()[0]
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "5", "failures": "2", "errors": "1", "skipped": "0"}
    (failed,) = [case for case in suite if case.get("name") == "scipy-csr fc1 forward batch 64"]
    message = failed[0].get("message")
    assert message is not None
    assert "+10.0 [+9.0, +11.0] %" in message


def test_bencher_and_github_action_benchmark_get_what_they_document(folder: Path) -> None:
    """By their documented schemas: neither tool is in a Python package index."""
    bencher = json.loads((folder / "bencher.json").read_text())
    latency = bencher["scipy-csr fc1 forward batch 64"]["latency"]
    assert latency["lower_value"] < latency["value"] < latency["upper_value"]
    assert latency["value"] == pytest.approx(1.1e9 * SECONDS)
    for measures in bencher.values():
        for figures in measures.values():
            assert set(figures) == {"value", "lower_value", "upper_value"}
            assert all(isinstance(each, float) for each in figures.values())
    rows = json.loads((folder / "github-action-benchmark.json").read_text())
    for row in rows:
        assert {"name", "unit", "value"} <= set(row) <= {"name", "unit", "value", "range", "extra"}
        assert isinstance(row["value"], float)
    assert len({row["name"] for row in rows}) == len(rows) == 4


def test_the_markdown_has_what_matters_open(found: Comparison, folder: Path) -> None:
    text = (folder / "summary.md").read_text()
    open_, folded = text.split("<details>")
    assert "a wrong result" in open_.splitlines()[0]
    assert "32.5 % | 43.0 %" in " ".join(open_.split())
    assert "numpy-dense" not in open_
    assert "numpy-dense fc1 forward batch 1" in folded
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {10}


def test_the_table_begins_with_what_is_urgent(found: Comparison) -> None:
    assert list(gate.table(found)["verdict"]) == ["wrong", "slower", "slower", "same", "same"]
    assert gate.sentence(found).startswith("a wrong result: topic against main: 2 slower, 2 same")
    assert json.loads(gate.as_json(found))["base"]["hash"] == COMMIT
