"""Each tile of ``numba-cuda-tiled`` that is worth timing as a kernel of its own.

They are raced like any kernels, against the tile that is chosen by arithmetic::

    crossover run --kernel-module crossover.kernels.variants.cuda_tiles

``kernels explain numba-cuda-tiled`` lists the tiles for a shape, by the names they have here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ..base import PASSES, Pass, Problem
from ..cuda.numba.tiled import NumbaCudaTiled
from ..cuda.numba.tiles import Tile, candidates

#: Rows, nonzeros and batch of problems that reach all tiles of networks' layers.
_PROBLEMS = [
    (rows, nonzeros, n)
    for rows, nonzeros in ((4096, 1_677_722), (300, 23_520))
    for n in (1, 8, 32, 128, 1024)
]


class TileVariant(NumbaCudaTiled):
    """``numba-cuda-tiled`` with one tile, for the passes that it is made for."""

    tile: ClassVar[Tile]

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(self.passes, self.tile))

    def unsupported(self, problem: Problem) -> str | None:
        if problem.n % self.tile.vector:
            return f"{self.name} loads {self.tile.vector} numbers at once: n must be a multiple."
        if problem.pass_ != "backward_weight" and (problem.n == 1) != (self.tile.lanes == 1):
            return f"{self.name} is for a batch of {'1' if self.tile.lanes == 1 else 'more'}."
        return super().unsupported(problem)


def _variants() -> Iterator[type[TileVariant]]:
    """Yield the kernels; W X and Wᵀ dY are computed by the same code, so by the same tiles."""
    products: tuple[Pass, ...] = PASSES[:2]
    for passes, kind in ((products, "spmm"), (PASSES[2:], "sddmm")):
        tiles = {t: None for problem in _PROBLEMS for t in candidates(passes[0], *problem)}
        for tile in tiles:
            declared = {
                "name": f"numba-cuda-tiled-{kind}-{tile.name}",
                "title": f"Numba CUDA tiled, {kind} by {tile.name}",
                "passes": passes,
                "tile": tile,
                "__module__": __name__,
            }
            yield type("TileVariant", (TileVariant,), declared)


globals().update({each.name: each for each in _variants()})
