"""Figures of measured rows: one table computes, formats and documents them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from crossover.bench.records.rows import Row, Visit
from crossover.bench.statistics.comparison import contests
from crossover.reports import metrics, page
from crossover.reports.metrics import METRICS, Metric
from crossover.reports.results import Results
from tests.reports import made
from tests.reports.test_grids import unpacked


def measured(folder: Path, *visits: Visit, role: str | None = None) -> pd.DataFrame:
    """Return the metrics of visits of a sweep, by kernel."""
    found = made.results(folder, visits, [made.study("sweep")])
    return metrics.measured(found, contests(visits, found.kernels), role).set_index("kernel")


def test_a_new_metric_appears_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = Metric("planted", "a planted one", "1", "more", "A planted one.", lambda _: 4711.0)
    monkeypatch.setattr(metrics, "METRICS", (*METRICS, new))
    found = made.results(tmp_path, made.sweep(), [made.study("sweep")])
    page.write(found, tmp_path)
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text()
        assert "a planted one" in text
        assert "A planted one." in text
    grids = [grid for section in page.sections(found) for grid in section.grids]
    columns = [column for grid in grids for column in unpacked(grid)["columns"]]
    (planted,) = (each for each in columns if each["name"] == "planted")
    assert set(planted["values"]) == {4711, None}, "a total has none"
    assert (pd.read_csv(tmp_path / "results.csv")["planted"].dropna() == 4711.0).all()
    rows = json.loads(page.as_json(found))["rows"]
    assert {row["planted"] for row in rows if row["status"] == "measured"} == {4711.0}


def test_figures_are_those_of_the_rows(tmp_path: Path) -> None:
    about = made.problem(0.9)
    rows = measured(tmp_path, *(made.visit("sweep", about, {"blas": 1e-4, "csr": 5e-5}, seed)
                                for seed in range(3)))  # fmt: skip
    csr, blas = rows.loc["csr"], rows.loc["blas"]
    assert csr["time_s"] == pytest.approx(5e-5, rel=0.01)
    assert csr["time_s_low"] < csr["time_s"] < csr["time_s_high"]
    assert csr["baseline"] == blas["baseline"] == "blas"
    assert csr["speedup"] == pytest.approx(2, rel=0.02)
    assert csr["speedup_low"] < csr["speedup"] < csr["speedup_high"]
    assert (blas["speedup_low"], blas["speedup_high"]) == (1.0, 1.0)
    assert csr["useful_gflops"] == pytest.approx(about.useful_flops / csr["time_s"] / 1e9)
    assert blas["executed_gflops"] == pytest.approx(about.executed_flops / blas["time_s"] / 1e9)
    assert pd.isna(csr["executed_gflops"])
    assert csr["break_even_calls"] == pytest.approx(1e-3 / 5e-5, rel=0.05)
    assert pd.isna(blas["break_even_calls"])
    assert csr["restore_s"] == 2e-3


@pytest.mark.parametrize(("name", "flops"), [("csr", "useful"), ("blas", "executed")])
def test_the_roofline_is_of_the_work_a_kernel_does(tmp_path: Path, name: str, flops: str) -> None:
    about = made.problem(0.9, batch=4096)
    (row,) = measured(tmp_path, made.visit("sweep", about, {name: 1e-1})).to_dict("records")
    work = getattr(about, f"{flops}_flops")
    limits = made.results(tmp_path, [], []).limits("cpu", 4)
    assert limits is not None
    assert row["roofline"] == pytest.approx(
        limits.bound_s(work, about.side_bytes + 1000) / row["time_s"]
    )


def test_a_speedup_over_a_slow_dense_kernel_is_marked_wherever_it_stands(tmp_path: Path) -> None:
    about = made.problem(0.9)
    limits = made.results(tmp_path / "limits", [], []).limits("cpu", 4)
    assert limits is not None
    bound_s = limits.call_bound_s(about.executed_flops, 1000 + about.side_bytes)
    shares = {"weak": 0.4, "fair": 0.6}
    for name, share in shares.items():
        times = {"blas": bound_s / share, "csr": bound_s / 10}
        visits = [made.visit("sweep", about, times, seed) for seed in range(3)]
        folder = tmp_path / name
        found = made.results(folder, visits, [made.study("sweep")])
        page.write(found, folder)
        content = json.loads(page.as_json(found))
        csr = next(row for row in content["rows"] if row["kernel"] == "csr")
        assert csr["baseline_of_bound"] == pytest.approx(share, rel=0.02)
        assert ("weak baseline" in csr["baseline_warnings"]) == (name == "weak")
        for answer in content["studies"]["sweep"]["answers"]:
            assert ("weak baseline" in answer["warnings"]) == (name == "weak")
        table = pd.read_csv(folder / "results.csv").set_index("kernel")
        assert ("weak baseline" in str(table.loc["csr", "baseline_warnings"])) == (name == "weak")
        for file in ("report.html", "report.md"):
            text = (folder / file).read_text()
            assert ("] × ⚠w" in text) == (name == "weak")  # the speedup
            assert ("at 90 % ⚠w" in text) == (name == "weak")  # the crossover


def test_only_kernels_of_one_visit_are_paired(tmp_path: Path) -> None:
    about = made.problem(0.9)
    rows = measured(
        tmp_path,
        made.visit("sweep", about, {"blas": 1e-4, "csr": 5e-5}),
        made.visit("sweep", about, {"blocks": 2e-5}, seed=1),
    )
    assert rows.loc["csr", "speedup"] == pytest.approx(2, rel=0.02)
    assert rows.loc["blocks", "baseline"] == "blas"
    assert pd.isna(rows.loc["blocks", ["speedup", "speedup_low", "break_even_calls"]]).all()
    assert list(metrics.fastest_sparse(rows.reset_index())["kernel"]) == ["csr"]


def test_a_baseline_over_itself_tells_nothing_of_the_variance(tmp_path: Path) -> None:
    """Of two dense kernels each is the faster one somewhere: its 1 must not narrow the rest."""

    def visits(sparsities: Sequence[float], *others: float) -> list[Visit]:
        return [
            made.visit("sweep", made.problem(s), {"blas": 1e-4, "other-dense": other}, seed)
            for s in sparsities
            for seed, other in enumerate(others)
        ]

    def width(found: pd.DataFrame) -> float:
        row = found[found["network_sparsity"] == 0.9].loc["other-dense"]
        return float(row["speedup_high"] - row["speedup_low"])

    slower = visits(np.linspace(0.8, 0.9, 8).tolist(), 2e-4, 2.4e-4, 2.8e-4)
    faster = visits(np.linspace(0.1, 0.7, 20).tolist(), 5e-5, 5e-5, 5e-5)
    alone = measured(tmp_path / "alone", *slower)
    beside = measured(tmp_path / "beside", *slower, *faster)
    assert set(beside["baseline"]) == {"blas", "other-dense"}
    assert width(beside) == pytest.approx(width(alone))


def test_blocks_that_fill_w_are_not_sparse(tmp_path: Path) -> None:
    about = made.problem(0.5)
    filled = made.row("blocks", 1e-5, stored_entries=about.m * about.k)
    rows = measured(tmp_path, made.visit("sweep", about, {"blas": 1e-4, "blocks": filled,
                                                          "csr": 2e-5}))  # fmt: skip
    assert not rows.loc["blocks", "sparse"]
    assert "blocks fill W" in str(rows.loc["blocks", "warnings"])
    assert list(metrics.fastest_sparse(rows.reset_index())["kernel"]) == ["csr"]


def test_a_gpu_has_the_times_of_its_calls(tmp_path: Path) -> None:
    row = replace(made.row("csr", 1e-5), call_samples=[3e-5] * 5, replay_samples=[2e-5] * 5)
    rows = measured(tmp_path, made.visit("sweep", made.problem(), {"csr": row}))
    assert rows.loc["csr", ["call_s", "replay_s"]].to_list() == [3e-5, 2e-5]


def test_what_did_not_run_is_a_row_with_its_reason(everything: Results) -> None:
    rows = metrics.rows(everything, "sweep")
    absent = rows[rows["status"] != "measured"]
    assert set(absent["kernel"]) == {"blocks"}
    assert set(absent["reason"]) == {"Blocks need | a multiple of 4."}
    assert len(absent) == 15


def test_a_kernel_that_turned_wrong_is_not_measured(tmp_path: Path) -> None:
    about = made.problem()
    wrong: dict[str, float | Row] = {"blas": 1e-4, "csr": Row("csr", "wrong", "Planted.")}
    visits = [made.visit("sweep", about, {"blas": 1e-4, "csr": 1e-5}),
              made.visit("sweep", about, wrong)]  # fmt: skip
    found = made.results(tmp_path, visits, [made.study("sweep")])
    assert list(metrics.of_study(found, "sweep")["kernel"]) == ["blas"]
    rows = metrics.rows(found)
    assert rows.set_index("kernel").loc["csr", "reason"] == "Planted."


def test_every_metric_says_what_it_is() -> None:
    for names in zip(*((m.name, m.title, m.description) for m in METRICS), strict=True):
        assert len(set(names)) == len(names)
        assert all(names)
    lines: Any = metrics.glossary().frame
    assert len(lines) == len(METRICS)
