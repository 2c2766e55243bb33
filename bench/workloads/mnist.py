"""MNIST, embedded, or data of the same form from a folder of the user's.

The files are IDX, gzip (Yann LeCun and Corinna Cortes, CC BY-SA 3.0; see NOTICE). Whatever a
file says about its size is checked against its real size before an array is made of it.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossover.bench.errors import InputError

EMBEDDED = Path(__file__).parent / "data" / "mnist"
SIDE = 28
CLASSES = 10

# MD5 of the uncompressed files, as their authors' copies have had since 1998.
_CHECKSUMS = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_UNSIGNED_BYTE = 0x08
_LARGEST_FILE = 1 << 30


@dataclass(frozen=True)
class Dataset:
    """Images (count, 784) uint8 and labels (count,) uint8, for training and for the test."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]
    #: Names the content: recipes that differ in their data differ in it.
    digest: str


@lru_cache(maxsize=2)
def load(folder: Path | None = None) -> Dataset:
    """Return the embedded MNIST, or the four IDX files (gzip or not) in ``folder``.

    Raises:
        InputError: if a file is missing, damaged, or not 28 x 28 images with labels 0 to 9.
    """
    contents = {name: _read(folder or EMBEDDED, name) for name in _CHECKSUMS}
    if folder is None:
        for name, content in contents.items():
            if hashlib.md5(content, usedforsecurity=False).hexdigest() != _CHECKSUMS[name]:
                raise InputError(
                    f"{EMBEDDED / name}.gz is damaged (wrong checksum): restore it, for example "
                    "with 'git checkout -- bench/workloads/data'"
                )
    digest = hashlib.sha256(b"".join(contents[name] for name in sorted(contents))).hexdigest()
    train_images, train_labels = _pair(folder, "train", contents)
    test_images, test_labels = _pair(folder, "t10k", contents)
    return Dataset(train_images, train_labels, test_images, test_labels, digest[:16])


def _read(folder: Path, name: str) -> bytes:
    """Return the uncompressed content of ``name`` in ``folder``."""
    compressed, plain = folder / f"{name}.gz", folder / name
    try:
        if not compressed.exists() and plain.exists():
            content = plain.read_bytes()
        else:
            with gzip.open(compressed) as file:
                content = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise InputError(
            f"{compressed} is missing: the folder must hold {', '.join(_CHECKSUMS)} (.gz or not)"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{compressed} cannot be read ({error}): restore the file") from error
    if len(content) > _LARGEST_FILE:
        raise InputError(f"{compressed} holds over 1 GiB: not a file of MNIST's form")
    return content


def _pair(
    folder: Path | None, part: str, contents: dict[str, bytes]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the images (count, 784) and labels (count,) of one part, checked."""
    where = folder or EMBEDDED
    images_name, labels_name = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    images = _parse_idx(where / images_name, contents[images_name])
    labels = _parse_idx(where / labels_name, contents[labels_name])
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise InputError(f"{where / images_name} has shape {images.shape}: need (count, 28, 28)")
    if labels.shape != images.shape[:1] or not len(labels):
        raise InputError(
            f"{where / labels_name} has shape {labels.shape}: need one label per image, "
            f"({len(images)},), and at least one"
        )
    if labels.max() >= CLASSES:
        raise InputError(f"{where / labels_name} holds label {labels.max()}: labels are 0 to 9")
    return images.reshape(len(images), SIDE * SIDE), labels


def _parse_idx(path: Path, content: bytes) -> NDArray[np.uint8]:
    """Return the array of an IDX file of unsigned bytes."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UNSIGNED_BYTE:
        raise InputError(f"{path} is not an IDX file of unsigned bytes: restore the file")
    rank = content[3]
    if not 1 <= rank <= 3 or len(content) < 4 + 4 * rank:
        raise InputError(f"{path} is an IDX file of rank {rank}: need rank 1 to 3")
    shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    size, held = math.prod(shape), len(content) - 4 - 4 * rank
    if size != held:
        raise InputError(
            f"{path} declares {shape} = {size} bytes but holds {held}: restore the file"
        )
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
