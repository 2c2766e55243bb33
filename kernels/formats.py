"""Conversions between dense, CSR, CSC and BSR, exact both ways, and the bytes of each.

Only the stored entries of a :class:`~.base.Weight` are converted, explicit zeros among
them, and no value is computed with, so that a round trip gives back every bit. Index arrays are
int32: a weight is dense once, so it has fewer than 2^31 entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .base import Array, Weight

Indices = NDArray[np.int32]

#: Below this share of true nonzeros in its blocks, a block size costs more than it gains
#: (the threshold that SciPy's own ``estimate_blocksize`` uses).
_BLOCK_EFFICIENCY = 0.7
_BLOCK_SIDES = (2, 4, 8, 16)


def to_csr(weight: Weight) -> Any:
    """Return ``weight`` as a SciPy CSR array, indices sorted."""
    rows, columns = np.nonzero(weight.pattern)
    pointers = np.zeros(weight.shape[0] + 1, np.int32)
    np.cumsum(np.bincount(rows, minlength=weight.shape[0]), out=pointers[1:])
    return sp.csr_array(
        (weight.values[rows, columns], columns.astype(np.int32), pointers), shape=weight.shape
    )


def to_csc(weight: Weight) -> Any:
    """Return ``weight`` as a SciPy CSC array, indices sorted."""
    return to_csr(weight).tocsc()


def to_bsr(weight: Weight, block: tuple[int, int] | None = None) -> Any:
    """Return ``weight`` as a SciPy BSR array whose blocks hold a zero where nothing is stored.

    ``block`` must divide (m, k); by default :func:`block_shape` chooses it.
    """
    rows, columns = block or block_shape(weight)
    m, k = weight.shape
    if m % rows or k % columns:
        raise ValueError(f"block {rows} x {columns} does not divide {m} x {k}: choose a divisor")
    blocks = weight.values.reshape(m // rows, rows, k // columns, columns).swapaxes(1, 2)
    stored = _blocks_stored(weight, rows, columns)
    layout = to_csr(Weight(stored.astype(np.float32), stored))
    return sp.bsr_array(
        (np.ascontiguousarray(blocks[stored]), layout.indices, layout.indptr), shape=(m, k)
    )


def from_sparse(matrix: Any) -> Weight:
    """Return the weight of a SciPy CSR, CSC or BSR array: its stored entries, zeros too."""
    positions = flat_positions(matrix).ravel()
    values, pattern = np.zeros(matrix.shape, matrix.dtype), np.zeros(matrix.shape, bool)
    values.ravel()[positions] = matrix.data.ravel()  # not toarray(), which adds: -0.0 is lost
    pattern.ravel()[positions] = True
    return Weight(values, pattern)


def block_shape(weight: Weight) -> tuple[int, int]:
    """Return the largest square block, dividing (m, k), that is at least 70 % full; or (1, 1).

    A weight pruned without regard to blocks gets (1, 1): larger blocks would store zeros.
    """
    m, k = weight.shape
    nnz, found = weight.nnz, 1
    for side in _BLOCK_SIDES:
        if m % side or k % side or not nnz:
            break
        # Each block lies in one of the next size, so that none of those is fuller.
        if nnz / (int(_blocks_stored(weight, side, side).sum()) * side * side) < _BLOCK_EFFICIENCY:
            break
        found = side
    return found, found


def holds_no_blocks(weight: Weight) -> str | None:
    """Return that ``weight`` would be stored in blocks of 1 x 1, as a sentence, or None.

    That is a CSR that stores more, and some libraries refuse it.
    """
    if block_shape(weight) != (1, 1):
        return None
    return "The pattern has no blocks of 2 x 2 or more that are at least 70 % full."


def transposed_structure(matrix: Any) -> tuple[Indices, Indices, Indices]:
    """Return (pointers (k+1), rows (nnz), order (nnz)) of a CSR array read by columns.

    Entry ``p`` of the transposed structure is ``matrix.data[order[p]]`` in row ``rows[p]``:
    the values stay stored once, so an in-place update serves both directions.
    """
    numbered = sp.csr_array(
        (np.arange(matrix.nnz, dtype=np.int32), matrix.indices, matrix.indptr),
        shape=matrix.shape,
    ).tocsc()
    return numbered.indptr, numbered.indices, numbered.data


def flat_positions(matrix: Any) -> NDArray[np.int64]:
    """Return, for each stored value of a CSR, CSC or BSR array, its position in W.ravel()."""
    m, k = matrix.shape
    if matrix.format == "bsr":
        r, c = matrix.blocksize
        block_rows = np.repeat(np.arange(m // r), np.diff(matrix.indptr))
        rows = block_rows[:, None, None] * r + np.arange(r)[None, :, None]
        columns = matrix.indices[:, None, None].astype(np.int64) * c + np.arange(c)[None, None, :]
        return np.asarray(rows * k + columns, np.int64)
    major = np.repeat(np.arange(matrix.indptr.size - 1), np.diff(matrix.indptr))
    minor = matrix.indices.astype(np.int64)
    rows, columns = (major, minor) if matrix.format == "csr" else (minor, major)
    return np.asarray(rows * k + columns, np.int64)


def scattered(values: Array, positions: Array, shape: tuple[int, int]) -> Array:
    """Return (m, k) with ``values`` at ``positions`` of its ``ravel()``, and 0 elsewhere."""
    dense = np.zeros(shape, values.dtype)
    dense.ravel()[positions.ravel()] = values.ravel()
    return dense


def sparse_bytes(matrix: Any) -> int:
    """Return the bytes of a CSR, CSC or BSR array: values, indices and pointers."""
    return int(matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes)


def bytes_by_format(weight: Weight) -> dict[str, int]:
    """Return the bytes of ``weight`` in each format, counted, not converted."""
    m, k = weight.shape
    value, index, nnz = weight.values.itemsize, 4, weight.nnz
    r, c = block_shape(weight)
    blocks = int(_blocks_stored(weight, r, c).sum())
    return {
        "dense": m * k * value,
        "csr": nnz * (value + index) + (m + 1) * index,
        "csc": nnz * (value + index) + (k + 1) * index,
        "bsr": blocks * (r * c * value + index) + (m // r + 1) * index,
    }


def _blocks_stored(weight: Weight, rows: int, columns: int) -> NDArray[np.bool_]:
    """Return (m/rows, k/columns): which blocks hold a stored entry."""
    m, k = weight.shape
    in_row = np.asarray(weight.pattern.reshape(m // rows, rows, k).any(axis=1))
    # Column by column of a block: a reduction over so few entries is several times slower.
    stored: NDArray[np.bool_] = in_row[:, ::columns].copy()
    for column in range(1, columns):
        stored |= in_row[:, column::columns]
    return stored
