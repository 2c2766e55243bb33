"""Large stores: a page stays small, and its work grows with the rows."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from crossover.reports import page, results
from tests.reports import large

#: Of a kernel in a problem; three visits are three rows of the store.
MOST_BYTES = 120


def test_a_row_takes_few_bytes_of_the_page(tmp_path: Path) -> None:
    large.write(tmp_path, 1)
    (section,) = page.sections(results.load(tmp_path))
    grids = [grid for grid in section.grids if "time_s" in grid.frame]
    assert grids
    for grid in grids:
        assert len(grid.packed) / len(grid.frame) < MOST_BYTES


@pytest.mark.soak
def test_a_hundred_thousand_rows_have_a_page_below_five_megabytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = large.write(tmp_path, 13)
    began = time.perf_counter()
    page.write(results.load(tmp_path), tmp_path)
    with capsys.disabled():
        print(f"{rows} rows in {time.perf_counter() - began:.1f} s")
    assert rows > 100_000
    assert (tmp_path / "report.html").stat().st_size < 5e6
