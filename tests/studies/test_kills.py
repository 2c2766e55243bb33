"""kill -9: whenever it comes, it costs the visit in progress and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kills import Run, kill_and_go_on, whole
from tests.small_studies import STUDIES

_SOAK = int(os.environ.get("CROSSOVER_SOAK", "20"))


@pytest.fixture(scope="module")
def unkilled(
    tmp_path_factory: pytest.TempPathFactory, small_mnist: Path, cache: Path
) -> Callable[[str], list[Any]]:
    """Return a function that returns what an unkilled run of a study keeps."""
    known: dict[str, list[Any]] = {}

    def visits(name: str) -> list[Any]:
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            known[name] = whole(Run(name, folder, small_mnist, cache))
        return known[name]

    return visits


def kill(
    name: str, seed: int, folder: Path, data: Path, cache: Path,
    unkilled: Callable[[str], list[Any]],
) -> None:  # fmt: skip
    expected = unkilled(name)
    assert len(expected) >= 4
    kill_and_go_on(Run(name, folder, data, cache), seed, expected)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", STUDIES)
def test_a_kill_costs_the_visit_in_progress(
    name: str, seed: int, tmp_path: Path, small_mnist: Path, cache: Path,
    unkilled: Callable[[str], list[Any]],
) -> None:  # fmt: skip
    kill(name, seed, tmp_path, small_mnist, cache, unkilled)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 100 + _SOAK))
@pytest.mark.parametrize("name", STUDIES)
def test_many_kills_cost_the_visit_in_progress(
    name: str, seed: int, tmp_path: Path, small_mnist: Path, cache: Path,
    unkilled: Callable[[str], list[Any]],
) -> None:  # fmt: skip
    kill(name, seed, tmp_path, small_mnist, cache, unkilled)
