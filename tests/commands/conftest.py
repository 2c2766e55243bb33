"""What the tests of commands share: a small data set, and a folder with results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from crossover.bench.__main__ import main
from crossover.bench.machine.limits import CpuLimits
from crossover.bench.studies import conduct

SWEEP = [
    "--sparsity",
    "0",
    "0.9",
    "--batch",
    "16",
    "--passes",
    "forward",
    "--budget",
    "6s",
    "--quiet",
]


def _ceilings_of(threads: Sequence[int]) -> dict[str, Any]:
    """Return the ceilings of a machine that nobody measured."""
    return {
        str(count): asdict(
            CpuLimits(
                threads=count, fma_one_gflops=100.0, fma_gflops=100.0 * count, blas_gflops=80.0,
                copy_gbs={"L1": 400.0, "memory": 20.0}, cache_bytes={"L1": 1 << 15}, call_s=1e-7,
                parallel_s=1e-6,
            )
        )
        for count in threads
    }  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def ceilings() -> Iterator[None]:
    """Studies find the ceilings of such a machine: measuring them takes longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conduct, "ceilings_of", _ceilings_of)
        yield


@pytest.fixture(scope="session")
def measured(ceilings: None, small_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a small sweep of a few kernels, made by a real worker."""
    folder = tmp_path_factory.mktemp("results")
    kernels = ["numpy-dense", "scipy-csr", "numba-csr", "cupy-dense", "fake-absent"]
    arguments = ["run", "--data", str(small_mnist), "--out", str(folder), *SWEEP]
    assert main([*arguments, "--kernels", *kernels, "--kernel-module", "tests.fakes"]) == 0
    return folder
