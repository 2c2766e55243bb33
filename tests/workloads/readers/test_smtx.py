"""Patterns from files: read, or refused before anything of their size is allocated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossover.bench.errors import InputError
from crossover.bench.workloads.readers import smtx


def test_a_pattern_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "layer.smtx"
    path.parent.mkdir()
    path.write_text("3, 4, 3\n0 2 2 3\n0 3 1\n")
    assert smtx.patterns(tmp_path) == [path]
    weight = smtx.weight(path, np.random.default_rng(0))
    assert weight.pattern.astype(int).tolist() == [[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert np.count_nonzero(weight.values) == 3


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "three lines of integers"),
        ("3, 4\n0 1\n0\n", "three lines of integers"),
        ("3, 4, x\n0 1\n0\n", "three lines of integers"),
        ("999999999, 4, 3\n0 2 2 3\n0 3 1\n", "pointers and 3 indices"),
        ("3, 4, 9\n0 2 2 3\n0 3 1\n", "9 nonzeros"),
        ("3, 4, 3\n0 2 1 3\n0 3 1\n", "do not rise"),
        ("3, 4, 3\n0 2 2 3\n0 4 1\n", "not all in 0 to 3"),
        ("3, 4, 3\n0 2 2 3\n3 3 1\n", "twice in a row"),
        ("3, 99999999999, 3\n0 2 2 3\n0 3 1\n", "GiB are free"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(
    tmp_path: Path, content: str, problem: str
) -> None:
    path = tmp_path / "bad.smtx"
    path.write_text(content)
    with pytest.raises(InputError, match=problem):
        smtx.weight(path, np.random.default_rng(0))


def test_a_folder_without_patterns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.smtx file under"):
        smtx.patterns(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        smtx.patterns(tmp_path / "nowhere")


def test_a_digest_is_of_the_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    two.write_text("a")
    assert smtx.digest(one) == smtx.digest(two)
    two.write_text("b")
    assert smtx.digest(one) != smtx.digest(two)
    with pytest.raises(InputError, match="cannot read"):
        smtx.digest(tmp_path / "nowhere")
