"""Trends over commits: a change is marked with its commit, and noise is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossover.bench.commands.main import main
from crossover.bench.gate import history
from crossover.bench.records.rows import CommitRow
from crossover.bench.records.store import FILE_NAME, Store
from crossover.reports.views import history as view

ROW = CommitRow(
    machine="m", machine_title="M", revision="", committed_at="", metric="time",
    name="k fc1 forward batch 64", digest="d", threads=2, value=1.0, roofline=0.5, measured_at="",
)  # fmt: skip


def rows(values: list[float], name: str = ROW.name) -> list[CommitRow]:
    """Return a row per commit; each is measured twice."""
    return [
        replace(ROW, revision=f"{index:040}", committed_at=f"2026-01-{index + 1:02}", value=value,
                measured_at=f"{turn}", name=name)
        for index, value in enumerate(values)
        for turn in range(2)
    ]  # fmt: skip


def test_a_change_is_marked_with_its_commit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    steady = 1e-3 * rng.lognormal(0, 0.02, 24)
    changed = steady * np.where(np.arange(24) < 15, 1, 1.12)
    store = Store(tmp_path / FILE_NAME)
    store.add_commits(rows(list(changed)) + rows(list(steady), "k fc2 forward batch 64"))
    first, second = history.trends(store.commit_frame())
    store.close()
    if history.unavailable():
        pytest.skip(f"not run: {history.unavailable()}")
    (change,) = first.changes
    assert change.revision == f"{15:040}"
    assert change.change == pytest.approx(0.12, abs=0.02)
    assert second.changes == ()
    table = view.table([second, first])
    assert table["changed at"][0].startswith("0000000000 +1")
    assert table["of the ceilings"][0] == "50 %"
    assert len(table["course"][0]) == 24


def test_noise_has_no_change_points() -> None:
    if history.unavailable():
        pytest.skip(f"not run: {history.unavailable()}")
    rng = np.random.default_rng(1)
    found = [history.change_points(rng.normal(0, 0.02, 30)) for _ in range(50)]
    # With the threshold of a trend on top, hardly one is left.
    assert sum(bool(each) for each in found) <= 10
    assert not any(abs(by) > np.log(1.03) for each in found for _, by in each)


def test_few_commits_have_no_trend() -> None:
    assert history.change_points(np.array([0.0, 0.0, 1.0, 1.0])) == []


def test_a_commit_that_is_measured_again_counts_once(tmp_path: Path) -> None:
    store = Store(tmp_path / FILE_NAME)
    store.add_commits(rows([1.0, 2.0]))
    store.add_commits(rows([1.0, 2.0]))
    (trend,) = history.trends(store.commit_frame())
    store.close()
    assert trend.values == (1.0, 2.0)


def test_an_empty_history_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "--out", str(tmp_path)]) == 2
    assert "no history in" in capsys.readouterr().err
