"""safetensors files, memory-mapped: the library checks the header, NumPy maps each tensor."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from crossover.bench.workloads.readers.naming import network_of
from crossover.bench.workloads.readers.stored import (
    Floats,
    StoredLayer,
    StoredNetwork,
    Tensor,
    unreadable,
)
from crossover.kernels.serving import files
from crossover.kernels.serving.network import Layer

_KIND = "safetensors"
# Its types by NumPy's names; of a type of 16 bits that NumPy lacks the bits are read.
_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_HEADER_SIZE = 8


def read(path: Path) -> StoredNetwork:
    """Return the network in a safetensors file.

    Raises:
        UnreadableError: if it is none, or holds no layer.
    """
    try:
        with safe_open(path, "numpy"):  # checks sizes, offsets and overlaps
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_HEADER_SIZE), "little")
            header = json.loads(file.read(length))
    except (SafetensorError, OSError, ValueError, RecursionError, MemoryError) as error:
        raise unreadable(path, _KIND, error) from error
    if files.KEY in header.pop("__metadata__", {}):
        return _planned(path)
    begin = _HEADER_SIZE + length
    order = sorted(header, key=lambda name: header[name]["data_offsets"][0])
    tensors = [_tensor(path, name, header[name], begin) for name in order]
    return network_of(path, _KIND, tensors)


def _planned(path: Path) -> StoredNetwork:
    """Return the network of a file that ``crossover plan`` wrote."""
    try:
        plan, layers = files.read(path)
    except files.PlanFileError as error:
        raise unreadable(path, "a planned network", error) from error
    found = [
        StoredLayer(
            declared.name, declared.shape, partial(_values, layer), partial(_bias, layer),
            activation="relu" if declared.relu else "",
        )
        for declared, layer in zip(plan.layers, layers, strict=True)
    ]  # fmt: skip
    return StoredNetwork(path, "a planned network", tuple(found))


def _values(layer: Layer) -> Floats:
    return layer.weight.values


def _bias(layer: Layer) -> Floats:
    return layer.bias


def _tensor(path: Path, name: str, declared: dict[str, Any], begin: int) -> Tensor:
    shape = tuple(map(int, declared["shape"]))
    dtype = _TYPES.get(declared["dtype"], declared["dtype"])
    start = declared["data_offsets"][0]
    return Tensor(name, shape, dtype, partial(_mapped, path, dtype, shape, begin + start))


def _mapped(path: Path, dtype: str, shape: tuple[int, ...], start: int) -> NDArray[Any]:
    stored = np.dtype("uint16" if dtype == "bfloat16" else dtype)
    if math.prod(shape) == 0:
        return np.zeros(shape, stored)
    return np.memmap(path, stored, "r", start, shape)
