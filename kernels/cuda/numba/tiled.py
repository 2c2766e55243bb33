"""The fast Numba CUDA kernel: W and Wᵀ in rows of whole quads, each pass by its tile.

The values are stored twice, in the order of W and of Wᵀ, and an update writes both: the transposed
product of a batch in t tiles would otherwise fetch each value t times, by its 32-byte sector,
where an update fetches it once. No order array is kept then, so that the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ... import formats
from ...base import ONLY_FP32, Array, Choice, Look, Pass, Weight
from ...sparse import SparseKernel, StoredValues
from . import sddmm, spmm, tiles
from .arrays import OnNumbaCuda, launch, launch_flat, numba_cuda, simulated
from .rows import Rows, padded_places, padded_rows
from .tiles import Tile, choose


@dataclass
class TiledOperand(StoredValues):
    """W and Wᵀ on the GPU; ``mirror`` (padded nnz,) is where Wᵀ holds each value, or -1."""

    forward: Rows
    transposed: Rows
    mirror: Any
    #: On the host: where each stored entry of W lies in ``values``.
    places: Array

    @property
    def nbytes(self) -> int:
        return self.forward.nbytes + self.transposed.nbytes + int(self.mirror.nbytes)


class NumbaCudaTiled(OnNumbaCuda, SparseKernel):
    """Subwarp tiles per row, 128-bit loads, rows sorted by length; fp32.

    After Sputnik, with what differs on Hopper: indices and values are read directly, by
    128-bit loads that a row's threads share, since staging them in shared memory costs as many
    turns of the same cache there. ``NumbaCudaTiled({"forward": tile})`` fixes the tile of a pass.
    """

    name = "numba-cuda-tiled"
    title = "Numba CUDA tiled"
    format = "csr"
    arithmetic = ONLY_FP32
    source = "numba.cuda, after Gale, Zaharia, Young, Elsen 2020, Sparse GPU Kernels (Sputnik)"
    look = Look("#1a6fe6", "^", "-")

    def __init__(self, tiles: Mapping[Pass, Tile] | None = None) -> None:
        self._tiles = dict(tiles or {})

    def prepare(self, weight: Weight) -> TiledOperand:
        csr = formats.to_csr(weight)
        pointers, rows, order = formats.transposed_structure(csr)
        places, transposed_places = padded_places(csr.indptr), padded_places(pointers)
        forward = padded_rows(csr.indptr, places, csr.indices, csr.data)
        transposed = padded_rows(pointers, transposed_places, rows, csr.data[order])
        mirror = np.full(forward.values.size, -1, np.int32)
        mirror[places[order]] = transposed_places
        entries = self._upload(forward)
        return TiledOperand(
            weight.shape,
            entries.values,
            formats.flat_positions(csr),
            entries,
            self._upload(transposed),
            self.put(mirror),
            places,
        )

    def explain(self, operand: TiledOperand, pass_: Pass, n: int) -> list[Choice]:
        rows = operand.transposed if pass_ == "backward_input" else operand.forward
        count = rows.table.shape[0]
        tile = self._tiles.get(pass_) or choose(pass_, count, rows.nnz, n)
        return tiles.explain(pass_, count, rows.nnz, n, tile)

    def forward(self, operand: TiledOperand, x: Any, out: Any) -> Any:
        return self._multiply("forward", operand.forward, x, out)

    def backward_input(self, operand: TiledOperand, dy: Any, out: Any) -> Any:
        return self._multiply("backward_input", operand.transposed, dy, out)

    def backward_weight(self, operand: TiledOperand, dy: Any, x: Any, out: Any) -> Any:
        # At the nonzeros (padded nnz,), zero in the padding.
        return sample(operand.forward, dy, x, out, self._tiles.get("backward_weight"))

    def update(self, operand: TiledOperand, step: Any, rate: float) -> None:
        both = operand.values, operand.transposed.values
        launch_flat(
            sddmm.update(), operand.values.size, *both, operand.mirror, step, np.float32(rate)
        )

    def dense_gradient(self, operand: TiledOperand, gradient: Any) -> Array:
        entries = self.fetch(gradient)[operand.places]
        return formats.scattered(entries, operand.positions, operand.shape)

    def _multiply(self, pass_: Pass, rows: Rows, x: Any, out: Any) -> Any:
        """Return the product of ``rows`` with ``x``."""
        count, n = rows.table.shape[0], x.shape[1]
        chosen = self._tiles.get(pass_)
        tile = chosen or choose(pass_, count, rows.nnz, n, aligned(x, out))
        kernel, block = kernel_of(pass_, tile, n), (tile.width, tile.rows)
        stripes = -(-count // tile.rows)
        structure = rows.table, rows.indices, rows.values
        if n == 1:
            launch(kernel, (stripes,), block, *structure, x, out)
            return out
        share, more = divmod(stripes * -(-n // tile.columns), _multiprocessors())
        grid = _multiprocessors(), share + (1 if more else 0)
        launch(kernel, grid, block, *structure, x, out, share, more)
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
        stripes = -(-count // tile.rows)
        launch(kernel, (stripes,), block, rows.table, rows.indices, dy, x, out)
    return out


def kernel_of(pass_: Pass, tile: Tile, n: int) -> Any:
    """Return the CUDA kernel that computes a pass by ``tile`` for a batch of n."""
    exact = n % tile.columns == 0
    if pass_ != "backward_weight":
        return spmm.spmv(tile) if n == 1 else spmm.spmm(tile, exact)
    if tile.lanes == 1:
        return sddmm.sddmm_narrow(tile)
    return sddmm.sddmm(tile, exact)


def aligned(*arrays: Any) -> bool:
    """Return whether 128-bit loads may begin where the ``arrays`` do."""
    if simulated():
        return True
    return all(each.data.ptr % 16 == 0 for each in arrays)


@cache
def _multiprocessors() -> int:
    if simulated():
        return 3
    device = numba_cuda().get_current_device()
    return int(device.MULTIPROCESSOR_COUNT)
