"""Large tables as compact data."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pandas as pd
import pytest

from crossover.reports.grids import Column, Grid, rounded


def unpacked(grid: Grid) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(grid.packed)))
    return content


def test_text_is_kept_once_and_an_interval_with_its_ends() -> None:
    frame = pd.DataFrame({
        "kernel": ["</script>", "b", "</script>"], "t": [1.23456e-6, 2.0, float("nan")],
        "t_low": [1.0, 1.5, float("nan")], "t_high": [1.4, float("inf"), float("nan")],
        "mine": ["noisy", "", ""], "theirs": ["drifting", "", "noisy"], "sum": [False, False, True],
    })  # fmt: skip
    columns = [Column("kernel", "kernel"), Column("t", "time", "seconds", "", ("mine", "theirs"))]
    found = unpacked(Grid("A grid", frame, columns, order="-t", totals="sum"))
    kernel, time = found["columns"]
    assert (kernel["words"], kernel["at"]) == (["</script>", "b"], [0, 1, 0])
    assert (time["values"], time["low"], time["high"]) == (
        [1.235e-6, 2, None], [1, 1.5, None], [1.4, "inf", None],
    )  # fmt: skip
    assert [time["marks"]["words"][at] for at in time["marks"]["at"]] == [
        "noisy; drifting", "", "noisy",
    ]  # fmt: skip
    assert (found["rows"], found["order"], found["totals"]) == (3, "-t", [2])


def test_the_same_grid_is_packed_alike() -> None:
    grid = Grid("A grid", pd.DataFrame({"a": [1]}), [Column("a", "a", "count")])
    assert grid.packed == Grid("A grid", grid.frame, grid.columns).packed


@pytest.mark.parametrize(
    ("value", "kept"),
    [(0.123456, 0.1235), (1e-9, 1e-9), (123456.0, 123456), (float("nan"), None), (7, 7)],
)
def test_a_figure_has_four_digits(value: float, kept: float | None) -> None:
    assert rounded(value) == kept
