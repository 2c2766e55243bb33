"""The store: what goes in comes out, whole visits or none, and no file but ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from crossover.bench.errors import InputError
from crossover.bench.records.codec import encoded
from crossover.bench.records.rows import CommitRow, Row, Run, Visit
from crossover.bench.records.store import FILE_NAME, SCHEMA_VERSION, Store
from tests.examples import COMMIT, RUN, STUDY, dense, kernel, measured, problem, visit
from tests.records.older import downgrade

#: No field has the value that it has when nothing is given.
FULL = Row(
    "numba-csr", "measured", samples=[0.1, 1e-300, 3.0000000000000004], loops=3,
    call_samples=[0.2], replay_samples=[0.3], inside_samples=[0.4], p50_samples=[0.5],
    p99_samples=[0.9], prepare_s=0.5, restore_s=0.6,
    first_call_s=0.7, compile_s=0.8, nbytes=2**40, stored_entries=9, relative_error=1e-8,
    share_of_bound=0.25, threading_layer="omp", warnings=["host delay", "quote ' and ü"],
    busy_s=1.5, accuracies=[0.5, 0.75], differences=[1e-7], facts={"fc1 overlap": 0.25},
    part_samples={"forward": [0.5]},
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / FILE_NAME)
    yield opened
    opened.close()


def test_a_row_with_every_field_was_meant() -> None:
    bare = Row("any", "skipped", "reason")
    same = [f.name for f in fields(Row) if getattr(FULL, f.name) == getattr(bare, f.name)]
    assert same == []  # the reason is empty, as it must be: a row that was measured has none


def test_every_record_comes_back_as_it_was(store: Store) -> None:
    kernels = [kernel("numba-csr"), dense("numpy-dense")]
    store.put_run(RUN)
    store.add_kernels(RUN.run_id, kernels)
    store.add_study(STUDY)
    rows = [FULL, Row("absent", "skipped", "why"), Row("bad", "wrong", "at (0, 0)", nbytes=None)]
    kept = store.add_visit(visit(problem(accuracy=None), rows, canary={}, seed=[2**63, 0]))
    assert store.runs() == [RUN]
    assert store.kernels(RUN.run_id) == {each.name: each for each in kernels}
    assert store.studies(RUN.run_id) == [STUDY]
    assert store.visits(RUN.run_id) == [kept]
    assert list(kept.rows.values()) == rows
    assert kept.record.visit_id == 1


def test_types_survive(store: Store) -> None:
    store.add_kernels(RUN.run_id, [kernel("a", stores_zeros=True), kernel("b")])
    found_zeros = [each.stores_zeros for each in store.kernels(RUN.run_id).values()]
    assert [value is True for value in found_zeros] == [True, False]
    store.add_visit(visit(problem(accuracy=1), [FULL]))
    (found,) = store.visits(RUN.run_id)
    assert isinstance(found.problem.accuracy, float)
    assert found.rows["numba-csr"].samples == FULL.samples  # to the last bit


def test_commits_come_back_by_time(store: Store) -> None:
    later = replace(COMMIT, revision="later", committed_at="2026-02-01", roofline=0.5)
    store.add_commits([later, COMMIT])
    frame = store.commit_frame()
    assert list(frame["revision"]) == [COMMIT.revision, "later"]
    assert list(frame.columns) == [field.name for field in fields(CommitRow)]
    first = frame.iloc[0].to_dict()
    assert {n: v for n, v in first.items() if n != "roofline"} == {
        n: v for n, v in vars(COMMIT).items() if n != "roofline"
    }


def test_rows_keep_their_order(store: Store) -> None:
    # A search's candidate is the last of its visit.
    names = ["zeta", "alpha", "numpy-dense", "beta"]
    store.add_visit(visit(rows=[measured(name, [1.0]) for name in names]))
    (found,) = store.visits(RUN.run_id)
    assert list(found.rows) == names


def test_a_problem_that_was_made_at_last_is_known_from_then_on(store: Store) -> None:
    unmade = problem(m=0, k=0, nnz=0, format_bytes={})
    assert problem().was_made
    assert not unmade.was_made
    for each in (unmade, problem(), unmade):
        store.add_visit(visit(each, {"a": [1.0]}))
    assert [each.problem for each in store.visits(RUN.run_id)] == [problem()] * 3


def test_visits_come_back_by_time_and_series(store: Store) -> None:
    for number in range(12):
        series = "even" if number % 2 == 0 else "odd"
        asked = problem(f"problem {number % 3}")
        store.add_visit(visit(asked, {"a": [1.0 + number]}, series=series))
    store.add_visit(visit(problem("else"), {"a": [1.0]}, run_id="another"))
    found = store.visits(RUN.run_id)
    assert [each.record.visit_id for each in found] == list(range(1, 13))
    assert [each.rows["a"].samples for each in found] == [[1.0 + n] for n in range(12)]
    assert [each.problem.problem_id for each in found] == [f"problem {n % 3}" for n in range(12)]
    odd = [each.record.visit_id for each in store.visits(RUN.run_id, "odd")]
    assert odd == [2, 4, 6, 8, 10, 12]


def test_a_visit_is_written_whole_or_not_at_all(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_visit(visit(rows={"before": [1.0]}))

    def failing(record: Any) -> dict[str, Any]:
        if isinstance(record, Row) and record.kernel == "third":
            raise KeyboardInterrupt
        return encoded(record)

    monkeypatch.setattr("crossover.bench.records.store.encoded", failing)
    asked = visit(problem("new"), {"first": [1.0], "second": [1.0], "third": [1.0]})
    with pytest.raises(KeyboardInterrupt):
        store.add_visit(asked)
    monkeypatch.undo()

    class Broken:
        """Stands for a kernel that SQLite cannot store: the statements before it were run."""

    rows = {"first": measured("first", [1.0]), "bad": replace(FULL, kernel=Broken())}  # type: ignore[arg-type]
    with pytest.raises(InputError, match="damaged"):
        store.add_visit(Visit(asked.record, asked.problem, rows))
    other = sqlite3.connect(tmp_path / FILE_NAME)
    counts = {
        table: other.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("visits", "rows", "problems")
    }
    other.close()
    assert counts == {"visits": 1, "rows": 1, "problems": 1}
    store.add_visit(asked)  # and the file is still in order
    assert len(store.visits(RUN.run_id)) == 2


def test_what_is_stored_is_durable_at_once(store: Store, tmp_path: Path) -> None:
    store.put_run(RUN)
    store.add_visit(visit(rows={"a": [1.0]}))
    reader = Store(tmp_path / FILE_NAME, readonly=True)  # while the writer has it open
    assert len(reader.visits(RUN.run_id)) == 1
    reader.close()


def test_readonly_changes_nothing(store: Store, tmp_path: Path) -> None:
    store.put_run(RUN)
    reader = Store(tmp_path / FILE_NAME, readonly=True)
    with pytest.raises(InputError, match="readonly"):
        reader.add_visit(visit(rows={"a": [1.0]}))
    reader.close()
    with pytest.raises(InputError, match=r"holds no results\.sqlite"):
        Store(tmp_path / "nowhere" / FILE_NAME, readonly=True)
    assert not (tmp_path / "nowhere").exists()


def test_runs_are_by_their_last_visit(store: Store) -> None:
    runs = [replace(RUN, run_id=name, started=name) for name in ("a", "b", "c")]
    for run in runs:
        store.put_run(run)
    for name in ("b", "c", "a"):
        store.add_visit(visit(rows={"k": [1.0]}, run_id=name))
    assert [run.run_id for run in store.runs()] == ["b", "c", "a"]
    assert store.run().run_id == "a"
    assert store.run("b").run_id == "b"
    with pytest.raises(InputError, match="has no run 'd': choose from b, c, a"):
        store.run("d")


def test_an_empty_file_says_so(store: Store) -> None:
    with pytest.raises(InputError, match="holds nothing measured yet"):
        store.run()


def test_what_is_put_again_is_the_latest(store: Store) -> None:
    store.put_run(RUN)
    store.put_run(replace(RUN, ceilings={}))
    assert store.runs() == [replace(RUN, ceilings={})]
    store.add_study(STUDY)
    store.add_study(replace(STUDY, asked_at="2026-03-01"))
    assert [each.asked_at for each in store.studies(RUN.run_id)] == ["2026-03-01"]


def test_another_schema_is_refused_by_name_and_version(tmp_path: Path) -> None:
    Store(tmp_path / FILE_NAME).close()
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    says = rf"results\.sqlite has schema version 99, this suite reads 5 to {SCHEMA_VERSION}"
    for readonly in (False, True):
        with pytest.raises(InputError, match=says):
            Store(tmp_path / FILE_NAME, readonly=readonly)


@pytest.mark.parametrize("readonly", [False, True])
def test_an_older_file_is_read_and_only_a_writer_upgrades_it(
    tmp_path: Path, readonly: bool
) -> None:
    written = Store(tmp_path / FILE_NAME)
    written.put_run(RUN)
    written.add_kernels(RUN.run_id, [kernel("numba-csr", made_for="Intel")])
    for _ in range(2):
        written.add_visit(visit(rows={"numba-csr": [1.0]}))
    written.close()
    downgrade(tmp_path / FILE_NAME)
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as older:
        older.execute("UPDATE visits SET canary = '[0.5, 0.25]' WHERE visit_id = 1")
        older.execute("UPDATE visits SET canary = '[]' WHERE visit_id = 2")
    before = (tmp_path / FILE_NAME).read_bytes()
    store = Store(tmp_path / FILE_NAME, readonly)
    first, second = store.visits(RUN.run_id)
    assert (first.record.canary, second.record.canary) == ({"one core": [0.5, 0.25]}, {})
    assert first.problem.idle_threads == ""
    assert store.kernels(RUN.run_id)["numba-csr"].made_for == ""
    assert first.rows["numba-csr"].samples == [1.0]
    store.close()
    assert ((tmp_path / FILE_NAME).read_bytes() == before) == readonly


def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path / FILE_NAME
    foreign.write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(InputError, match="damaged, or no results file"):
        Store(foreign)
    connection = sqlite3.connect(tmp_path / "other.sqlite")
    connection.execute("CREATE TABLE mine (a)")
    connection.close()
    before = (tmp_path / "other.sqlite").read_bytes()
    with pytest.raises(InputError, match="not a results file"):
        Store(tmp_path / "other.sqlite")
    assert (tmp_path / "other.sqlite").read_bytes() == before


@pytest.mark.parametrize("damage", ["half", "pages", "json", "status", "missing column"])
def test_a_damaged_file_is_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / FILE_NAME
    store = Store(path)
    for _ in range(50):
        store.add_visit(visit(rows={"a": [0.1] * 60}))
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    changes = {
        "json": "UPDATE rows SET samples = 'not json'",
        "status": "UPDATE rows SET reason = 'measured, and why not'",
        "missing column": "ALTER TABLE rows DROP COLUMN status",
    }
    if damage in changes:
        store._connection.execute(changes[damage])
    store.close()
    content = path.read_bytes()
    if damage == "half":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "pages":
        path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(InputError, match="damaged, or no results file") as caught:
        Store(path, readonly=True).visits(RUN.run_id)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is no folder: use another --out"):
        Store(tmp_path / "file" / FILE_NAME)


def test_a_run_is_a_run() -> None:
    with pytest.raises(TypeError, match="missing"):
        Run("run")  # type: ignore[call-arg]
