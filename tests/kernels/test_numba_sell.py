"""Sliced ELLPACK beyond the contract: groups, slices, entries left over, threads, other vectors."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crossover.kernels.base import FP32, Problem
from crossover.kernels.cpu import numba_sell
from crossover.kernels.cpu.numba_sell import NumbaSell
from crossover.kernels.cpu.simd.vectors import LANES
from crossover.kernels.oracle import Oracle
from tests.kernels.problems import Shape, draw

ROOT = Path(__file__).parent.parent.parent
KERNEL = NumbaSell()
SHAPES = [(1, 1), (16, 31), (17, 32), (100, 655), (300, 784), (40, 2000)]


@pytest.mark.parametrize("threads", ["one", "all"])
@pytest.mark.parametrize("density", [0.9, 0.3, 0.1, 0.01])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_image(
    shape: tuple[int, int], density: float, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba_sell, "serial_loads", lambda: 0 if threads == "all" else 1 << 40)
    drawn = draw(Shape("sell", *shape, 1, density), np.float32, threads)
    operand = pickle.loads(pickle.dumps(KERNEL.prepare(drawn.weight)))
    result = KERNEL.forward(operand, drawn.x, np.full((shape[0], 1), np.nan, np.float32))
    verdict = Oracle(drawn.weight, drawn.x, drawn.dy).check("forward", result, FP32)
    assert verdict.right, verdict.problem
    np.testing.assert_array_equal(KERNEL.dense_weight(operand), drawn.weight.values)


def test_some_entries_are_left_over_and_some_are_not() -> None:
    operand = KERNEL.prepare(draw(Shape("sell", 300, 784, 1, 0.1)).weight)
    # Of four lanes one is enough to take a step, so that no entry is left over.
    assert (operand.left_rows.size > 0) == (LANES > 4)
    assert operand.left_rows.size < 0.2 * operand.entries.size
    # Steps with empty lanes cost memory; see the tuning notes.
    assert operand.nbytes / operand.entries.size < 8


def test_lanes_without_an_entry_add_nothing_even_where_x_is_infinite() -> None:
    drawn = draw(Shape("sell", 64, 62, 1, 0.3))
    drawn.x[:] = np.inf
    values = np.where(drawn.weight.pattern, np.float32(1), np.float32(0))
    values[5] = 0
    weight = type(drawn.weight)(values, values != 0)
    result = KERNEL.forward(KERNEL.prepare(weight), drawn.x, np.empty((64, 1), np.float32))
    expected = np.where(weight.pattern.any(axis=1), np.inf, 0)[:, None]
    np.testing.assert_array_equal(result, expected)


def test_it_is_for_one_image() -> None:
    assert "for a batch of 1, not 2" in str(KERNEL.unsupported(Problem("forward", 9, 9, 2, 9)))
    with pytest.raises(ValueError, match="must be float32 in C order"):
        KERNEL.forward(
            KERNEL.prepare(draw(Shape("sell", 9, 9, 1, 0.5)).weight),
            np.ones((9, 1)),
            np.empty((9, 1), np.float32),
        )


@pytest.mark.parametrize("features", ["+avx2,+fma,+avx,+sse4.2", "+sse4.2"], ids=["avx2", "sse"])
def test_narrower_vectors_compute_the_same(features: str, tmp_path: Path) -> None:
    code = (
        "import tests.kernels.test_numba_sell as t;"
        "from _pytest.monkeypatch import MonkeyPatch;"
        "[t.test_one_image(s, d, 'one', MonkeyPatch()) for s in t.SHAPES for d in (0.5, 0.05)]"
    )
    environment = os.environ | {
        "NUMBA_CPU_NAME": "x86-64",
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    if os.uname().machine != "x86_64":
        pytest.skip("not run: the features are those of x86-64")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
