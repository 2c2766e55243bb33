"""What the tests of studies share: workers in this process, and planted times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crossover.bench.harness.sources import Discovered
from crossover.bench.harness.visits import Visitor, visiting
from crossover.bench.workloads import networks
from tests.in_process import FAKES, InProcess
from tests.small_studies import TINY, prepare

VARIANTS = "crossover.kernels.variants.tiled_choices"


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, small_mnist: Path) -> type[InProcess]:
    """Studies of little, by workers in this process; the worker tells its tasks."""
    monkeypatch.setitem(networks.NETWORKS, TINY.name, TINY)
    monkeypatch.setattr(InProcess, "tasks", ())
    prepare(monkeypatch.setattr, small_mnist)
    return InProcess


@pytest.fixture
def visitor(planted: type[InProcess]) -> Iterator[Visitor]:
    with visiting(Discovered((*FAKES.modules, VARIANTS))) as made:
        yield made
