"""Records as SQLite knows them: their columns, and their fields as its values and back."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from functools import cache
from typing import Any, TypeVar

_Record = TypeVar("_Record")


def encoded(record: Any) -> dict[str, Any]:
    """Return a record's fields as SQLite values; lists and dictionaries as JSON."""
    return {
        name: json.dumps(value) if isinstance(value, (list, dict)) else value
        for name, value in vars(record).items()
    }


def decoded(record: type[_Record], values: dict[str, Any]) -> _Record:
    """Return the record whose fields were stored as ``values``."""
    kind: Any = record
    for name in _json_fields(kind):
        text = values[name]
        # Most lists of a row are empty: to parse them takes longer than all else.
        values[name] = [] if text == "[]" else json.loads(text)
    for name in _bool_fields(kind):
        values[name] = bool(values[name])
    return record(**values)


@cache
def _hints(record: type) -> dict[str, Any]:
    return typing.get_type_hints(record)


@cache
def _json_fields(record: type) -> list[str]:
    """Return the names of the fields that are lists or dictionaries."""
    return [n for n, hint in _hints(record).items() if typing.get_origin(hint) in (list, dict)]


@cache
def _bool_fields(record: type) -> list[str]:
    return [name for name, hint in _hints(record).items() if hint is bool]


def columns_of(record: type) -> str:
    """Return the SQL columns of a record's fields."""
    kinds = {int: "INTEGER", bool: "INTEGER", float: "REAL"}
    columns = []
    for field in dataclasses.fields(record):
        hint = _hints(record)[field.name]
        optional = isinstance(hint, types.UnionType)
        kind = kinds.get(typing.get_args(hint)[0] if optional else hint, "TEXT")
        columns.append(f"{field.name} {kind}{'' if optional else ' NOT NULL'}")
    return ", ".join(columns)
