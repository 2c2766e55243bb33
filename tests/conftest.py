"""What the tests share: a GPU or its simulator, a small data set, a cache of their own."""

from __future__ import annotations

import ctypes
import gzip
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray


def _has_gpu() -> bool:
    try:
        return bool(ctypes.CDLL("libcuda.so.1").cuInit(0) == 0)
    except OSError:
        return False


HAS_GPU = _has_gpu()
# Small problems are meant; a warning would be an error here.
os.environ["NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS"] = "0"
# Shapes as the model predicts them: what the tests reach must not depend on a measurement.
os.environ["CROSSOVER_TUNING"] = "model"
if not HAS_GPU:
    # Read when numba.cuda is imported first, so it must be set before any test module is.
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kernel-module", action="append", default=[], metavar="MODULE",
        help="test the kernels of this module on the contract, too",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    # Read while the contract's tests are collected, in every process of pytest-xdist.
    os.environ["CROSSOVER_KERNEL_MODULES"] = " ".join(config.getoption("kernel_module"))


def pytest_report_header() -> str:
    if HAS_GPU:
        return "GPU: found; the CUDA kernels run on it"
    return "GPU: none; Numba CUDA kernels run in the simulator, CuPy kernels do not run"


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), 1))


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first 512 training and 128 test images of MNIST."""
    from crossover.bench.workloads import mnist

    folder = tmp_path_factory.mktemp("small-mnist")
    full = mnist.load()
    parts = {
        "train": (full.train_images[:512], full.train_labels[:512]),
        "t10k": (full.test_images[:128], full.test_labels[:128]),
    }
    for name, (images, labels) in parts.items():
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", images.reshape(-1, 28, 28))
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", labels)
    return folder


@pytest.fixture
def small_data(monkeypatch: pytest.MonkeyPatch, small_mnist: Path) -> None:
    """Train on the small data set: which weights a layer has does not matter here."""
    from crossover.bench.workloads import mnist

    data = mnist.load(small_mnist)
    monkeypatch.setattr(mnist, "load", lambda *_: data)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder for the session, so that the user's is neither used nor changed."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("CROSSOVER_CACHE")
    os.environ["CROSSOVER_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["CROSSOVER_CACHE"]
    else:
        os.environ["CROSSOVER_CACHE"] = before
