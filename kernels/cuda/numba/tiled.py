"""The fast Numba CUDA kernel: W and Wᵀ in rows of whole quads, each pass by its tile.

The values are stored twice, in the order of W and of Wᵀ, and an update writes both: the transposed
product of a batch in t tiles would otherwise fetch each value t times, by its 32-byte sector,
where an update fetches it once. No order array is kept then, so that the bytes are the same.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from ... import formats
from ...base import FP32, Arithmetic, Array, Kernel, Pass, Weight
from . import sddmm, spmm
from .csr import OnNumbaCuda, current_stream, device_functions, simulated
from .tiles import Tile, choose

_THREADS = 256
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
        """Return the bytes of the three arrays."""
        return int(self.table.nbytes + self.indices.nbytes + self.values.nbytes)


@dataclass(frozen=True)
class TiledOperand:
    """W and Wᵀ on the GPU; ``mirror`` (padded nnz,) is where Wᵀ holds each value, or -1."""

    shape: tuple[int, int]
    forward: Rows
    transposed: Rows
    mirror: Any
    #: On the host: where each stored value of W lies in ``values``, and in W.ravel().
    places: Array
    positions: Array

    @property
    def nbytes(self) -> int:
        """Return the bytes on the GPU."""
        return self.forward.nbytes + self.transposed.nbytes + int(self.mirror.nbytes)


class NumbaCudaTiled(OnNumbaCuda, Kernel):
    """Subwarp tiles per row, 128-bit loads, rows sorted by length; fp32.

    After Sputnik, with what differs on Hopper: indices and values are read directly, by
    128-bit loads that a row's threads share, since staging them in shared memory costs as many
    turns of the same cache there. ``tiles`` fixes the tile of a pass, to try one.
    """

    name = "numba-cuda-tiled"
    title = "Numba CUDA tiled"
    format = "csr"
    arithmetic: ClassVar[Mapping[str, Arithmetic]] = {"float32": FP32}
    source = "numba.cuda, after Gale, Zaharia, Young, Elsen 2020, Sparse GPU Kernels (Sputnik)"

    def __init__(self, tiles: Mapping[Pass, Tile] | None = None) -> None:
        self._tiles = dict(tiles or {})

    def prepare(self, weight: Weight) -> TiledOperand:
        """Return W and Wᵀ by rows of whole quads, uploaded."""
        device_functions()
        csr = formats.to_csr(weight)
        pointers, rows, order = formats.transposed_structure(csr)
        places, transposed_places = padded_places(csr.indptr), padded_places(pointers)
        forward = padded_rows(csr.indptr, places, csr.indices, csr.data)
        transposed = padded_rows(pointers, transposed_places, rows, csr.data[order])
        mirror = np.full(forward.values.size, -1, np.int32)
        mirror[places[order]] = transposed_places
        return TiledOperand(
            weight.shape,
            self._upload(forward),
            self._upload(transposed),
            self.put(mirror),
            places,
            formats.flat_positions(csr),
        )

    def forward(self, operand: TiledOperand, x: Any, out: Any) -> Any:
        """Return ``W x``."""
        return self._multiply("forward", operand.forward, x, out)

    def backward_input(self, operand: TiledOperand, dy: Any, out: Any) -> Any:
        """Return ``Wᵀ dy``."""
        return self._multiply("backward_input", operand.transposed, dy, out)

    def backward_weight(self, operand: TiledOperand, dy: Any, x: Any, out: Any) -> Any:
        """Return ``dy xᵀ`` at the nonzeros (padded nnz,), zero in the padding."""
        return sample(operand.forward, dy, x, out, self._tiles.get("backward_weight"))

    def update(self, operand: TiledOperand, step: Any, rate: float) -> None:
        """Subtract ``rate * step`` from the values of W and of Wᵀ."""
        values = operand.forward.values
        if values.size:
            sddmm.update()[-(-values.size // _THREADS), _THREADS, current_stream()](
                values, operand.transposed.values, operand.mirror, step, np.float32(rate)
            )

    def gradient_shape(self, operand: TiledOperand) -> tuple[int, ...]:
        """Return (padded nnz,)."""
        return (int(operand.forward.values.size),)

    def dense_weight(self, operand: TiledOperand) -> Array:
        """Return W, scattered."""
        return self.dense_gradient(operand, operand.forward.values)

    def dense_gradient(self, operand: TiledOperand, gradient: Any) -> Array:
        """Return the gradient, scattered."""
        host = self.fetch(gradient)
        dense = np.zeros(operand.shape, host.dtype)
        dense.ravel()[operand.positions] = host[operand.places]
        return dense

    def _multiply(self, pass_: Pass, rows: Rows, x: Any, out: Any) -> Any:
        """Return the product of ``rows`` with ``x``."""
        count, n = rows.table.shape[0], x.shape[1]
        chosen = self._tiles.get(pass_)
        tile = chosen or choose(pass_, count, rows.nnz, n, aligned(x, out))
        kernel, block = kernel_of(pass_, tile, n), (tile.width, tile.rows)
        stripes = -(-count // tile.rows)
        if n == 1:
            kernel[stripes, block, current_stream()](rows.table, rows.indices, rows.values, x, out)
            return out
        share, more = divmod(stripes * -(-n // tile.columns), _multiprocessors())
        grid = _multiprocessors(), share + (1 if more else 0)
        kernel[grid, block, current_stream()](
            rows.table, rows.indices, rows.values, x, out, share, more
        )
        return out

    def _upload(self, rows: Rows) -> Rows:
        put = self.put
        return Rows(put(rows.table), put(rows.indices), put(rows.values), rows.nnz)


def sample(rows: Rows, dy: Any, x: Any, out: Any, tile: Tile | None = None) -> Any:
    """Return ``dy xᵀ`` at the entries of ``rows`` (padded nnz,), zero in the padding."""
    count, n = rows.table.shape[0], x.shape[1]
    if out.size:
        tile = tile or choose("backward_weight", count, rows.nnz, n, aligned(dy, x))
        kernel, block = kernel_of("backward_weight", tile, n), (tile.width, tile.rows)
        kernel[-(-count // tile.rows), block, current_stream()](
            rows.table, rows.indices, dy, x, out
        )
    return out


def kernel_of(pass_: Pass, tile: Tile, n: int) -> Any:
    """Return the CUDA kernel that computes a pass by ``tile`` for a batch of n."""
    exact = n % tile.columns == 0
    if pass_ != "backward_weight":
        return spmm.spmv(tile) if n == 1 else spmm.spmm(tile, exact)
    if tile.lanes == 1:
        return sddmm.sddmm_narrow(tile)
    return sddmm.sddmm(tile, exact)


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


def aligned(*arrays: Any) -> bool:
    """Return whether 128-bit loads may begin where the ``arrays`` do."""
    if simulated():
        return True
    return all(each.__cuda_array_interface__["data"][0] % 16 == 0 for each in arrays)


@cache
def _multiprocessors() -> int:
    if simulated():
        return 3
    device = importlib.import_module("numba.cuda").get_current_device()
    return int(device.MULTIPROCESSOR_COUNT)
