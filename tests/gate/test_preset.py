"""What is gated follows from what kernels declare, and a definition is its operands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crossover.bench.gate import preset
from crossover.bench.gate.quantities import CROSSOVER_SPARSITIES
from crossover.bench.harness.sources import record
from crossover.kernels import discover
from tests.gate.project import ROOT


def test_gated_kernels_follow_from_what_they_declare() -> None:
    kernels = discover()
    gated = {name for name, kernel in kernels.items() if preset.is_gated(kernel)}
    assert {"numpy-dense", "numba-tiled", "scipy-csr", "numpy-masked-call"} <= gated
    assert not any(kernels[name].runtime in ("torch", "mkl", "cuda") for name in gated)
    cells = [(n, *point) for n in gated for point in preset.points(kernels[n])]
    assert 25 <= len(cells) <= 45
    # For one image alone.
    assert preset.points(kernels["numba-sell"]) == (("forward", 1),)
    crossing = {
        name
        for name in gated
        if preset.has_crossover(
            record(kernels[name]),
            preset.points(kernels[name]),
            variant=any(type(k) in type(kernels[name]).__mro__[1:] for k in kernels.values()),
        )
    }
    assert crossing == {"numba-csr", "numba-tiled"}


def test_a_definition_and_its_operands_belong_together() -> None:
    """Other operands are another workload: figures of both are never put together."""
    workload = preset.workload("csr", ("forward", 64))
    weight = workload.weights.weight()  # type: ignore[union-attr]
    assert weight.nnz == 23520
    assert float(np.abs(weight.values).sum()) == pytest.approx(18855.35, rel=1e-4)
    assert workload.workload_id == "fb4034e574b5c4be"
    blocks = preset.workload("bsr", ("forward", 64))
    assert blocks.workload_id != workload.workload_id
    names = [preset.crossover_workload(s).workload_id for s in CROSSOVER_SPARSITIES]
    assert len(set(names)) == 20


def test_the_suite_has_a_case_per_cell_and_canonical_layer() -> None:
    cells = [cell for cell, _ in preset.suite(discover())]
    assert len({cell.name for cell in cells}) == len(cells)
    of_sell = {cell.name for cell in cells if cell.kernel == "numba-sell"}
    assert of_sell == {
        f"numba-sell {layer} forward batch 1"
        for layer in ("fc1", "fc2", "lenet-5 conv2", "wide fc2")
    }


def test_the_suite_times_a_case(tmp_path: Path) -> None:
    # Not one of xdist's workers, in which pytest-benchmark times nothing.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    path = tmp_path / "mine.json"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(ROOT / "bench"), "--benchmark-only", "-p",
         "no:cacheprovider", "-k", "numpy-dense and fc1 and forward and 1]", "--rootdir",
         str(ROOT), f"--benchmark-json={path}", "--benchmark-columns=median"],
        cwd=ROOT, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (case,) = json.loads(path.read_text())["benchmarks"]
    assert case["param"] == "numpy-dense fc1 forward batch 1"
    assert case["extra_info"]["relative_error"] < 1e-5
    assert case["stats"]["iterations"] > 10, "warm-up did not come before the calibration"
