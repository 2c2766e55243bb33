"""Where the nonzeros of a tiled operand lie, and what a small model of the caches makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..base import Array, Choice
from ..processor import aligned_empty, cache_sizes
from ..sparse import StoredValues
from .simd.vectors import LANES, TILE
from .threads import ThreadedStructure, explain_threads, explain_vectors, serial_loads, splits

_L1_BYTES = cache_sizes().get("L1", 1 << 15)
#: Columns of a block: a tile of as many rows of X fills the first cache.
BLOCK = _L1_BYTES // (4 * TILE)
# Nonzeros of a row within a block, below which larger blocks are faster than near ones.
_LEAST_PER_BLOCK = 12


class Way(NamedTuple):
    """How a batch is gone through."""

    #: Blocks that are gone through together.
    step: int
    #: Whether tiles of X are packed.
    packs: bool
    #: Whether threads cost more than they give.
    serial: bool


@dataclass(frozen=True)
class Structure(ThreadedStructure):
    """Where nonzeros are: ``pointers`` (blocks + 1, rows) are to each block of columns of a row."""

    #: Multiples of the first cache that a block's tile of X may fill.
    fill: int
    #: By batch, once asked: finding it out takes as long as a small product.
    _ways: dict[int, Way] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        shape: tuple[int, int],
        fill: int,
    ) -> Structure:
        """Return the structure of nonzeros that are sorted by row, then by column."""
        blocks = max(1, -(-shape[1] // BLOCK))
        counts = np.bincount(rows * blocks + columns // BLOCK, minlength=shape[0] * blocks)
        # The end of each block of each row; the last of a row is the beginning of the next.
        ends = np.append(0, np.cumsum(counts)).astype(np.int32)
        pointers = np.empty((blocks + 1, shape[0]), np.int32)
        pointers[0] = ends[:-1:blocks]
        pointers[1:] = ends[1:].reshape(shape[0], blocks).T
        indices = aligned_empty((rows.size,), np.uint16)
        indices[...] = columns
        cuts = splits(np.bincount(rows, minlength=shape[0]))
        return cls(shape, pointers, indices, cuts, serial_loads(), fill)

    @property
    def threads(self) -> int:
        """Return how many threads share a product."""
        return self.splits.size - 1

    def way(self, n: int) -> Way:
        """Return how a batch of ``n`` is gone through."""
        found = self._ways.get(n)
        if found is None:
            found = self._ways[n] = Way(self.step(n), self.packs(n), self.serial(n))
        return found

    def step(self, n: int) -> int:
        """Return how many blocks are gone through together for a batch of ``n``."""
        blocks = self.pointers.shape[0] - 1
        fitting = self.fill * _L1_BYTES // (4 * min(n, TILE))
        rows, columns = self.shape
        filled = _LEAST_PER_BLOCK * rows * columns // max(1, self.indices.size)
        step = -(-max(fitting, filled) // BLOCK)
        return blocks if 2 * step > blocks else step

    def explain(self, n: int) -> list[Choice]:
        """Return how a batch of ``n`` is gone through, and why."""
        step, rows = self.step(n), self.shape[0]
        cut = min(self.shape[1], step * BLOCK)
        per_block = self.indices.size * cut / max(1, rows * self.shape[1])
        fill = f"{self.fill} x the first cache ({_L1_BYTES >> 10} KB), as measured on this machine"
        width = min(n, TILE)
        return [
            explain_vectors(TILE),
            Choice(
                "columns per block",
                f"{cut} of {self.shape[1]}",
                f"{cut} rows of a tile are {4 * width * cut >> 10} KB; wanted: {fill}, and at "
                f"least {_LEAST_PER_BLOCK} nonzeros per row (here {per_block:.1f})",
            ),
            self.explain_packing(n),
            explain_threads(
                self.loads(n),
                self.serial_loads,
                self.splits,
                (self.pointers[-1] - self.pointers[0]).astype(np.int64),
            ),
        ]

    def reads(self) -> float:
        return float(self.indices.size / max(1, self.shape[1] * self.threads))

    def loads(self, n: int) -> int:
        return int(self.indices.size * (1 + 1.5 * -(-n // LANES)))

    def plan(self, values: Array, order: Array | None = None) -> tuple[int, ...]:
        """Return what the loops need of this structure, and of values read in its ``order``."""
        return (
            values.ctypes.data,
            0 if order is None else order.ctypes.data,
            self.indices.ctypes.data,
            self.pointers.ctypes.data,
            self.shape[0],
            self.pointers.shape[0] - 1,
        )


@dataclass
class TiledOperand(StoredValues):
    """Values in the order of the forward structure; the transposed one reads them by ``order``."""

    forward: Structure
    transposed: Structure
    order: NDArray[np.int32]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the arrays that were unpickled: they lie elsewhere."""
        self.__dict__.update(state)
        self.__post_init__()

    def __post_init__(self) -> None:
        # Addresses of arrays that this operand owns, and that are never replaced.
        self.plans = (
            self.forward.plan(self.values),
            self.transposed.plan(self.values, self.order),
        )

    @property
    def nbytes(self) -> int:
        structures = self.forward.nbytes + self.transposed.nbytes
        return int(self.values.nbytes) + structures + self.order.nbytes
