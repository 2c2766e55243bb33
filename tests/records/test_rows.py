"""Rows are typed and frozen: what is forgotten or contradicts itself is noticed at once."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass

import pytest

from crossover.bench.records import rows
from crossover.bench.records.rows import Row, machine_title
from tests.examples import RUN, measured, problem, visit

RECORDS = [
    each
    for each in vars(rows).values()
    if inspect.isclass(each) and is_dataclass(each) and each.__module__ == rows.__name__
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda each: each.__name__)
def test_records_are_frozen(record: type) -> None:
    assert vars(record)["__dataclass_params__"].frozen


def test_a_row_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Row("any", "skipped", "why").reason = "another"  # type: ignore[misc]


def test_a_field_that_is_not_given_is_noticed() -> None:
    @dataclass(frozen=True)
    class Wider(Row):
        watts: float = 0.0

    # A field that must be measured has no default, and is asked for by name.
    with pytest.raises(TypeError, match="computes"):
        type(problem())(**{n: v for n, v in vars(problem()).items() if n != "computes"})
    with pytest.raises(TypeError, match="wats"):
        Wider("any", "measured", wats=1.0)  # type: ignore[call-arg]
    assert {f.name for f in fields(Wider)} - {f.name for f in fields(Row)} == {"watts"}


@pytest.mark.parametrize("status", ["skipped", "failed", "wrong"])
def test_what_was_not_measured_has_a_reason(status: rows.Status) -> None:
    assert Row("any", status, "why").status == status
    with pytest.raises(ValueError, match="one of the two"):
        Row("any", status)


def test_what_was_measured_has_no_reason() -> None:
    with pytest.raises(ValueError, match="one of the two"):
        Row("any", "measured", "why")


def test_a_visit_says_who_was_measured() -> None:
    found = visit(rows=[measured("a", [1.0]), Row("b", "skipped", "why")])
    assert found.measured("a")
    assert not found.measured("a", "b")
    assert not found.measured("a", "c")


def test_a_machine_in_a_few_words() -> None:
    assert RUN.machine_title == "any, 2 cores, 8 GiB, no GPU"
    assert machine_title(RUN.machine | {"gpu": "H200"}) == "any, 2 cores, 8 GiB, H200"
