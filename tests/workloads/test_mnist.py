"""MNIST, embedded and of one's own: whole, checked, or refused in a line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from crossover.bench.errors import InputError
from crossover.bench.workloads import mnist
from tests.conftest import write_idx


def test_embedded_mnist_is_whole() -> None:
    data = mnist.load()
    assert data.train_images.shape == (60_000, 784)
    assert data.test_images.shape == (10_000, 784)
    assert np.bincount(data.test_labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


@pytest.mark.parametrize("damage", ["flipped", "cut", "not-gzip", "missing"])
def test_damaged_mnist_is_a_clear_error(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mnist"
    shutil.copytree(mnist.EMBEDDED, folder)
    victim = folder / "t10k-images-idx3-ubyte.gz"
    content = victim.read_bytes()
    if damage == "flipped":
        victim.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    elif damage == "cut":
        victim.write_bytes(content[: len(content) // 2])
    elif damage == "not-gzip":
        victim.write_text("<html>404</html>")
    else:
        victim.unlink()
    monkeypatch.setattr(mnist, "EMBEDDED", folder)
    mnist.load.cache_clear()
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz") as caught:
        mnist.load()
    assert "\n" not in str(caught.value)
    mnist.load.cache_clear()


def test_embedded_checksum_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mnist"
    shutil.copytree(mnist.EMBEDDED, folder)
    labels = mnist.load().test_labels.copy()
    labels[0] = 3  # a valid file with another content
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", labels)
    monkeypatch.setattr(mnist, "EMBEDDED", folder)
    mnist.load.cache_clear()
    with pytest.raises(InputError, match="wrong checksum"):
        mnist.load()
    mnist.load.cache_clear()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-images-idx3-ubyte.gz", np.zeros((512, 14, 28), np.uint8), "need .count, 28, 28"),
        ("train-labels-idx1-ubyte.gz", np.zeros(511, np.uint8), "one label per image"),
        ("t10k-labels-idx1-ubyte.gz", np.full(128, 11, np.uint8), "label 11"),
    ],
)
def test_own_data_of_another_form_is_refused(
    small_mnist: Path, tmp_path: Path, name: str, array: np.ndarray, message: str
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(small_mnist, folder)
    write_idx(folder / name, array)
    with pytest.raises(InputError, match=message):
        mnist.load(folder)


def test_a_size_that_a_file_claims_is_checked(small_mnist: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(small_mnist, folder)
    lie = b"\0\0\x08\x03" + b"\xff\xff\xff\xff" * 3 + b"abc"
    (folder / "train-images-idx3-ubyte.gz").unlink()
    (folder / "train-images-idx3-ubyte").write_bytes(lie)
    with pytest.raises(InputError, match="declares"):
        mnist.load(folder)
