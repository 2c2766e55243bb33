"""PyTorch files of tensors: a ``state_dict``, or a checkpoint that holds one.

``torch.save`` writes an archive of a pickle and of storages. The pickle is read by an unpickler
that knows tensors and nothing else, whether PyTorch is installed or not: no class of the file is
imported, nothing of it is called. Storages are memory-mapped. Files from before PyTorch 1.6 are no
archives; these PyTorch itself reads, weights only.
"""

from __future__ import annotations

import collections
import importlib
import math
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover.bench.workloads.readers.naming import network_of
from crossover.bench.workloads.readers.stored import (
    StoredNetwork,
    Tensor,
    UnreadableError,
    unreadable,
)
from crossover.bench.workloads.readers.zips import opened_zip

_KIND = "PyTorch"
_FIX = "save its state_dict() with torch.save"
_MOST_PICKLE_BYTES = 1 << 28
#: Storage classes by the types of their numbers, by NumPy's names.
_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip
# Names under which checkpoints hold the state of the model, in the order of preference.
_STATES = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network",
           "params", "weights")  # fmt: skip
_LOCAL_HEADER, _LOCAL_MAGIC = 30, b"PK\x03\x04"


@dataclass(frozen=True)
class _Storage:
    """A storage in the archive: its type, its member, and how many numbers it claims to have."""

    dtype: str
    member: str
    numel: int


@dataclass(frozen=True)
class _Strided:
    """A tensor as the pickle describes it."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _ForeignError(Exception):
    """Raised where a pickle asks for something that is no tensor."""


class _TensorUnpickler(pickle.Unpickler):
    """Knows what a ``state_dict`` is made of, and nothing else."""

    def __init__(self, file: Any, prefix: str) -> None:
        super().__init__(file, encoding="utf-8")
        self._prefix = prefix

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _StorageType(_STORAGES[name])
        raise _ForeignError(f"it holds {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _, numel = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise _ForeignError(f"it refers to a {str(kind)[:40]!r}, which is no storage")
        return _Storage(storage_type.dtype, f"{self._prefix}data/{key}", int(numel))


@dataclass(frozen=True)
class _StorageType:
    dtype: str


class _Inert:
    """Stands for a device, a type or the like, which a tensor's values do not depend on."""

    def __init__(self, *_: object) -> None:
        pass


def _rebuilt(storage: Any, offset: Any, size: Any, stride: Any, *_: object) -> _Strided:
    if not isinstance(storage, _Storage):
        raise _ForeignError("a tensor is in no storage")
    sizes = tuple(int(each) for each in size), tuple(int(each) for each in stride)
    return _Strided(storage, int(offset), *sizes)


def _parameter(data: Any, *_: object) -> Any:
    return data


_KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): tuple,
    ("torch", "device"): _Inert,
}


def read(path: Path) -> StoredNetwork:
    """Return the network whose ``state_dict`` a file holds.

    Raises:
        UnreadableError: if it is none, asks for code, or holds no layer.
    """
    if not zipfile.is_zipfile(path):
        return network_of(path, _KIND, _by_pytorch(path))
    with opened_zip(path, _KIND) as archive:
        names = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise unreadable(path, _KIND, "it has no data.pkl", _FIX)
        prefix = pickles[0].removesuffix("data.pkl")
        if names[pickles[0]].file_size > _MOST_PICKLE_BYTES:
            raise unreadable(path, _KIND, "its pickle is over 256 MiB", _FIX)
        order = f"{prefix}byteorder"
        if order in names and archive.read(order) != b"little":
            raise unreadable(path, _KIND, "its numbers are big-endian", _FIX)
        content = _unpickled(path, archive, pickles[0], prefix)
    tensors = [
        _tensor(path, name, strided, names) for name, strided in _state(content) if strided.shape
    ]
    return network_of(path, _KIND, tensors)


def _unpickled(path: Path, archive: zipfile.ZipFile, member: str, prefix: str) -> Any:
    try:
        with archive.open(member) as file:
            return _TensorUnpickler(file, prefix).load()
    except _ForeignError as error:
        raise unreadable(path, _KIND, error, _FIX) from None
    except Exception as error:  # a damaged pickle may end in any of them
        raise unreadable(path, _KIND, f"{type(error).__name__}: {error}", _FIX) from error


