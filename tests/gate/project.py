"""A git repository with small kernels, and visits with planted times: no clock is read.

Revisions are real, exported and loaded as the gate does it; only what a worker would measure is
planted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from crossover.bench.harness.task import Description, Outcome, Task
from crossover.bench.harness.visits import problem_record
from crossover.bench.records.rows import Row, Visit, VisitRecord

ROOT = Path(__file__).parent.parent.parent
DENSE, CSR = "planted-dense", "planted-csr"

_FAMILY = '''
"""Kernels that multiply dense, whatever they declare."""
import numpy as np
from ..base import Kernel

class Operand:
    def __init__(self, weight):
        self.values, self.pattern = weight.values, weight.pattern
        self.nbytes, self.stored_entries = weight.values.nbytes, weight.nnz

class Planted(Kernel):
    title, device, source, format = "Planted", "cpu", "tests", "csr"

    def prepare(self, weight):
        return Operand(weight)

    def forward(self, operand, x, out):
        return np.matmul(operand.values, x, out=out)

    def backward_input(self, operand, dy, out):
        return np.matmul(operand.values.T, dy, out=out)

    def backward_weight(self, operand, dy, x, out):
        return np.matmul(dy, x.T, out=out)

    def update(self, operand, step, rate):
        operand.values -= rate * step

    def gradient_shape(self, operand):
        return operand.values.shape

    def dense_weight(self, operand):
        return operand.values

    def dense_gradient(self, operand, gradient):
        return np.where(operand.pattern, gradient, 0)

class Dense(Planted):
    name, format, role, stores_zeros = "planted-dense", "dense", "dense", True
'''
KERNEL = """
class {cls}(Planted):
    name = "{name}"
"""
#: The family with one sparse kernel.
FAMILY = _FAMILY + KERNEL.format(cls="Csr", name=CSR)


def repository(folder: Path) -> Path:
    """Return a new repository with a first commit of the kernels."""
    kernels = folder / "kernels"
    for device in ("cpu", "cuda"):
        (kernels / device).mkdir(parents=True)
        (kernels / device / "__init__.py").write_text("")
    for name in ("__init__", "base", "discovery"):
        shutil.copy(ROOT / "kernels" / f"{name}.py", kernels)
    (folder / ".gitignore").write_text("ignored.py\n")
    (folder / "pyproject.toml").write_text('[project]\ndependencies = ["numpy>=2"]\n')
    git(folder, "init", "--quiet", "--initial-branch=main")
    revision(folder)
    return folder


def revision(folder: Path, family: str = FAMILY) -> str:
    """Return a new commit with ``family`` as its kernels."""
    (folder / "kernels" / "cpu" / "planted.py").write_text(family)
    return commit(folder, "kernels")


def commit(folder: Path, message: str) -> str:
    git(folder, "add", "--all")
    # A minute apart: commits of the same second have no order.
    clock = folder.parent / "minutes"
    minutes = int(clock.read_text()) + 1 if clock.exists() else 0
    clock.write_text(str(minutes))
    when = f"2026-01-01T{minutes // 60:02}:{minutes % 60:02}:00+00:00"
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message, when=when)
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *arguments: str, when: str = "") -> str:
    who = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    environment = os.environ | ({"GIT_COMMITTER_DATE": when} if when else {})
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    return done.stdout.strip()


@dataclass
class Machine:
    """Makes visits with planted times, in processes that live for some visits."""

    #: By a kernel's full name, as ``head:planted-csr``: its time, and other fields of its rows.
    slower: dict[str, float] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: The sparsity at which the sparse kernel is as fast as the dense one, by side.
    crosses_at: dict[str, float] = field(default_factory=dict)
    #: Whether the sparse kernel is hardly slower than the dense one below its crossover.
    bent: bool = False
    #: Called with the number of each visit before it is made.
    before: Callable[[int], None] = lambda _: None
    visits: list[Visit] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    _processes: int = 0

    @contextmanager
    def visiting(self, *_: Any) -> Iterator[Machine]:
        """Begin with a fresh process, as a study's visitor does."""
        self._processes += 1
        yield self

    def visit(self, task: Task, run_id: str, series: str, report_share: object = None) -> Visit:
        self.before(len(self.visits))
        self._processes += task.fresh_process
        rng = np.random.default_rng(len(self.visits))
        rows = {name: self._row(name, task, rng) for name in task.kernels}
        problem = problem_record(task.problem, Outcome(_description(task), {}, {}))
        # Each lives for a quarter of the first look.
        process = f"{self._processes}-{len(self.visits) // 40}"
        wall_s = 0.1 + sum(row.compile_s or 0.0 for row in rows.values())
        record = VisitRecord(
            0, run_id, series, problem.problem_id, process, list(task.seed), 0.0, {}, "", wall_s
        )  # fmt: skip
        self.visits.append(Visit(record, problem, rows))
        self.tasks.append(task)
        return self.visits[-1]

    def _row(self, name: str, task: Task, rng: np.random.Generator) -> Row:
        side, _, kernel = name.partition(":")
        sparsity = task.problem.workload.weights.labels.network_sparsity
        # Twice as fast per halving of the density.
        density = (1 - sparsity) / (1 - self.crosses_at.get(side, 0.6))
        if self.bent and density > 1:
            density = 1 + 0.04 * min(1, density - 1)
        seconds = 1e-3 * (1 if kernel.endswith("dense") else density) * self.slower.get(name, 1.0)
        row = Row(
            name,
            "measured",
            samples=list(seconds * rng.lognormal(0, 0.01, 4)),
            loops=2,
            prepare_s=1e-3 * float(rng.lognormal(0, 0.01)),
            compile_s=0.0,
            nbytes=1000,
            stored_entries=10,
        )
        return replace(row, **self.rows.get(name, {}))


def _description(task: Task) -> Description:
    workload = task.problem.workload
    m, k = workload.weights.shape  # type: ignore[union-attr]
    n, sparsity = workload.batch, workload.weights.labels.network_sparsity
    nnz = round(m * k * (1 - sparsity))
    return Description(
        m, k, n, nnz, sparsity, 0.5, 0.5, 2.0 * nnz * n, 2.0 * m * k * n, 4 * (m + k) * n, {}
    )  # fmt: skip
