"""Tensors of an ONNX model: inside the file, or beside it as external data, memory-mapped."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover.bench.workloads.readers.stored import Tensor

# ONNX's numbers of types, by NumPy's names.
_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}  # fmt: skip
#: Where a tensor keeps its numbers that has no raw data, by type.
_FIELDS = {
    "float32": "float_data", "float64": "double_data", "int64": "int64_data",
    "uint64": "uint64_data", "uint32": "uint64_data",
}  # fmt: skip
_EXTERNAL = 1


def tensor_of(proto: Any, folder: Path) -> Tensor:
    """Return an initializer as a tensor; ``folder`` is that of the model.

    Raises:
        ValueError: if it says of its size what is not so, or lies outside the folder.
    """
    shape, dtype = tuple(map(int, proto.dims)), _TYPES.get(proto.data_type, "unknown")
    if any(side < 0 for side in shape):
        raise ValueError(f"{proto.name} has the shape {shape}")
    if dtype == "unknown":
        return Tensor(proto.name, shape, f"type {proto.data_type}", partial(_unknown, proto.name))
    stored = np.dtype("uint16" if dtype == "bfloat16" else dtype)
    wanted = math.prod(shape) * stored.itemsize
    if proto.data_location == _EXTERNAL:
        place = _external(proto, folder, wanted)
        return Tensor(proto.name, shape, dtype, partial(_mapped, *place, stored, shape))
    if proto.HasField("raw_data"):
        if len(proto.raw_data) != wanted:
            raise ValueError(
                f"{proto.name} is {shape} of {dtype} in {len(proto.raw_data)} bytes, not {wanted}"
            )
        return Tensor(proto.name, shape, dtype, partial(_raw, proto, stored, shape))
    numbers = getattr(proto, _FIELDS.get(dtype, "int32_data"))
    if len(numbers) != math.prod(shape):
        raise ValueError(f"{proto.name} is {shape} of {dtype} with {len(numbers)} numbers")
    return Tensor(proto.name, shape, dtype, partial(_typed, numbers, dtype, stored, shape))


def _external(proto: Any, folder: Path, wanted: int) -> tuple[Path, int]:
    """Return where external data begins: in a file of its own beside the model, or below."""
    given = {each.key: each.value for each in proto.external_data}
    location = given.get("location", "")
    path = folder / location
    inside = path.resolve().is_relative_to(folder.resolve())
    if not location or Path(location).is_absolute() or not inside:
        raise ValueError(f"external data of {proto.name} lie outside its folder: {location!r}")
    if any(each.is_symlink() for each in (path, *path.parents[: len(Path(location).parts) - 1])):
        raise ValueError(f"external data of {proto.name} are a symbolic link: {location!r}")
    if not path.is_file():
        raise ValueError(f"external data of {proto.name} are missing: {location!r}")
    offset, size = int(given.get("offset", 0)), path.stat().st_size
    length = int(given.get("length", wanted))
    if offset < 0 or length != wanted or offset + wanted > size:
        raise ValueError(
            f"external data of {proto.name} need {wanted} bytes from {offset} on: {location!r} has "
            f"{size}, and its length is said to be {length}"
        )
    return path, offset


def _mapped(path: Path, offset: int, stored: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if not math.prod(shape):
        return np.zeros(shape, stored)
    return np.memmap(path, stored, "r", offset, shape)


def _raw(proto: Any, stored: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    return np.frombuffer(proto.raw_data, stored.newbyteorder("<")).reshape(shape)


def _typed(numbers: Any, dtype: str, stored: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    # Types of 16 bits are kept as their bits in whole numbers.
    bits = np.uint16 if dtype in ("float16", "bfloat16") else stored
    array: NDArray[Any] = np.array(numbers, np.int64 if bits == np.uint16 else bits).astype(bits)
    return array.view(stored).reshape(shape)


def _unknown(name: str) -> NDArray[Any]:
    raise ValueError(f"{name} is of an unknown type")
