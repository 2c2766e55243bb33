"""Records to test with: each has every field filled, and takes what a test cares about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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

RUN = Run(
    run_id="run",
    started="2026-01-01T00:00:00",
    revision="abc",
    code="def",
    machine={"cpu": "any", "cores": 2, "memory_gib": 8, "gpu": ""},
    versions={"numpy": "2"},
    ceilings={"2": {"fma_gflops": 1.5}},
)
STUDY = StudyRecord("study", "run", "sweep", "sweep", {"seed": 0}, "crossover run", "2026-01-01")
COMMIT = CommitRow(
    "machine", "any machine", "abc", "2026-01-01", "time", "numba-csr forward", "f00d", 2, 1e-3,
    None, "2026-01-02",
)  # fmt: skip


def kernel(name: str, **changes: Any) -> KernelRecord:
    """Return what a sparse kernel of ours declares, but for the ``changes``."""
    fields: dict[str, Any] = {
        "name": name,
        "title": name,
        "device": "cpu",
        "format": "csr",
        "role": "ours",
        "runtime": "numba",
        "stores_zeros": False,
        "made_for": "",
        "arithmetic": "fp32",
        "source": "tests",
        "colour": "#000000",
        "marker": "o",
        "dash": "-",
    }
    return KernelRecord(**fields | changes)


def dense(name: str = "dense", **changes: Any) -> KernelRecord:
    """Return what a dense kernel declares."""
    return kernel(name, **{"format": "dense", "role": "dense", "stores_zeros": True} | changes)


def problem(problem_id: str = "problem", sparsity: float = 0.9, **changes: Any) -> ProblemRecord:
    """Return a problem of a 10 x 20 layer and a batch of 4."""
    nnz = round((1 - sparsity) * 200)
    recipe = {"weights": {"is": "PrunedLayer", "sparsity": sparsity}, "computes": "forward"}
    fields: dict[str, Any] = {
        "problem_id": problem_id,
        "workload_id": f"workload of {problem_id}",
        "network": "lenet-300-100",
        "network_sparsity": sparsity,
        "pattern": "gradual",
        "scope": "global",
        "accuracy": 0.98,
        "layer": "fc1",
        "layer_index": 0,
        "computes": "forward",
        "dtype": "float32",
        "recipe": recipe,
        "threads": 2,
        "caches": "hot",
        "idle_threads": "rest",
        "m": 10,
        "k": 20,
        "batch": 4,
        "n": 4,
        "nnz": nnz,
        "sparsity": sparsity,
        "zeros_x": 0.5,
        "zeros_dy": 0.0,
        "useful_flops": 2.0 * nnz * 4,
        "executed_flops": 2.0 * 200 * 4,
        "side_bytes": 480,
        "format_bytes": {"dense": 800, "csr": 12 * nnz},
    }
    return ProblemRecord(**fields | changes)


def measured(name: str, samples: Sequence[float], **changes: Any) -> Row:
    """Return the row of a kernel that took ``samples`` seconds."""
    fields: dict[str, Any] = {
        "loops": 2, "prepare_s": 1e-3, "nbytes": 240, "stored_entries": 20, "busy_s": 0.1,
    }  # fmt: skip
    return Row(name, "measured", samples=list(samples), **fields | changes)


def visits(
    of: ProblemRecord | None = None,
    rows: Mapping[str, Sequence[float]] | Sequence[Row] = (),
    **changes: Any,
) -> list[Visit]:
    """Return three visits to a problem that are alike, by two processes."""
    return [visit(of, rows, process=process, **changes) for process in ("1-a", "1-a", "2-b")]


def visit(
    of: ProblemRecord | None = None,
    rows: Mapping[str, Sequence[float]] | Sequence[Row] = (),
    **changes: Any,
) -> Visit:
    """Return a visit to a problem; ``rows`` are rows, or samples by kernel."""
    asked = of or problem()
    fields: dict[str, Any] = {
        "visit_id": 0,
        "run_id": "run",
        "series": "sweep",
        "problem_id": asked.problem_id,
        "process": "1-a",
        "seed": [1, 2],
        "load": 0.5,
        "canary": {"one core": [1e-4, 1e-4], "memory": [2e-4, 2e-4]},
        "started": "2026-01-01T00:00:01",
        "wall_s": 0.5,
    }
    given = [measured(n, s) for n, s in rows.items()] if isinstance(rows, Mapping) else rows
    return Visit(VisitRecord(**fields | changes), asked, {row.kernel: row for row in given})
