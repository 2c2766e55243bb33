"""A figure that there is a warning about is marked where it stands, and no other is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crossover.bench.records.rows import Row, StudyRecord, Visit
from crossover.reports import conditions, metrics, page, terminal
from crossover.reports.exports.markdown import markdown
from crossover.reports.results import Results
from crossover.reports.tables import MARK, marked
from tests.reports import made

AMD = replace(made.RUN, machine=made.RUN.machine | {"vendor": "AMD"})
Times = Mapping[str, float | Row]


def delayed(name: str, seconds: float, **fields: Any) -> Row:
    """Return a row with a warning that only its worker saw."""
    return made.row(name, seconds, warnings=["host delay"], **fields)


def shown(folder: Path, study: StudyRecord, *visits: Visit) -> tuple[Results, list[dict[str, Any]]]:
    """Return a run on AMD's processor, and every line of its tables."""
    found = made.results(folder, visits, [study], AMD)
    (section,) = page.sections(found)
    lines = [line for table in section.tables for line in table.frame.to_dict("records")]
    rows = [
        row
        for grid in section.grids
        if "total" in grid.frame
        for row in grid.frame[~grid.frame["total"].astype(bool)].to_dict("records")
    ]
    cells = [{metric.title: metric.cell(row) for metric in metrics.METRICS} for row in rows]
    return found, [
        *lines,
        *(line | {"kernel": row["kernel"]} for line, row in zip(cells, rows, strict=True)),
    ]


def cells_of(lines: Sequence[Mapping[str, Any]], column: str) -> list[str]:
    return [line[column] for line in lines if column in line]


def test_a_mark_is_of_figures_with_warnings_alone() -> None:
    assert marked("1 µs", "noisy; throttled: memory", ("noisy", "host delay")) == f"1 µs {MARK}nth"
    assert marked("1 µs", "", ()) == "1 µs"
    assert marked("", "noisy") == ""
    assert marked("1 µs", ["no CUDA graph: RuntimeError"]) == f"1 µs {MARK}"


@pytest.mark.parametrize("whose", ["csr", "blas", ""])
def test_a_sweep_marks_a_time_by_its_own_and_a_speedup_by_either(
    tmp_path: Path, whose: str
) -> None:
    times: Times = {
        name: delayed(name, seconds) if name == whose else seconds
        for name, seconds in (("blas", 1e-4), ("csr", 2e-5))
    }
    found, lines = shown(tmp_path, made.study("sweep"), made.visit("sweep", made.problem(), times))
    of_layers = [line for line in lines if line.get("layer", "").startswith("fc1")]
    expected = {"fastest": whose == "csr", "dense": whose == "blas"}
    for column, warned in (expected | dict.fromkeys(("speedup", "batch 64"), whose != "")).items():
        cells = cells_of(of_layers, column)
        assert cells
        assert [f"{MARK}h" in cell for cell in cells] == [warned] * len(cells), column
    by_kernel = {line["kernel"]: line for line in lines if "useful GFLOP/s" in line}
    for column in ("time", "useful GFLOP/s"):
        assert (MARK in by_kernel["csr"][column]) == (whose == "csr")
        assert (MARK in by_kernel["blas"][column]) == (whose == "blas")
    assert (MARK in by_kernel["csr"]["speedup"]) == (whose != "")
    (sentence,) = page.sections(found)[0].sentences
    assert sentence.count(f"{MARK}h") == (2 if whose else 0)
    (answer, _) = json.loads(page.as_json(found))["studies"]["sweep"]["answers"]
    assert answer["warnings"] == answer["top_warnings"] == (["host delay"] if whose else [])


def test_a_crossover_is_marked_by_what_decides_it(tmp_path: Path) -> None:
    def at(sparsity: float, csr: float | Row) -> list[Visit]:
        return made.visits("sweep", made.problem(sparsity), {"blas": 1e-4, "csr": csr})

    far = at(0.2, delayed("csr", 4e-4)) + at(0.5, 2e-4) + at(0.8, 5e-5)
    near = at(0.2, 4e-4) + at(0.5, delayed("csr", 2e-4)) + at(0.8, 5e-5)
    for name, visits, warned in (("far", far, False), ("near", near, True)):
        _, lines = shown(tmp_path / name, made.study("sweep"), *visits)
        cells = cells_of(lines, "batch 64")
        assert {cell.split(" ⚠")[0] for cell in cells} == {"50-80 %"}
        assert {MARK in cell for cell in cells} == {warned}


