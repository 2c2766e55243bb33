"""Networks that others made, read from their files: weights alone, and no code.

Every reader checks what a file says of its sizes against its real size before anything of that
size is allocated, and reads a tensor only when it is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from crossover.bench.errors import InputError
from crossover.bench.workloads.readers import (
    arrays,
    keras,
    pytorch,
    safetensors_file,
)
from crossover.bench.workloads.readers.onnx import graph
from crossover.bench.workloads.readers.stored import (
    Skipped,
    StoredLayer,
    StoredNetwork,
    no_layers,
    unreadable,
)

#: Readers by the ends of file names.
READERS: Mapping[str, Callable[[Path], StoredNetwork]] = {
    ".safetensors": safetensors_file.read,
    ".onnx": graph.read,
    ".pt": pytorch.read,
    ".pth": pytorch.read,
    ".ckpt": pytorch.read,
    ".bin": pytorch.read,
    ".keras": keras.read,
    ".h5": keras.read,
    ".hdf5": keras.read,
    ".npz": arrays.read_npz,
    ".npy": arrays.read_npy,
    ".mtx": arrays.read_mtx,
    ".smtx": arrays.read_smtx,
}
_TENSORFLOW = ".pb", ".index", ".meta"
_MOST_FILES = 10_000


def read(path: Path) -> StoredNetwork:
    """Return the network of a file, or of all files of a folder that are one.

    Raises:
        InputError: if there is none, or it does not hold what it should; in one line.
    """
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise InputError(f"{path} does not exist: give a file of a network, or a folder of them")
    if not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder: give a file of a network")
    if path.suffix.lower() in _TENSORFLOW:
        raise InputError(
            f"{path} is of TensorFlow, which no light reader is known for: convert it to ONNX "
            "(tf2onnx) or to .keras"
        )
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise InputError(f"{path} has no ending that is known: give one of {known}")
    status = path.stat()
    if not status.st_size:
        raise InputError(f"{path} is empty: save it again")
    return _kept(reader, path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _kept(
    reader: Callable[[Path], StoredNetwork], path: Path, modified_ns: int, size: int
) -> StoredNetwork:
    """Return what ``reader`` makes of a file, which is read anew once it changes.

    Libraries answer damage with errors of every kind; each becomes a line.
    """
    try:
        return reader(path)
    except InputError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise unreadable(path, path.suffix.lower(), why) from error


def _folder(folder: Path) -> StoredNetwork:
    """Return the layers of all files under a folder, each under its file's name."""
    found: list[StoredLayer] = []
    skipped: list[Skipped] = []
    paths = sorted(each for each in folder.rglob("*") if each.suffix.lower() in READERS)
    if len(paths) > _MOST_FILES:
        raise InputError(f"{folder} holds {len(paths):,} files: give a folder of fewer")
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.resolve().is_relative_to(folder.resolve()):
            skipped.append(Skipped(name, "a symbolic link: name what it points to"))
            continue
        if not path.is_file():
            continue
        one = read(path)
        alone = len(one.layers) == 1
        place = path.relative_to(folder).with_suffix("").as_posix()
        found += [
            replace(e, name=place if alone else f"{place}.{e.name}", activation="")
            for e in one.layers
        ]
        skipped += [Skipped(f"{name}: {each.name}", each.reason) for each in one.skipped]
    if not found:
        raise no_layers(folder, "a folder", skipped)
    return StoredNetwork(folder, "a folder", tuple(found), tuple(skipped))
