"""A project to gate, on a machine whose times are planted."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossover.bench.gate.comparison import Comparison
from crossover.bench.gate.session import GateSpec, compare
from tests.gate.project import Machine, git, repository

Gate = Callable[..., Comparison]


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of the test's own."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def project(
    tmp_path_factory: pytest.TempPathFactory, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A repository to compare revisions of; what is loaded of it is loaded in this process."""
    folder = repository(tmp_path_factory.mktemp("project") / "checkout")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(
        "crossover.bench.gate.revisions.sides.in_fresh_process", lambda call: call()
    )
    return folder


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose times are planted; nothing is measured."""
    machine = Machine()
    limits = {
        "threads": 2, "fma_one_gflops": 1.0, "fma_gflops": 2.0, "blas_gflops": 1.0,
        "copy_gbs": {"L1": 1.0, "L3": 1.0}, "cache_bytes": {"L1": 1, "L3": 1 << 30},
        "call_s": 0.0, "parallel_s": 0.0,
    }  # fmt: skip
    conduct = "crossover.bench.studies.conduct"
    monkeypatch.setattr(f"{conduct}.visiting", machine.visiting)
    monkeypatch.setattr(f"{conduct}.ceilings_of", lambda threads: {str(t): limits for t in threads})
    return machine


@pytest.fixture
def gate(project: Path, machine: Machine, temporary: Path, tmp_path: Path) -> Gate:
    """A function that compares two revisions, and asserts that nothing is left behind."""

    def call(base: str = "HEAD", head: str = "HEAD", budget_s: float = 60.0, **more: Any) -> Any:
        try:
            again = more.pop("again", True)
            spec = GateSpec(base, head, budget_s=budget_s, **more)
            return compare(spec, tmp_path / "out", "gate", again=again)
        finally:
            assert not list(temporary.iterdir())
            assert git(project, "worktree", "list").count("\n") == 0

    return call