def test_a_library_on_another_makers_processor_is_marked_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = {"csr": 1e-5, "library-csr": 3e-5, "blas": 1e-4}
    found, lines = shown(tmp_path, made.study("peers"), made.visit("peers", made.problem(), times))
    assert all(cell.endswith(f"{MARK}f 1/1") for cell in cells_of(lines, "× best peer"))
    (worst,) = cells_of(lines, "worst")
    assert f"{MARK}f" in worst
    assert not any(MARK in cell for cell in cells_of(lines, "× fastest dense"))
    assert f"{MARK}f 1/1 times as fast" in page.sections(found)[0].sentences[0]
    rows = metrics.rows(found).set_index("kernel")
    assert rows.loc["library-csr", "warnings"] == "foreign processor"
    assert rows.loc["csr", "warnings"] == ""
    (answer,) = json.loads(page.as_json(found))["studies"]["peers"]["answers"]
    assert (answer["warnings"], answer["peer_warnings"]) == ("", "foreign processor")
    table = conditions.warning_table(found).frame.set_index("warning")
    assert table.loc["foreign processor", "mark"] == f"{MARK}f"
    terminal.summary(found)
    assert f"{MARK}f" in capsys.readouterr().out
    assert f"{MARK}f" in markdown(page.document(found, page.sections(found)))


def test_on_its_own_makers_processor_it_is_not(tmp_path: Path) -> None:
    times = {"csr": 1e-5, "library-csr": 3e-5, "blas": 1e-4}
    run = replace(made.RUN, machine=made.RUN.machine | {"vendor": "Intel"})
    visits = [made.visit("peers", made.problem(), times)]
    found = made.results(tmp_path, visits, [made.study("peers")], run)
    assert f"{MARK}f" not in markdown(page.document(found, page.sections(found)))


def test_a_step_is_marked(tmp_path: Path) -> None:
    about = made.problem(computes="step", pattern="initial")
    times: Times = {"masked": delayed("masked", 3e-3), "csr": 1e-3}
    found, lines = shown(tmp_path, made.study("step"), made.visit("step", about, times))
    csr, masked = lines
    assert MARK not in csr["time of a step"]
    assert f"{MARK}h" in csr["× fastest masked dense"]
    assert f"{MARK}h" in masked["time of a step"]
    assert page.sections(found)[0].sentences[0].count(MARK) == 1


def test_scaling_is_marked(tmp_path: Path) -> None:
    one, most = made.problem(threads=1), made.problem(threads=4)
    visits = [
        made.visit("scaling", one, {"csr": delayed("csr", 1e-4)}),
        made.visit("scaling", most, {"csr": 5e-5}),
    ]
    found, (line,) = shown(tmp_path, made.study("scaling"), *visits)
    assert f"{MARK}h" in line["on 1 thread"]
    assert MARK not in line["on 4"]
    assert f"{MARK}h" in line["× one thread (95 %)"]
    (answer,) = json.loads(page.as_json(found))["studies"]["scaling"]["answers"]
    assert answer["warnings"] == ["host delay"]


@pytest.mark.parametrize(("sparsity", "warned"), [(0.7, True), (0.8, True), (0.0, False)])
def test_a_searched_crossover_is_marked_by_the_ends_of_its_range(
    tmp_path: Path, sparsity: float, warned: bool
) -> None:
    visits = [
        replace(
            visit, rows=visit.rows | {"csr": replace(visit.rows["csr"], warnings=["host delay"])}
        )
        if visit.problem.network_sparsity == sparsity
        else visit
        for visit in made.search()
    ]
    asked = made.study("search", confidence=0.95, width=0.02)
    found, (line, *_) = shown(tmp_path, asked, *visits)
    assert line["crossover (95 %)"].startswith("70-80 %")
    assert (f"{MARK}h" in line["crossover (95 %)"]) == warned
    (answer,) = json.loads(page.as_json(found))["studies"]["search"]["answers"]
    assert answer["warnings"] == (["host delay"] if warned else [])


def test_the_time_of_a_baseline_is_the_one_that_was_measured(tmp_path: Path) -> None:
    """A speedup times a time is neither: between visits the two differ."""
    visits = [
        made.visit("sweep", made.problem(), {"blas": dense, "csr": 2e-5}, seed)
        for seed, dense in enumerate((1e-4, 1e-4, 9e-4))
    ]
    found, lines = shown(tmp_path, made.study("sweep"), *visits)
    rows = metrics.of_study(found, "sweep").set_index("kernel")
    assert rows.loc["csr", "baseline_s"] == rows.loc["blas", "time_s"]
    assert rows.loc["csr", "baseline_s"] == pytest.approx(1e-4, rel=0.02)
    for cell in cells_of(lines, "dense"):
        assert float(cell.split(" µs")[0]) == pytest.approx(100, rel=0.02)
    assert rows.loc["blas", "time_s_low"] <= rows.loc["blas", "time_s"]
    assert rows.loc["blas", "time_s"] <= rows.loc["blas", "time_s_high"]
