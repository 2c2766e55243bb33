"""Arrays of NumPy and SciPy (``.npz``, ``.npy``), Matrix Market (``.mtx``) and ``.smtx``."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import scipy.sparse as sp
from numpy.lib import format as npy
from numpy.typing import NDArray

from crossover.bench.errors import InputError
from crossover.bench.machine import memory
from crossover.bench.workloads.readers import matrix_market, smtx
from crossover.bench.workloads.readers.naming import network_of
from crossover.bench.workloads.readers.stored import (
    Floats,
    StoredLayer,
    StoredNetwork,
    Tensor,
    UnreadableError,
    checked_values,
    unreadable,
)
from crossover.bench.workloads.readers.zips import opened_zip

_NPZ, _NPY, _MTX = "NumPy .npz", "NumPy .npy", "Matrix Market"
_SPARSE = {"format", "shape", "data"}


def read_npz(path: Path) -> StoredNetwork:
    """Return the network in an ``.npz``: dense arrays by name, or SciPy's one sparse matrix.

    A matrix is (outputs, inputs), unless its bias says otherwise.

    Raises:
        UnreadableError: if it is none, or holds no layer.
    """
    with opened_zip(path, _NPZ) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        tensors = [_member(path, archive, info) for info in members]
    if {tensor.name for tensor in tensors} >= _SPARSE:
        return _one_matrix(path, _NPZ, _sparse_shape(path, tensors), partial(_sparse, path))
    return network_of(path, _NPZ, tensors, inputs_first=None)


def read_npy(path: Path) -> StoredNetwork:
    """Return the one matrix (outputs, inputs) of an ``.npy`` as a layer.

    Raises:
        UnreadableError: if it is none.
    """
    try:
        with path.open("rb") as file:
            shape, dtype, _ = _header(file)
            if math.prod(shape) * dtype.itemsize > path.stat().st_size:
                raise ValueError(f"{shape} of {dtype} is more than the file holds")
    except (ValueError, OSError, EOFError, TypeError, SyntaxError, RecursionError) as error:
        raise unreadable(path, _NPY, error) from error
    mapped = partial(np.load, path, "r", allow_pickle=False)
    return network_of(path, _NPY, [Tensor(path.stem, shape, dtype.name, mapped)])


def read_mtx(path: Path) -> StoredNetwork:
    """Return the one matrix of a Matrix Market file as a layer.

    Raises:
        UnreadableError: if it is none.
    """
    try:
        shape = matrix_market.header(path).shape
    except (ValueError, OSError) as error:
        raise unreadable(path, _MTX, error) from error
    return _one_matrix(path, _MTX, shape, partial(_matrix_market, path))


def read_smtx(path: Path) -> StoredNetwork:
    """Return the pattern of an ``.smtx`` file as a layer, its values drawn from a normal.

    Raises:
        InputError: if it is none.
    """
    shape = smtx.weight(path, np.random.default_rng(0)).shape

    def values() -> Floats:
        drawn: Floats = smtx.weight(path, np.random.default_rng(0)).values
        return drawn

    note = "values drawn: the file holds a pattern alone"
    return StoredNetwork(path, ".smtx", (StoredLayer(path.stem, shape, values, note=note),))


def read_inputs(path: Path, name: str) -> NDArray[Any]:
    """Return the array of an ``.npy`` file that an option ``name`` gives, memory-mapped.

    Raises:
        InputError: if there is none, or it is no array of numbers.
    """
    if not path.is_file():
        raise InputError(f"{name} {path} is no file: give an array that numpy.save wrote")
    try:
        array: NDArray[Any] = np.load(path, "r", allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError, RecursionError) as error:
        raise unreadable(path, _NPY, error, "give an array that numpy.save wrote") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub" or not array.ndim:
        raise InputError(f"{name} {path} holds no array of numbers: give one, an item per image")
    return array


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Tensor:
    """Return a tensor of an archive, held against what the archive says of its size."""
    try:
        with archive.open(info) as file:
            shape, dtype, _ = _header(file)
            held = info.file_size - file.tell()
    except (ValueError, OSError, EOFError, TypeError, SyntaxError, RecursionError,
            zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:  # fmt: skip
        raise unreadable(path, _NPZ, f"{info.filename}: {error}") from error
    if math.prod(shape) * dtype.itemsize != held:
        raise unreadable(path, _NPZ, f"{info.filename} is {shape} of {dtype} in {held} bytes")
    name = info.filename.removesuffix(".npy")
    return Tensor(name, shape, dtype.name, partial(_loaded, path, info.filename))


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Return shape, type and order of the array that a file begins with.

    Raises:
        ValueError: if there is none, or it holds objects, which only a pickle could.
    """
    version = npy.read_magic(file)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"format version {version}")
    shape, fortran, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError("it holds objects, not numbers")
    if any(side < 0 for side in shape):
        raise ValueError(f"a side of {shape} is negative")
    return tuple(map(int, shape)), dtype, fortran


def _loaded(path: Path, member: str) -> NDArray[Any]:
    with opened_zip(path, _NPZ) as archive, archive.open(member) as file:
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return array


def _one_matrix(path: Path, kind: str, shape: tuple[int, int], read: Any) -> StoredNetwork:
    """Return a file that is one matrix as a network of one layer."""
    if min(shape) < 1:
        raise unreadable(path, kind, f"shape {shape}", "give a matrix with rows and columns")
    needed, free = 8 * shape[0] * shape[1], memory.free_bytes()
    if needed > free:
        raise UnreadableError(f"{path}: {memory.too_little(needed, free)}")
    layer = StoredLayer(path.stem, shape, checked_values(path, kind, read))
    return StoredNetwork(path, kind, (layer,))


def _sparse_shape(path: Path, tensors: list[Tensor]) -> tuple[int, int]:
    by_name: Mapping[str, Tensor] = {tensor.name: tensor for tensor in tensors}
    try:
        if by_name["shape"].shape != (2,):
            raise ValueError("its shape is no pair")
        m, k = map(int, by_name["shape"].read())
    except (ValueError, OSError, TypeError) as error:
        raise unreadable(path, _NPZ, error) from error
    return m, k


def _sparse(path: Path) -> Floats:
    matrix = sp.load_npz(path)
    matrix.check_format(full_check=True)
    return _finite(matrix)


def _matrix_market(path: Path) -> Floats:
    return _finite(matrix_market.read(path))


def _finite(matrix: Any) -> Floats:
    """Return a matrix as dense float32.

    Raises:
        ValueError: if an entry is not finite.
    """
    dense = np.ascontiguousarray(matrix.toarray() if sp.issparse(matrix) else matrix, np.float32)
    if not np.isfinite(dense).all():
        raise ValueError("it holds values that are not finite")
    return dense
