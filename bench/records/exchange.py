"""A store as one portable file: gzip of JSON lines, checked field by field when it is read.

The first line names the format and its version. Each further line has one key that says what it
is: ``run``, ``kernels`` (with ``run_id``), ``study``, ``problem``, ``visit`` (with its ``rows``) or
``commit``; a value has the fields of the record of that name in :mod:`bench.records.rows`. The same
content makes the same bytes.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from crossover.bench.errors import InputError
from crossover.bench.records.contents import Contents, merged
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

FORMAT, VERSION = "crossover store", 1
#: A line of a visit with hundreds of kernels is far smaller.
_LONGEST_LINE = 16 << 20
_LARGEST = 8 << 30

_Record = TypeVar("_Record")


def exported(whole: Contents) -> bytes:
    """Return contents as a file."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as file:
        for line in _lines(whole):
            text = json.dumps(line, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
            file.write(f"{text}\n".encode())
    return buffer.getvalue()


def _lines(whole: Contents) -> Iterator[dict[str, Any]]:
    yield {"format": FORMAT, "version": VERSION}
    for run in whole.runs:
        yield {"run": vars(run)}
    for run_id, kernels in whole.kernels.items():
        yield {"kernels": [vars(each) for each in kernels], "run_id": run_id}
    for study in whole.studies:
        yield {"study": vars(study)}
    known = sorted((visit.problem for visit in whole.visits), key=lambda each: each.was_made)
    problems = {problem.problem_id: problem for problem in known}
    for _, problem in sorted(problems.items()):
        yield {"problem": vars(problem)}
    for visit in whole.visits:
        yield {"visit": vars(visit.record), "rows": [vars(row) for row in visit.rows.values()]}
    for commit in whole.commits:
        yield {"commit": vars(commit)}


def imported(path: Path) -> Contents:
    """Return what a file holds, every field of it checked.

    Raises:
        InputError: if it cannot be read, is of another format or version, is cut off, or says
            something that no store would.
    """
    number = 0
    try:
        with gzip.open(path) as file:
            reader = _Reader()
            read = 0
            while line := file.readline(_LONGEST_LINE):
                number += 1
                read += len(line)
                if not line.endswith(b"\n") or read > _LARGEST:
                    raise ValueError("a line that is longer than any of ours")
                reader.take(json.loads(line), first=number == 1)
            return reader.contents()
    except (OSError, EOFError) as error:
        raise InputError(
            f"cannot read {path} ({error}): it is no whole export; export it again"
        ) from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(
            f"{path}, line {number}: {error}: no export of this suite, or a damaged one; export it "
            "again"
        ) from error


class _Reader:
    """Takes in the lines of a file one by one."""

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._kernels: dict[str, tuple[KernelRecord, ...]] = {}
        self._studies: list[StudyRecord] = []
        self._problems: dict[str, ProblemRecord] = {}
        self._visits: list[Visit] = []
        self._commits: list[CommitRow] = []
        self._begun = False

    def take(self, line: Any, first: bool) -> None:
        """Take in a line; the first one names the format."""
        if first:
            if line != {"format": FORMAT, "version": VERSION}:
                raise ValueError(f"not {FORMAT!r}, version {VERSION}")
            self._begun = True
        elif "run" in line:
            self._runs.append(checked(Run, line["run"]))
        elif "kernels" in line:
            found = tuple(checked(KernelRecord, each) for each in line["kernels"])
            self._kernels[_text(line["run_id"])] = found
        elif "study" in line:
            self._studies.append(checked(StudyRecord, line["study"]))
        elif "problem" in line:
            problem = checked(ProblemRecord, line["problem"])
            self._problems[problem.problem_id] = problem
        elif "visit" in line:
            record = checked(VisitRecord, line["visit"])
            rows = [checked(Row, each) for each in line["rows"]]
            by_name = {row.kernel: row for row in rows}
            self._visits.append(Visit(record, self._problems[record.problem_id], by_name))
        elif "commit" in line:
            self._commits.append(checked(CommitRow, line["commit"]))
        else:
            raise ValueError(f"a line of an unknown kind, {sorted(line)[:3]}")

    def contents(self) -> Contents:
        """Return all of it."""
        if not self._begun:
            raise ValueError("an empty file")
        known = {run.run_id for run in self._runs}
        for run_id in (*self._kernels, *(visit.record.run_id for visit in self._visits)):
            if run_id not in known:
                raise ValueError(f"run {run_id!r} is named and not there")
        whole = Contents(
            tuple(self._runs), self._kernels, tuple(self._studies), tuple(self._visits),
            tuple(self._commits),
        )  # fmt: skip
        return merged([whole])


def checked(record: type[_Record], values: Any) -> _Record:
    """Return the record with ``values``, all of which have the types that it declares.

    Raises:
        ValueError: if a field is missing, unknown, or of another type.
    """
    hints = typing.get_type_hints(record)
    names = {field.name for field in dataclasses.fields(record)}  # type: ignore[arg-type]
    if not isinstance(values, dict) or set(values) != names:
        found = sorted(set(values) ^ names) if isinstance(values, dict) else values
        raise ValueError(f"not the fields of a {record.__name__}: {found!r:.100}")
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"{record.__name__}.{name} cannot be {value!r:.60}")
    return record(**values)


def _fits(value: Any, hint: Any) -> bool:
    """Return whether ``value`` is of a type as the records declare them."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if isinstance(hint, types.UnionType):
        return any(_fits(value, each) for each in arguments)
    if hint is types.NoneType:
        return value is None
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(_fits(each, arguments[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(each, arguments[1]) for each in value.values())
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.60} is no text")
    return value