def _state(content: Any) -> Iterator[tuple[str, _Strided]]:
    """Yield the model's tensors by name, wherever the checkpoint has them."""
    if not isinstance(content, dict):
        return
    inner = [content[name] for name in _STATES if isinstance(content.get(name), dict)]
    own = [each for each in content.values() if isinstance(each, _Strided)]
    if not own and inner:
        yield from _state_of(inner[0])
        return
    yield from _state_of(content)


def _state_of(content: Mapping[Any, Any], prefix: str = "", depth: int = 3) -> Any:
    for name, value in content.items():
        if isinstance(value, _Strided):
            yield f"{prefix}{name}", value
        elif isinstance(value, dict) and depth and "optim" not in str(name).lower():
            yield from _state_of(value, f"{prefix}{name}.", depth - 1)


def _tensor(
    path: Path, name: str, strided: _Strided, members: Mapping[str, zipfile.ZipInfo]
) -> Tensor:
    """Return a tensor that was held against what the archive really has."""
    storage = strided.storage
    stored = np.dtype("uint16" if storage.dtype == "bfloat16" else storage.dtype)
    info = members.get(storage.member)
    if info is None:
        raise unreadable(path, _KIND, f"{name}: its storage {storage.member} is missing")
    held = info.file_size // stored.itemsize
    if storage.numel < 0 or storage.numel > held:
        raise unreadable(
            path, _KIND, f"{name}: its storage has {held} numbers, not {storage.numel}"
        )
    sides = (*strided.shape, *strided.strides, strided.offset)
    if len(strided.shape) != len(strided.strides) or min(sides) < 0:
        raise unreadable(path, _KIND, f"{name}: shape {strided.shape}, strides {strided.strides}")
    last = strided.offset + sum(
        (side - 1) * stride for side, stride in zip(strided.shape, strided.strides, strict=True)
    )
    overlapping = math.prod(strided.shape) > held
    if math.prod(strided.shape) and (last >= held or overlapping):
        raise unreadable(path, _KIND, f"{name}: shape {strided.shape} ends beyond its storage")
    read = partial(_values, path, info, stored, strided)
    return Tensor(name, strided.shape, storage.dtype, read)


def _values(
    path: Path, info: zipfile.ZipInfo, stored: np.dtype[Any], strided: _Strided
) -> NDArray[Any]:
    if math.prod(strided.shape) == 0:
        return np.zeros(strided.shape, stored)
    numbers = _storage(path, info, stored)[strided.offset :]
    strides = tuple(stride * stored.itemsize for stride in strided.strides)
    return np.lib.stride_tricks.as_strided(numbers, strided.shape, strides, writeable=False)


def _storage(path: Path, info: zipfile.ZipInfo, stored: np.dtype[Any]) -> NDArray[Any]:
    """Return the numbers of a storage, memory-mapped where they are not compressed."""
    if info.compress_type != zipfile.ZIP_STORED:
        with opened_zip(path, _KIND) as archive:
            return np.frombuffer(archive.read(info), stored)
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER or not header.startswith(_LOCAL_MAGIC):
        raise ValueError(f"{info.filename} is not where the archive says")
    lengths = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    begin = info.header_offset + _LOCAL_HEADER + sum(lengths)
    if begin + info.file_size > path.stat().st_size:
        raise ValueError(f"{info.filename} ends beyond the file")
    return np.memmap(path, stored, "r", begin, (info.file_size // stored.itemsize,))


def _by_pytorch(path: Path) -> list[Tensor]:
    """Return the tensors of a file from before PyTorch 1.6, by PyTorch itself, weights only."""
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        raise UnreadableError(
            f"{path} is no archive that PyTorch 1.6 or newer wrote, and PyTorch is not installed "
            "to read older ones: install the extra peers, or save it again"
        ) from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever it makes of a foreign file
        raise unreadable(path, _KIND, error, _FIX) from error
    if not isinstance(content, dict):
        raise unreadable(path, _KIND, f"it holds a {type(content).__name__}", _FIX)
    state = next((content[n] for n in _STATES if isinstance(content.get(n), dict)), content)
    return [
        Tensor(str(name), tuple(value.shape), str(value.dtype).removeprefix("torch."),
               partial(_of_torch, torch, value))
        for name, value in state.items()
        if isinstance(value, torch.Tensor) and not value.is_sparse and value.ndim
    ]  # fmt: skip


def _of_torch(torch: Any, value: Any) -> NDArray[Any]:
    bits = value.view(torch.int16) if value.dtype == torch.bfloat16 else value
    array: NDArray[Any] = bits.detach().contiguous().numpy()
    return array.view(np.uint16) if value.dtype == torch.bfloat16 else array
