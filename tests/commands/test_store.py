"""``store``: files of results looked into, merged, moved and pruned; and files that are none."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crossover.bench.commands.main import main
from crossover.bench.records import contents, exchange
from crossover.bench.records.rows import Row
from crossover.bench.records.store import FILE_NAME, SCHEMA_VERSION, Store
from tests.records.older import downgrade
from tests.reports import made

OTHER = replace(made.RUN, run_id="r2", started="2026-03-01T00:00:00+00:00")


@pytest.fixture
def stores(tmp_path: Path) -> Path:
    """A folder with stores ``a`` and ``b`` of two runs."""
    made.results(tmp_path / "a", *made.everything())
    visits = [replace(v, record=replace(v.record, run_id="r2")) for v in made.sweep()]
    asked = replace(made.study("sweep"), run_id="r2", study_id="b")
    made.results(tmp_path / "b", visits, [asked], OTHER)
    return tmp_path


def run(*arguments: object) -> int:
    return main(["store", *map(str, arguments)])


def test_stores_that_never_met_are_merged_and_keep_everything(stores: Path) -> None:
    assert run("merge", stores / "a", stores / "b", "--out", stores / "c") == 0
    whole = contents.read(stores / "c")
    one, other = (contents.read(stores / name) for name in "ab")
    assert [each.run_id for each in whole.runs] == ["r1", "r2"]
    assert len(whole.visits) == len(one.visits) + len(other.visits)
    assert [each.record.visit_id for each in whole.visits] == list(range(1, len(whole.visits) + 1))
    kept = {contents.visit_key(each): each.rows for each in whole.visits}
    for each in (*one.visits, *other.visits):
        assert kept[contents.visit_key(each)] == each.rows
    assert main(["report", "--out", str(stores / "c"), "--quiet"]) == 0


def test_merging_again_and_in_another_order_changes_nothing(stores: Path) -> None:
    run("merge", stores / "a", stores / "b", "--out", stores / "c")
    once = contents.read(stores / "c")
    assert run("merge", stores / "b", stores / "c", stores / "a", "--out", stores / "c") == 0
    assert contents.read(stores / "c") == once
    run("merge", stores / "b", stores / "a", "--out", stores / "d")
    assert contents.read(stores / "d") == once


def test_duplicates_are_recognised_and_said(
    stores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("merge", stores / "a", stores / "a", "--out", stores / "c")
    count = len(contents.read(stores / "a").visits)
    assert f"{count} visits were there twice" in capsys.readouterr().err


def test_a_problem_that_two_stores_describe_differently_is_refused(
    stores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(stores / "b" / FILE_NAME) as changed:
        changed.execute("UPDATE problems SET nnz = nnz + 1")
    assert run("merge", stores / "a", stores / "b", "--out", stores / "c") == 2
    assert "is not the same in both stores" in capsys.readouterr().err
    assert not (stores / "c").exists()


def test_sources_are_not_touched_not_even_in_a_folder_that_is_read_only(stores: Path) -> None:
    before = (stores / "a" / FILE_NAME).read_bytes()
    (stores / "a").chmod(0o500)
    try:
        assert run("merge", stores / "a", stores / "b", "--out", stores / "c") == 0
        assert run("list", stores / "a", "--json") == 0
    finally:
        (stores / "a").chmod(0o700)
    assert (stores / "a" / FILE_NAME).read_bytes() == before
    assert {each.name for each in (stores / "a").iterdir()} == {FILE_NAME}


def test_what_a_killed_writer_left_in_its_log_is_read(stores: Path) -> None:
    store = Store(stores / "a" / FILE_NAME)
    late = made.visit("sweep", made.problem(0.99), {"blas": 1e-4}, 7)
    store.add_visit(late)
    (stores / "copy").mkdir()
    for end in ("", "-wal"):
        shutil.copy(stores / "a" / f"{FILE_NAME}{end}", stores / "copy")
    store.close()
    assert any(each.problem == late.problem for each in contents.read(stores / "copy").visits)
    assert {each.name for each in (stores / "copy").iterdir()} == {FILE_NAME, f"{FILE_NAME}-wal"}


def test_an_export_comes_back_as_it_was_in_the_same_bytes(stores: Path) -> None:
    file, again = stores / "a.jsonl.gz", stores / "again.jsonl.gz"
    assert run("export", stores / "a", file) == 0
    assert run("import", file, "--out", stores / "c") == 0
    assert contents.read(stores / "c") == contents.read(stores / "a")
    assert run("export", stores / "c", again) == 0
    assert again.read_bytes() == file.read_bytes()


def lines_of(file: Path) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


Damage = Callable[[list[Any]], Any]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda lines: lines.__setitem__(0, {"format": "another"}), "not 'crossover store'"),
        (lambda lines: lines.clear(), "an empty file"),
        (lambda lines: lines.append({"what": 1}), "a line of an unknown kind"),
        (lambda lines: lines[1]["run"].pop("code"), "not the fields of a Run"),
        (lambda lines: lines[1]["run"].update(started=5), "Run.started cannot be 5"),
        (lambda lines: lines[-1]["rows"][0].update(status="?"), "Row.status cannot be '?'"),
        (lambda lines: lines[-1]["rows"][0].update(samples=["1"]), "Row.samples cannot be"),
        (lambda lines: lines[-1]["visit"].update(run_id="r9"), "run 'r9' is named and not there"),
        (lambda lines: lines[-1]["visit"].update(problem_id="?"), "'?'"),
        (lambda lines: lines.append([1, 2]), "unknown kind"),
    ],
)
def test_a_file_that_says_what_no_store_would_is_refused(
    stores: Path, capsys: pytest.CaptureFixture[str], damage: Damage, says: str
) -> None:
    run("export", stores / "a", stores / "a.gz")
    lines = lines_of(stores / "a.gz")
    damage(lines)
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (stores / "bad.gz").write_bytes(gzip.compress(text.encode()))
    capsys.readouterr()
    assert run("import", stores / "bad.gz", "--out", stores / "c") == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (stores / "c").exists()


@pytest.mark.parametrize("content", [b"", b"text", b"\x1f\x8b\x08", gzip.compress(b"[" * 100_000)])
def test_a_file_that_is_no_export_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "bad.gz").write_bytes(content)
    assert run("import", tmp_path / "bad.gz", "--out", tmp_path / "c") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "c").exists()


def test_a_truncated_export_is_refused(stores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("export", stores / "a", stores / "a.gz")
    whole = (stores / "a.gz").read_bytes()
    (stores / "a.gz").write_bytes(whole[: len(whole) // 2])
    assert run("import", stores / "a.gz", "--out", stores / "c") == 2
    assert "no whole export" in capsys.readouterr().err


def test_runs_are_listed_and_shown(stores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", stores / "a", stores / "b", "--json") == 0
    lines = json.loads(capsys.readouterr().out)
    assert [line["run"] for line in lines] == ["r1", "r2"]
    assert lines[1]["studies"] == "sweep"
    assert run("show", stores / "b", "--json") == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert (line["study"], line["command"]) == ("sweep", "crossover sweep")
    assert "skipped" in line["rows"]
    assert run("show", stores / "b") == 0


@pytest.mark.parametrize(
    ("options", "left"),
    [(("--keep", "1"), ["r2"]), (("--run", "r2"), ["r1"]), (("--before", "2026-02-01"), ["r2"]),
     (("--keep", "5"), ["r1", "r2"]), (("--keep", "0"), [])],
)  # fmt: skip
def test_runs_are_pruned_with_all_that_was_measured(
    stores: Path, options: tuple[str, str], left: list[str]
) -> None:
    run("merge", stores / "a", stores / "b", "--out", stores / "c")
    size = (stores / "c" / FILE_NAME).stat().st_size
    assert run("prune", stores / "c", *options, "--dry-run") == 0
    assert len(contents.read(stores / "c").runs) == 2
    assert run("prune", stores / "c", *options) == 0
    whole = contents.read(stores / "c")
    assert [each.run_id for each in whole.runs] == left
    assert {each.record.run_id for each in whole.visits} == set(left)
    assert (len(left) == 2) or (stores / "c" / FILE_NAME).stat().st_size < size


@pytest.mark.parametrize(
    ("options", "says"),
    [(("--run", "r9"), "choose from r1"), (("--before", "soon"), "write YYYY-MM-DD"),
     (("--keep", "-1"), "is negative")],
)  # fmt: skip
def test_what_cannot_be_pruned_is_said(
    stores: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, str], says: str
) -> None:
    assert run("prune", stores / "a", *options) == 2
    assert says in capsys.readouterr().err


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE songs (title)")


def half_written(path: Path) -> None:
    made.results(path.parent / "whole", *made.everything())
    whole = (path.parent / "whole" / FILE_NAME).read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])


def of_version(version: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        Store(path).close()
        with closing(sqlite3.connect(path)) as changed:
            changed.execute(f"PRAGMA user_version = {version}")

    return write


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "zero bytes": (lambda path: path.write_bytes(b""), "holds nothing measured yet"),
    "no run": (lambda path: Store(path).close(), "holds nothing measured yet"),
    "text": (lambda path: path.write_text("no database\n" * 400), "is damaged, or no results"),
    "foreign": (foreign, "is not a results file of this suite"),
    "half-written": (half_written, "is damaged, or no results file"),
    "older": (of_version(4), "has schema version 4, this suite reads 5"),
    "newer": (of_version(SCHEMA_VERSION + 1), f"has schema version {SCHEMA_VERSION + 1}"),
    "a folder": (lambda path: path.mkdir(), "cannot use results"),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("command", ["report", "list", "compare"])
def test_an_odd_file_is_a_clear_line_and_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, command: str
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    write, says = ODD[name]
    write(folder / FILE_NAME)
    is_file = (folder / FILE_NAME).is_file()
    before = (folder / FILE_NAME).read_bytes() if is_file else b""
    arguments = {
        "report": ["report", "--out", folder],
        "list": ["store", "list", folder],
        "compare": ["compare", folder, folder, "--out", tmp_path / "c"],
    }[command]
    assert main([str(each) for each in arguments]) == 2
    error = capsys.readouterr().err
    if not (command == "list" and "measured yet" in says):
        assert says in error
    assert error.count("\n") == 1
    if is_file:
        assert (folder / FILE_NAME).read_bytes() == before
    names = {each.name for each in folder.iterdir()}
    assert names <= {FILE_NAME, "whole"}


def test_an_older_schema_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    made.results(tmp_path, *made.everything())
    downgrade(tmp_path / FILE_NAME)
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as older:
        older.execute("UPDATE visits SET canary = '[0.1]'")
    before = (tmp_path / FILE_NAME).read_bytes()
    assert run("list", tmp_path) == 0
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_a_store_with_only_skips_has_a_page(tmp_path: Path) -> None:
    skips = {name: Row(name, "skipped", "Planted.") for name in ("blas", "csr")}
    visits = [made.visit("sweep", made.problem(), skips)]
    made.results(tmp_path, visits, [made.study("sweep")])
    assert main(["report", "--out", str(tmp_path), "--quiet"]) == 0
    assert "Planted." in (tmp_path / "report.html").read_text()


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_a_clear_line(
    stores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stores / "a" / FILE_NAME).chmod(0)
    assert run("list", stores / "a") == 2
    assert "cannot use results" in capsys.readouterr().err


def test_the_format_of_an_export_is_the_records(stores: Path) -> None:
    run("export", stores / "a", stores / "a.gz")
    kinds = {next(iter(line)) for line in lines_of(stores / "a.gz")}
    assert kinds == {"format", "run", "kernels", "study", "problem", "rows"}
    assert exchange.imported(stores / "a.gz") == contents.read(stores / "a")
