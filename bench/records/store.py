"""The store: one SQLite file for every study of a results folder, durable at once.

A visit's rows are written together when it ends, so that a kill loses the visit in progress and
nothing else.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from crossover.bench.errors import InputError
from crossover.bench.records import opening
from crossover.bench.records.codec import columns_of, decoded, encoded
from crossover.bench.records.rows import (
    CommitRow,
    KernelRecord,
    ProblemRecord,
    Row,
    Run,
    StudyRecord,
    Visit,
    VisitRecord,
)
from crossover.bench.records.upgrades import OLDEST_VERSION, upgrade

SCHEMA_VERSION = 8
# Marks the file as ours: "Xovr" (SQLite's application_id).
_APPLICATION_ID = 0x586F7672
FILE_NAME = "results.sqlite"
#: Beside it: held by who writes to it.
LOCK_NAME = "results.lock"

_Record = TypeVar("_Record")


class Store:
    """The SQLite file of a results folder."""

    def __init__(self, path: Path, readonly: bool = False) -> None:
        """Open ``path``, made if it is missing unless ``readonly``.

        Raises:
            InputError: if it cannot be opened, is no file of ours, or of another schema.
        """
        self.path = path
        if readonly and not path.exists():
            raise InputError(
                f"{path.parent} holds no {path.name}: measure with --out {path.parent}"
            )
        with self._readable_errors():
            self._connection = (opening.for_reading if readonly else opening.for_writing)(path)
            if (version := self._checked_schema(readonly)) < SCHEMA_VERSION:
                self._upgrade(version, in_memory=readonly)
            if readonly:
                self._connection.execute("PRAGMA query_only = ON")
            else:
                self._create()

    def _create(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        with self._transaction():
            for table, columns in _TABLES.items():
                self._connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")

    # -- what is written --------------------------------------------------------------------

    def put_run(self, run: Run) -> None:
        """Keep ``run``, in the place of what was known of it."""
        self._insert("runs", [run], on_conflict="REPLACE")

    def add_kernels(self, run_id: str, kernels: Sequence[KernelRecord]) -> None:
        """Keep what the kernels of a run declare."""
        self._insert("kernels", kernels, run_id=run_id)

    def add_study(self, study: StudyRecord) -> None:
        """Keep what was asked; asked again, it is the latest."""
        self._insert("studies", [study], on_conflict="REPLACE")

    def add_visit(self, visit: Visit) -> Visit:
        """Write a visit in one transaction, and return it with the number it got."""
        (kept,) = self.add_visits([visit])
        return kept

    def add_visits(self, visits: Iterable[Visit]) -> list[Visit]:
        """Write visits in one transaction, and return them with the numbers they got."""
        with self._readable_errors(), self._transaction():
            return [self._inserted(visit) for visit in visits]

    def _inserted(self, visit: Visit) -> Visit:
        # One that could not be made before, and now was, takes the place of what was known.
        again = "REPLACE" if visit.problem.was_made else "IGNORE"
        self._execute_insert("problems", [encoded(visit.problem)], again)
        number = self._execute_insert("visits", [{**encoded(visit.record), "visit_id": None}])
        rows = [{"visit_id": number} | encoded(row) for row in visit.rows.values()]
        self._execute_insert("rows", rows)
        return replace(visit, record=replace(visit.record, visit_id=number))

    def add_commits(self, rows: Sequence[CommitRow]) -> None:
        """Keep what a gate measured of commits, in one transaction."""
        self._insert("commits", rows)

    # -- what is read -----------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """Return every run, the one that was measured last at the end."""
        latest = "(SELECT max(visit_id) FROM visits WHERE visits.run_id = runs.run_id)"
        return self._select(Run, f"SELECT * FROM runs ORDER BY {latest}, started")

    def run(self, run_id: str | None = None) -> Run:
        """Return the run called ``run_id``, or the one that was measured last.

        Raises:
            InputError: if there is none.
        """
        runs = self.runs()
        if not runs:
            raise InputError(f"{self.path} holds nothing measured yet: measure into it first")
        found = [run for run in runs if run_id in (None, run.run_id)]
        if not found:
            known = ", ".join(run.run_id for run in runs)
            raise InputError(f"{self.path} has no run {run_id!r}: choose from {known}")
        return found[-1]

    def studies(self, run_id: str) -> list[StudyRecord]:
        """Return what was asked in a run, oldest first."""
        query = "SELECT * FROM studies WHERE run_id = ? ORDER BY asked_at"
        return self._select(StudyRecord, query, run_id)

    def kernels(self, run_id: str) -> dict[str, KernelRecord]:
        """Return what the kernels of a run declare, by name."""
        query = "SELECT * FROM kernels WHERE run_id = ?"
        return {each.name: each for each in self._select(KernelRecord, query, run_id)}

    def visits(self, run_id: str, series: str | None = None) -> list[Visit]:
        """Return the visits of a run, of one ``series`` or of all, in the order of time."""
        chosen = "run_id = ?" + ("" if series is None else " AND series = ?")
        given = (run_id,) if series is None else (run_id, series)
        records = self._select(
            VisitRecord, f"SELECT * FROM visits WHERE {chosen} ORDER BY visit_id", *given
        )
        inside = f"(SELECT problem_id FROM visits WHERE {chosen})"
        query = f"SELECT * FROM problems WHERE problem_id IN {inside}"
        problems = {each.problem_id: each for each in self._select(ProblemRecord, query, *given)}
        rows = self._rows_by_visit(chosen, given)
        return [
            Visit(record, problems[record.problem_id], rows.get(record.visit_id, {}))
            for record in records
        ]

    def commits(self) -> list[CommitRow]:
        """Return what gates measured of commits, oldest commit first."""
        return self._select(CommitRow, "SELECT * FROM commits ORDER BY committed_at, measured_at")

    def commit_frame(self) -> pd.DataFrame:
        """Return what gates measured of commits, oldest commit first; a column per field."""
        query = "SELECT * FROM commits ORDER BY committed_at, measured_at"
        with self._readable_errors():
            return pd.read_sql_query(query, self._connection)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # -- how --------------------------------------------------------------------------------

    def _rows_by_visit(self, chosen: str, given: tuple[str, ...]) -> dict[int, dict[str, Row]]:
        inside = f"(SELECT visit_id FROM visits WHERE {chosen})"
        query = f"SELECT * FROM rows WHERE visit_id IN {inside} ORDER BY rowid"
        found: dict[int, dict[str, Row]] = {}
        with self._readable_errors():
            cursor = self._connection.execute(query, given)
            names = [column[0] for column in cursor.description]
            for values in cursor:
                fields = dict(zip(names, values, strict=True))
                visit_id = fields.pop("visit_id")
                row = decoded(Row, fields)
                found.setdefault(visit_id, {})[row.kernel] = row
        return found

    def _select(self, record: type[_Record], query: str, *given: str) -> list[_Record]:
        hidden = {"kernels": ["run_id"]}.get(_TABLE_OF[record], [])
        with self._readable_errors():
            cursor = self._connection.execute(query, given)
            names = [column[0] for column in cursor.description]
            return [
                decoded(
                    record,
                    {n: v for n, v in zip(names, values, strict=True) if n not in hidden},
                )
                for values in cursor
            ]

    def _insert(
        self, table: str, records: Sequence[Any], on_conflict: str = "IGNORE", **keys: str
    ) -> None:
        with self._readable_errors(), self._transaction():
            self._execute_insert(table, [keys | encoded(each) for each in records], on_conflict)

    def _execute_insert(
        self, table: str, rows: Iterable[dict[str, Any]], on_conflict: str = "ABORT"
    ) -> int:
        """Insert ``rows``, and return the number of the last one."""
        number = 0
        for row in rows:
            marks = ", ".join("?" * len(row))
            names = ", ".join(row)
            query = f"INSERT OR {on_conflict} INTO {table} ({names}) VALUES ({marks})"
            number = int(self._connection.execute(query, tuple(row.values())).lastrowid or 0)
        return number

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _upgrade(self, version: int, in_memory: bool) -> None:
        """Bring a file of an older ``version`` to this one's schema; or only a copy of it."""
        if in_memory:
            self._connection = opening.in_memory(self._connection)
        with self._transaction():
            for statement in upgrade(version, SCHEMA_VERSION):
                self._connection.execute(statement)

    def _checked_schema(self, readonly: bool) -> int:
        """Return the file's schema version; of an empty file this one's."""
        application, version, tables = (
            self._connection.execute(query).fetchone()[0]
            for query in (
                "PRAGMA application_id",
                "PRAGMA user_version",
                "SELECT count(*) FROM sqlite_master",
            )
        )
        if not tables and not application:
            if readonly:
                raise InputError(f"{self.path} holds nothing measured yet: measure into it first")
            return SCHEMA_VERSION
        if application != _APPLICATION_ID:
            raise InputError(f"{self.path} is not a results file of this suite: use another --out")
        if not OLDEST_VERSION <= version <= SCHEMA_VERSION:
            raise InputError(
                f"{self.path} has schema version {version}, this suite reads {OLDEST_VERSION} "
                f"to {SCHEMA_VERSION}: use another --out"
            )
        return int(version)

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        """Turn what the file system or SQLite says into one line for the user."""
        try:
            yield
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(f"{self.path.parent} is no folder: use another --out") from error
        except (sqlite3.OperationalError, OSError) as error:
            raise InputError(
                f"cannot use results in {self.path} ({error}): free space, or use another --out"
            ) from error
        except (sqlite3.DatabaseError, json.JSONDecodeError, TypeError, ValueError) as error:
            raise InputError(
                f"{self.path} is damaged, or no results file ({error}): use another --out"
            ) from error


_TABLE_OF: dict[type, str] = {
    Run: "runs",
    StudyRecord: "studies",
    KernelRecord: "kernels",
    ProblemRecord: "problems",
    VisitRecord: "visits",
    Row: "rows",
    CommitRow: "commits",
}
_KEYS = {
    "runs": "PRIMARY KEY (run_id)",
    "studies": "PRIMARY KEY (study_id)",
    "kernels": "run_id TEXT NOT NULL, PRIMARY KEY (run_id, name)",
    "problems": "PRIMARY KEY (problem_id)",
    "visits": "PRIMARY KEY (visit_id)",
    "rows": "visit_id INTEGER NOT NULL REFERENCES visits, PRIMARY KEY (visit_id, kernel)",
    "commits": "PRIMARY KEY (machine, revision, metric, name, digest, threads, measured_at)",
}


_TABLES = {
    table: ", ".join(filter(None, [columns_of(record), _KEYS[table]]))
    for record, table in _TABLE_OF.items()
}
