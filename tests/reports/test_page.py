"""The page, the Markdown, the CSV, the JSON, and what the terminal shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest
from rich.cells import cell_len

from crossover.bench.errors import InputError
from crossover.bench.records.rows import Row
from crossover.reports import conditions, page, results, terminal
from crossover.reports.results import Results
from tests.reports import made

SCHEMA: dict[str, Any] = json.loads((Path(page.__file__).parent / "schema.json").read_text())


@pytest.fixture(scope="module")
def folder(everything: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the report."""
    folder = tmp_path_factory.mktemp("report")
    assert all(path.stat().st_size for path in page.write(everything, folder))
    return folder


class Balance(HTMLParser):
    """Checks that every element that is opened is closed, in order."""

    VOID = ("meta", "br", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_self_contained(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert not re.search(r"<link|src=|@import|https?://(?!www\.w3\.org/)", text)
    assert "A &lt;CPU&gt; | of ours" in text, "not escaped"
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names)), "two elements share an id"
    for study in page.VIEWS:
        assert f'<section id="{study}"' in text
    for remark in (
        "Not run",
        "Conditions",
        "What the figures mean",
        "crossover sweep",
        "200 GFLOP/s",
    ):
        assert remark in text


def test_the_markdown_has_every_table_and_whole_lines(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    for title in ("Crossovers of lenet-300-100, forward", "Networks", "Training steps",
                  "All threads against one", "Can measurements here be trusted?"):  # fmt: skip
        assert title in text
    for name in re.findall(r"\]\((.*)\)", text):
        assert (folder / name).exists()
    for block in re.split(r"\n\n+", text):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in rows}) <= 1, block


def test_the_csv_has_every_row_and_no_samples(folder: Path) -> None:
    frame = pd.read_csv(folder / "results.csv")
    assert {"series", "status", "time_s_low", "speedup_high", "csr_bytes"} <= set(frame.columns)
    assert "samples" not in frame.columns
    assert set(frame["status"]) == {"measured", "skipped", "failed", "wrong"}


@pytest.mark.parametrize("study", [None, *page.VIEWS])
def test_the_json_keeps_to_its_schema(everything: Results, study: str | None) -> None:
    content = json.loads(page.as_json(everything, study))
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(content, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert set(content["studies"]) == ({study} if study else set(page.VIEWS))
    series = {row["series"] for row in content["rows"]}
    assert series == set(everything.series_of(study))


def test_the_schema_refuses_what_is_missing(everything: Results) -> None:
    content = json.loads(page.as_json(everything))
    del content["studies"]["scaling"]["answers"][0]["pairs"]
    with pytest.raises(jsonschema.ValidationError, match="'pairs' is a required property"):
        jsonschema.validate(content, SCHEMA, cls=jsonschema.Draft202012Validator)


def test_nothing_to_show_is_an_input_error(tmp_path: Path) -> None:
    found = made.results(tmp_path, [], [made.study("sweep")])
    with pytest.raises(InputError, match="nothing of 'step'"):
        page.as_json(found, "step")
    with pytest.raises(InputError, match="nothing that can be shown"):
        page.write(found, tmp_path)
    with pytest.raises(InputError, match=r"holds no results\.sqlite"):
        results.load(tmp_path / "elsewhere")


def test_a_run_in_which_every_kernel_failed_has_a_page(tmp_path: Path) -> None:
    failed = made.visit("sweep", made.problem(), {"csr": Row("csr", "wrong", "Planted.")})
    found = made.results(tmp_path, [failed], [made.study("sweep")])
    assert "Planted." in page.write(found, tmp_path)[1].read_text()


def test_warnings_come_with_their_remedy(tmp_path: Path) -> None:
    short = made.row("csr", 1e-4, rounds=2, loops=100)
    visits = [made.visit("sweep", made.problem(), {"blas": 1e-4, "csr": short}, load=9.0)]
    found = made.results(tmp_path, visits, [made.study("sweep")])
    table = conditions.warning_table(found).frame.set_index("warning")
    assert table.loc["too short", "rows"] == "1 of 2"
    assert table.loc["oversubscribed", "rows"] == "2 of 2"
    assert "--threads" in str(table.loc["oversubscribed", "remedy"])


def test_the_ceilings_of_a_gpu_are_shown(tmp_path: Path) -> None:
    cuda = {
        "fp32_gflops": 50000.0, "tf32_gflops": 400000.0, "fp16_gflops": 800000.0,
        "copy_gbs": {"L2": 5000.0, "memory": 3000.0}, "l2_bytes": 1 << 25, "launch_s": 2e-6,
        "call_s": 5e-6, "replay_s": float("nan"), "errors": {"replay_s": "no graphs"},
    }  # fmt: skip
    run = replace(made.RUN, ceilings={"cuda": cuda})
    table = conditions.condition_table(made.results(tmp_path, [], [], run)).frame
    values = dict(zip(table["what"], table["value"], strict=True))
    assert values["GPU: copy"] == "L2 5000, memory 3000 GB/s"
    assert values["GPU: replay_s not measured"] == "no graphs"


@pytest.mark.parametrize("study", [None, *page.VIEWS])
@pytest.mark.parametrize("width", [None, 60])
def test_the_terminal_keeps_to_its_width(
    everything: Results, study: str | None, width: int | None,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("COLUMNS", raising=False)
    if width:
        monkeypatch.setattr(terminal, "_FILE_WIDTH", width)
    terminal.summary(everything, study)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert max(cell_len(line) for line in out.splitlines()) <= (width or 100)
    if study and not width:
        assert len(out.splitlines()) <= 40
        last = page.sections(everything, study)[0].sentences[-1]
        assert " ".join(out.split()).endswith(last)


def test_a_long_table_is_cut_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({"pass": ["forward"] * 50, "text": [f"word {i}" for i in range(50)]})
    terminal.table(frame, "Long")
    out = capsys.readouterr().out
    assert out.startswith("Long (pass forward)\n")
    assert "word 13" in out
    assert "word 14" not in out
    assert "… and 36 more in the report" in out


def test_words_are_not_torn(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame([{f"column{i}": f"unbreakable{i}" for i in range(12)}])
    terminal.table(frame)
    out = capsys.readouterr().out
    assert "unbreakable0" in out
    assert re.search(r"in the report: (column\d+, )*column11", out)
    frame = pd.DataFrame([{f"column{i}": f"unbreakable-word-{i} of many" for i in range(4)}])
    terminal.table(frame)
    out = capsys.readouterr().out
    assert "in the report" not in out
    assert all(f"unbreakable-word-{i}" in out for i in range(4))
    assert max(map(len, out.splitlines())) > 95, "there is room left"


def test_a_whole_table_keeps_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame([{f"column{i}": "unbreakable" for i in range(12)}] * 20)
    terminal.table(frame, most=None)
    out = capsys.readouterr().out
    assert "in the report" not in out
    assert max(map(cell_len, out.splitlines())) <= 100
    assert "".join(out.split()).count("unbre") == 20 * 12


def test_no_color_is_honoured(everything: Results, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from crossover.reports import results, terminal;"
        "terminal.summary(results.load(Path(sys.argv[1])), 'sweep')"
    )
    made.results(tmp_path, *made.everything())
    command = [sys.executable, "-c", code, str(tmp_path)]
    out = {}
    for name, colours in (("plain", {"NO_COLOR": "1"}), ("coloured", {})):
        environment = {"PATH": "", "FORCE_COLOR": "1", "TERM": "xterm-256color", **colours}
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment, cwd=Path(
                page.__file__).parents[1],
        )  # fmt: skip
        out[name] = done.stdout
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", out["plain"])
