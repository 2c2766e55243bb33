"""Files that other tools read: tidy tables, Markdown, JSON, and the documentation of them."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from crossover.reports import metrics, page, results
from crossover.reports.exports import gallery, html, tidy
from crossover.reports.exports.columns import COLUMNS, documentation
from crossover.reports.exports.markdown import MOST_CHARACTERS, markdown
from crossover.reports.results import Results
from crossover.reports.sections import Document, Part
from crossover.reports.tables import Table
from tests.reports import made

REPORTS = Path(page.__file__).parent


def test_every_column_of_the_rows_is_documented(everything: Results) -> None:
    undocumented = set(metrics.rows(everything)) - set(COLUMNS)
    assert undocumented == set()
    assert all(unit and meaning for unit, meaning in COLUMNS.values())


def test_every_metric_is_in_the_schema() -> None:
    schema = json.loads((REPORTS / "schema.json").read_text())
    known = schema["properties"]["rows"]["items"]["properties"]
    assert {metric.name for metric in metrics.METRICS} <= set(known)


def test_the_committed_documentation_is_what_is_generated() -> None:
    text = (REPORTS / "METRICS.md").read_text()
    assert text == documentation(), "write it again: nox -s gallery"


def test_parquet_holds_the_rows_of_the_csv_with_their_meaning(everything: Results) -> None:
    rows = metrics.rows(everything)
    content = tidy.parquet(rows)
    table = pq.read_table(io.BytesIO(content))
    assert table.schema.field("speedup").metadata[b"meaning"].startswith(b"time of the baseline")
    assert table.schema.field("time_s").metadata[b"unit"] == b"s"
    read = pd.read_csv(io.StringIO(tidy.csv(rows)))
    frame = table.to_pandas()
    assert list(frame.columns) == list(read.columns)
    pd.testing.assert_series_equal(
        frame["time_s"], read["time_s"], check_exact=False, rtol=1e-12, check_dtype=False
    )
    assert list(frame["status"]) == list(read["status"])


def test_without_pyarrow_there_is_no_parquet(
    everything: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidy, "has_parquet", lambda: False)
    names = {path.name for path in page.write(everything, tmp_path)}
    assert "results.parquet" not in names
    assert "results.csv" in names


def test_markdown_fits_into_a_comment_and_says_what_it_left_out() -> None:
    table = Table.of("Long", [{"a": "word " * 20, "b": f"{n}"} for n in range(100)])
    parts = [Part(f"Part {n}", tables=[table]) for n in range(60)]
    text = markdown(Document("A title", "about", ["An answer."], [], parts))
    assert len(text) < MOST_CHARACTERS
    assert "parts are too long for here" in text
    assert "… and 70 more rows in `report.html`" in text
    assert text.index("An answer.") < text.index("Part 0")


def test_the_answer_and_the_breakdown_are_open_and_the_rest_is_folded(
    everything: Results,
) -> None:
    text = markdown(page.document(everything, page.sections(everything)))
    folded = re.findall(r"<details>.*?</details>", text, flags=re.DOTALL)
    opened = text
    for block in folded:
        opened = opened.replace(block, "")
    assert "layer by layer" in opened
    assert "Crossovers of lenet-300-100, forward" in opened
    assert "Conditions" not in opened
    assert any("<summary>Conditions</summary>" in block for block in folded)
    assert len(opened) < 12_000


def test_a_compact_plot_keeps_the_digits_that_are_read() -> None:
    svg = '<svg><path d="M 1.23456 7.5"/> <text x="0.98765">0.0001</text> <text>1.25</text></svg>'
    compact = html._compact(svg)
    assert compact == '<svg><path d="M 1.2 7.5"/><text x="0.9">0.0001</text><text>1.25</text></svg>'


def test_the_gallery_is_written_alike_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run = replace(made.RUN, run_id=name, revision=name)
        visits, studies = made.everything()
        moved = [replace(v, record=replace(v.record, run_id=name)) for v in visits]
        asked = [replace(each, run_id=name, study_id=name + each.study_id) for each in studies]
        made.results(tmp_path / name, moved, asked, run)
        (tmp_path / name / "NOTE.md").write_text(f"A note on {name}.\n")
    first = gallery.rebuild(tmp_path)
    content = {path: path.read_bytes() for path in first}
    assert gallery.rebuild(tmp_path) == first
    assert {path: path.read_bytes() for path in first} == content
    index = (tmp_path / "README.md").read_text()
    assert "A note on one." in index
    assert "csr beats the fastest dense kernel" in index
    assert "[compared](compare.md)" in index
    assert (tmp_path / "compare.html").exists()
    assert (tmp_path / "one" / "results.sqlite").exists()
    assert not (tmp_path / "one" / "results.csv").exists()


def test_a_plot_that_is_no_longer_drawn_goes(tmp_path: Path) -> None:
    made.results(tmp_path / "one", *made.everything())
    old = tmp_path / "one" / "plots" / "old.svg"
    old.parent.mkdir()
    old.write_text("<svg/>")
    gallery.rebuild(tmp_path)
    assert not old.exists()


@pytest.mark.parametrize(
    "folder", sorted(path.parent.name for path in (REPORTS / "reference").glob("*/results.sqlite"))
)
def test_committed_runs_have_their_reports(folder: str, tmp_path: Path) -> None:
    place = REPORTS / "reference" / folder
    shutil.copy(place / "results.sqlite", tmp_path)
    found = results.load(tmp_path)
    shown = page.sections(found)
    text: Any = (place / "report.md").read_text()
    assert found.run.revision in text
    plots = {plot.file for section in shown for plot in section.plots}
    assert {path.name for path in (place / "plots").iterdir()} == plots, "nox -s gallery"
    assert (place / "report.html").stat().st_size < 1_000_000
