"""The kernels as a pytest-benchmark suite: ``pytest bench --benchmark-only``.

One case per kernel and canonical layer, and the cells of the gate; each is checked against the
float64 reference before it is timed. ``--benchmark-compare`` reads what ``gate --export`` writes.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from crossover.bench.gate import preset
from crossover.bench.gate.quantities import Cell
from crossover.bench.harness.clocks import Call, HostClock
from crossover.bench.harness.layer_setup import LayerSetup
from crossover.bench.harness.race import Competitor, calibrate
from crossover.bench.harness.task import Task
from crossover.bench.machine.identity import available_cores
from crossover.bench.workloads.problem import Problem, Setting, Workload
from crossover.kernels import discover
from crossover.kernels.base import Kernel

_KERNELS = discover()
_CASES = preset.suite(_KERNELS)
_ROUNDS, _WARM_UP_ROUNDS = 20, 2


@pytest.mark.parametrize(("cell", "workload"), _CASES, ids=[cell.name for cell, _ in _CASES])
def test_kernel(benchmark: Any, cell: Cell, workload: Workload) -> None:
    """Check and time one cell; the operand's conversion and its bytes are in ``extra_info``."""
    kernel = _KERNELS[cell.kernel]
    setup = LayerSetup(Task(Problem(workload, Setting(available_cores())), (kernel.name,), 0, (0,)))
    row, prepared = setup.prepare(kernel)
    if row.status == "skipped":
        pytest.skip(f"not run: {row.reason}")
    assert prepared is not None, row.reason
    # Compiled and warm by now, so that the calibration sees calls and nothing else.
    timed = Competitor(_finished(kernel, prepared.call), HostClock())
    calibrate(timed)
    benchmark.extra_info |= {
        "digest": cell.digest,
        "kernel": cell.kernel,
        "format": kernel.format,
        "arithmetic": kernel.arithmetic["float32"].name,
        "layer": f"{cell.layer} {setup.description.m} x {setup.description.k}",
        "pass": cell.computes,
        "batch": cell.batch,
        "sparsity": setup.description.sparsity,
        "nnz": setup.description.nnz,
        "prepare_s": row.prepare_s,
        "nbytes": row.nbytes,
        "relative_error": row.relative_error,
    }
    benchmark.pedantic(
        timed.call,
        rounds=_ROUNDS,
        iterations=timed.loops,
        warmup_rounds=_WARM_UP_ROUNDS,
    )
    verdict = prepared.examiner.check(prepared.call())
    assert verdict.problem is None, verdict.problem


def _finished(kernel: Kernel, call: Call) -> Call:
    """Return the call to time; on a GPU it waits until the device is done."""
    if kernel.device != "cuda":
        return call
    device = importlib.import_module("cupy").cuda.Device()

    def call_and_wait() -> Any:
        result = call()
        device.synchronize()
        return result

    return call_and_wait
