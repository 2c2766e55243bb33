"""The kernels as a pytest-benchmark suite: ``pytest bench --benchmark-only``.

One case per kernel and canonical layer, and the cells of the gate; each is checked against the
float64 reference before it is timed. ``--benchmark-compare`` reads what ``gate --export`` writes.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from crossover.bench.gate import preset
from crossover.bench.gate.preset import Cell
from crossover.bench.gate.worker import Placed
from crossover.bench.timing import Competitor, HostClock, calibrate
from crossover.kernels import discover
from crossover.kernels.base import Kernel

_KERNELS = discover()
_CELLS = list(dict.fromkeys([*preset.cells(_KERNELS), *preset.canonical(_KERNELS)]))
_ROUNDS, _WARM_UP_ROUNDS = 20, 2


@pytest.mark.parametrize("cell", _CELLS, ids=lambda cell: cell.name)
def test_kernel(benchmark: Any, cell: Cell) -> None:
    """Check and time one cell; the operand's conversion and its bytes are in ``extra_info``."""
    kernel = _KERNELS[cell.kernel]
    if reason := kernel.unavailable():
        pytest.skip(f"not run: {reason}")
    placed = Placed(cell, kernel)
    placed.place(0)
    arithmetic = kernel.arithmetic["float32"]
    verdict = placed.oracle.check(cell.pass_, placed.dense_result(), arithmetic)
    assert verdict.problem is None, verdict.problem
    # Compiled and warm by now, so that the calibration sees calls and nothing else.
    timed = Competitor(_finished(kernel, placed), HostClock())
    calibrate(timed)
    benchmark.extra_info |= {
        "digest": cell.digest,
        "kernel": cell.kernel,
        "format": kernel.format,
        "arithmetic": arithmetic.name,
        "layer": f"{cell.layer} {cell.m} x {cell.k}",
        "pass": cell.pass_,
        "batch": cell.batch,
        "sparsity": placed.weight.sparsity,
        "nnz": placed.weight.nnz,
        "prepare_s": placed.prepare_s,
        "nbytes": int(placed.operand.nbytes),
        "relative_error": float(verdict.relative_error),
    }
    benchmark.pedantic(
        timed.call,
        rounds=_ROUNDS,
        iterations=timed.loops,
        warmup_rounds=_WARM_UP_ROUNDS,
    )
    assert np.isfinite(placed.dense_result()).all()


def _finished(kernel: Kernel, placed: Placed) -> Any:
    """Return the call to time; on a GPU it waits until the device is done."""
    call = placed.competitor.call
    if kernel.device != "cuda":
        return call
    device = importlib.import_module("cupy").cuda.Device()

    def call_and_wait() -> Any:
        result = call()
        device.synchronize()
        return result

    return call_and_wait
