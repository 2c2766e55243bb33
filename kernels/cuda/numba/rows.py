"""A sparse matrix by rows of whole quads: what the tiled CUDA kernels read by 128-bit loads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...base import Array

_QUAD = 4


@dataclass(frozen=True)
class Rows:
    """A sparse matrix by rows of whole quads, longest row first.

    ``table`` (rows, 4) int32 holds per row its number, begin and end; ``indices`` and ``values``
    (padded nnz,) hold 0 behind a row's end, up to a multiple of four.
    """

    table: Any
    indices: Any
    values: Any
    nnz: int

    @property
    def nbytes(self) -> int:
        return int(self.table.nbytes + self.indices.nbytes + self.values.nbytes)


def padded_places(pointers: Array) -> Array:
    """Return where each nonzero of a CSR structure lies once rows are padded to whole quads."""
    lengths = np.diff(pointers)
    return np.asarray(
        np.arange(pointers[-1]) + np.repeat(_begins(lengths) - pointers[:-1], lengths)
    )


def _begins(lengths: Array) -> Array:
    padded = -(-lengths.astype(np.int64) // _QUAD) * _QUAD
    return np.asarray(np.cumsum(padded) - padded)


def padded_rows(pointers: Array, places: Array, indices: Array, values: Array) -> Rows:
    """Return the padded rows of a CSR structure, on the host."""
    lengths = np.diff(pointers)
    begins, size = _begins(lengths), int((-(-lengths // _QUAD) * _QUAD).sum())
    order = np.argsort(-lengths, kind="stable")
    table = np.zeros((lengths.size, 4), np.int32)
    table[:, 0], table[:, 1], table[:, 2] = order, begins[order], (begins + lengths)[order]
    padded_indices, padded_values = np.zeros(size, np.int32), np.zeros(size, values.dtype)
    padded_indices[places], padded_values[places] = indices, values
    return Rows(table, padded_indices, padded_values, int(pointers[-1]))
