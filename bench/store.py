"""The records on disk: one SQLite file, a row per kernel and cell, durable at once.

The rows of a cell are written together when it ends. The same command under the same conditions
finds the rows of its run and goes on after the last one.
"""

from __future__ import annotations

import json
import sqlite3
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from crossover.bench.errors import InputError
from crossover.bench.records import CommitRow, Row, Run

SCHEMA_VERSION = 4
# Marks the file as ours: "Xovr" (SQLite's application_id).
_APPLICATION_ID = 0x586F7672
FILE_NAME = "results.sqlite"


class Store:
    """The SQLite file of a results folder."""

    def __init__(self, path: Path) -> None:
        """Open ``path``, made if it is missing.

        Raises:
            InputError: if it cannot be written, is no file of ours, or of another schema.
        """
        self.path = path
        with self._readable_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=10.0)
            self._check_schema()
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("BEGIN IMMEDIATE")
            for table, columns in _TABLES.items():
                self._connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            self._connection.execute("COMMIT")

    def has_run(self, run_id: str) -> bool:
        """Return whether ``run_id`` was begun before."""
        query = "SELECT count(*) FROM runs WHERE run_id = ?"
        with self._readable_errors():
            return bool(self._connection.execute(query, (run_id,)).fetchone()[0])

    def add_run(self, run: Run) -> None:
        """Keep ``run``, unless it is there: a resumed run keeps its first start."""
        with self._readable_errors():
            self._insert("runs", [_encoded(run)], "NOTHING")

    def add_cell(self, run_id: str, rows: Sequence[Row]) -> None:
        """Write the rows of one cell in one transaction, in the place of earlier ones of it."""
        with self._readable_errors():
            new = ", ".join(f"{each.name} = excluded.{each.name}" for each in fields(Row))
            values = [{"run_id": run_id} | _encoded(row) for row in rows]
            self._insert("rows", values, f"UPDATE SET {new}")

    def measured(self, run_id: str) -> set[tuple[str, str]]:
        """Return the (cell, kernel) pairs that ``run_id`` has rows of."""
        with self._readable_errors():
            found = self._connection.execute(
                "SELECT cell_id, kernel FROM rows WHERE run_id = ?", (run_id,)
            ).fetchall()
        return {(cell, kernel) for cell, kernel in found}

    def latest_run(self) -> str | None:
        """Return the run that was measured last, or None in an empty file."""
        query = "SELECT run_id FROM rows ORDER BY measured_at DESC LIMIT 1"
        with self._readable_errors():
            found = self._connection.execute(query).fetchone()
        return found[0] if found else None

    def run(self, run_id: str) -> Run:
        """Return the run called ``run_id``.

        Raises:
            InputError: if there is none.
        """
        with self._readable_errors():
            cursor = self._connection.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,))
            values = cursor.fetchone()
            if values is None:
                known = [row[0] for row in self._connection.execute("SELECT run_id FROM runs")]
                raise InputError(
                    f"{self.path} has no run {run_id!r}: choose from {', '.join(known) or 'none'}"
                )
            names = (column[0] for column in cursor.description)
            return Run(**_decoded(Run, dict(zip(names, values, strict=True))))

    def frame(self, run_id: str) -> pd.DataFrame:
        """Return the rows of ``run_id``, in the order they were measured; a column per field."""
        query = "SELECT * FROM rows WHERE run_id = ? ORDER BY rowid"
        with self._readable_errors():
            frame = pd.read_sql_query(query, self._connection, params=(run_id,))
            for column in _json_fields(Row):
                frame[column] = frame[column].map(json.loads)
        return frame

    def add_commit(self, rows: Sequence[CommitRow]) -> None:
        """Keep what a gate measured of a commit, in one transaction."""
        with self._readable_errors():
            self._insert("commits", [_encoded(row) for row in rows], "NOTHING")

    def commit_frame(self) -> pd.DataFrame:
        """Return what gates measured of commits, oldest commit first; a column per field."""
        query = "SELECT * FROM commits ORDER BY committed_at, measured_at"
        with self._readable_errors():
            return pd.read_sql_query(query, self._connection)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _insert(self, table: str, rows: Iterable[dict[str, Any]], on_conflict: str) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for row in rows:
                marks = ", ".join("?" * len(row))
                connection.execute(
                    f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks}) "
                    f"ON CONFLICT DO {on_conflict}",
                    tuple(row.values()),
                )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _check_schema(self) -> None:
        application, version, tables = (
            self._connection.execute(query).fetchone()[0]
            for query in (
                "PRAGMA application_id",
                "PRAGMA user_version",
                "SELECT count(*) FROM sqlite_master",
            )
        )
        if not tables and not application:
            return
        if application != _APPLICATION_ID:
            raise InputError(f"{self.path} is not a results file of this suite: use another --out")
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{self.path} has schema version {version}, this suite writes {SCHEMA_VERSION}: "
                "use another --out"
            )

    def _readable_errors(self) -> _ReadableErrors:
        return _ReadableErrors(self.path)


class _ReadableErrors:
    """Turn what the file system or SQLite says into one line for the user."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        # What pandas raises is an OSError, too.
        if isinstance(error, pd.errors.DatabaseError | json.JSONDecodeError) or (
            isinstance(error, sqlite3.DatabaseError)
            and not isinstance(error, sqlite3.OperationalError)
        ):
            raise InputError(
                f"{self.path} is damaged, or no results file ({error}): use another --out"
            ) from error
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise InputError(f"{self.path.parent} is no folder: use another --out") from error
        if isinstance(error, sqlite3.Error | OSError):
            raise InputError(
                f"cannot write results to {self.path} ({error}): free space, or use another --out"
            ) from error


def _encoded(record: Run | Row | CommitRow) -> dict[str, Any]:
    """Return a record's fields as SQLite values; lists and dictionaries as JSON."""
    return {
        name: json.dumps(value) if isinstance(value, (list, dict)) else value
        for name, value in vars(record).items()
    }


def _decoded(record: type, values: dict[str, Any]) -> dict[str, Any]:
    in_json = _json_fields(record)
    return {k: json.loads(value) if k in in_json else value for k, value in values.items()}


def _json_fields(record: type) -> list[str]:
    """Return the names of the fields that are lists or dictionaries."""
    hints = typing.get_type_hints(record)
    return [name for name, hint in hints.items() if typing.get_origin(hint) in (list, dict)]


def _columns(record: type) -> str:
    """Return the SQL columns of a record's fields."""
    kinds = {int: "INTEGER", float: "REAL"}
    hints = typing.get_type_hints(record)
    columns = []
    for field in fields(record):
        hint = hints[field.name]
        optional = isinstance(hint, types.UnionType)
        kind = kinds.get(typing.get_args(hint)[0] if optional else hint, "TEXT")
        columns.append(f"{field.name} {kind}{'' if optional else ' NOT NULL'}")
    return ", ".join(columns)


_TABLES = {
    "runs": f"{_columns(Run)}, PRIMARY KEY (run_id)",
    "rows": (
        f"run_id TEXT NOT NULL REFERENCES runs, {_columns(Row)}, "
        "PRIMARY KEY (run_id, cell_id, kernel)"
    ),
    # Added later: it is made in older files as they are opened, and older suites leave it alone.
    "commits": (
        f"{_columns(CommitRow)}, "
        "PRIMARY KEY (machine, revision, metric, name, digest, threads, measured_at)"
    ),
}
