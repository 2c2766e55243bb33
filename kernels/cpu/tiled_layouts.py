"""W and Wᵀ in pairs or fours of rows, in blocks that fit the caches at the batch they are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ..base import Array, Choice
from ..processor import aligned_empty, cache_sizes
from ..sparse import StoredValues
from .grouping import Groups
from .simd.vectors import FOUR_VECTORS, LANES, PAIR_VECTORS
from .threads import explain_threads
from .tiled_loops import sum_loop, tiles_of

_L1_BYTES = cache_sizes().get("L1", 1 << 15)
#: Columns of a batch that layouts are made for: each serves batches down to the next; the last all
#: that are wider, too.
WIDTHS = tuple(sorted({1, LANES // 4, LANES // 2, LANES, 2 * LANES, 4 * LANES}))
WIDE = WIDTHS[-1]
# Where a layout is kept that is for the weight gradient alone.
_GRADIENT = 0
#: Columns of a batch beyond which tiles of X are packed, if they are read often enough.
PACKED_COLUMNS = 64
_LEAST_READS = 9
# Columns that an index of 16 bits can name.
MOST_COLUMNS = 1 << 16
# Of four rows more share a column the denser they are; the ends of the loops over the 15 patterns
# are guessed wrong, but for matrices so small that the processor has learnt them.
_LEAST_DENSITY = 0.4
# Entries that a row should have in a block: fewer, and its sums go to and fro more than they grow,
# the ends of its loops are guessed wrong more often than the work of a narrow batch can hide.
_LEAST_ENTRIES = {LANES: 100, 2 * LANES: 50, WIDE: 16}


@dataclass(frozen=True)
class Choices:
    """What decides on a layout; ``kernels.variants.tiled_choices`` fixes one of them each."""

    #: Of each width, the part of the first cache that a block's tile of X fills, in percent.
    fills: Mapping[int, int]
    #: Loads from which on threads are woken.
    serial_loads: int
    #: Columns of a block, whatever the fill: 0 for all.
    columns: int | None = None
    #: Whether tiles of X are packed, however often they are read.
    packed: bool | None = None
    #: Whether rows go in fours, however dense they are.
    fours: bool | None = None

    def together(self, shape: tuple[int, int], entries: int, width: int) -> int:
        """Return how many rows of such a matrix go together."""
        if not FOUR_VECTORS or width < WIDE:
            return 2
        dense = entries >= _LEAST_DENSITY * shape[0] * shape[1]
        return 4 if (dense if self.fours is None else self.fours) else 2

    def block_of(self, shape: tuple[int, int], entries: int, width: int) -> int:
        """Return the columns of a block of a matrix with so many ``entries``.

        Its tile of X fits the first cache, unless rows would have too few entries there. Blocks are
        of equal size.
        """
        columns = max(1, shape[1])
        wanted = self.columns
        if wanted is None:
            fitting = self.fills[width] * _L1_BYTES // (100 * 4 * width)
            filled = _LEAST_ENTRIES[max(width, LANES)] * shape[0] * columns // max(1, entries)
            wanted = max(fitting, filled)
        blocks = max(1, columns // (wanted or columns), -(-columns // MOST_COLUMNS))
        return -(-columns // blocks)


@dataclass
class Layout:
    """W or Wᵀ in groups of rows, with its values in the order in which they are gone through."""

    groups: Groups
    values: Array
    choices: Choices

    def __post_init__(self) -> None:
        self.threads = self.groups.starts.shape[1] - 1
        #: What the loops need, in one array: see ``tiled_loops``.
        self.table = self.table_for(self.groups.starts)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the arrays that were unpickled: they lie elsewhere."""
        self.__dict__.update(state)
        self.__post_init__()

    @property
    def alone(self) -> NDArray[np.int64]:
        """Return the table for one thread."""
        return self.table_for(self.groups.starts[:, [0, -1]])

    def table_for(self, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return addresses of what this layout owns and never replaces, sizes, and ``starts``."""
        groups = self.groups
        arrays = self.values, groups.columns, groups.pieces
        places = [array.ctypes.data for array in arrays]
        blocks, shares = starts.shape[0], starts.shape[1] - 1
        # Of one share there is nothing to be had from threads.
        serial = self.choices.serial_loads if shares > 1 else np.iinfo(np.int64).max
        sizes = [groups.block, blocks, shares, self.values.size, serial, int(self.packing_pays)]
        loop = sum_loop(groups.together)
        return np.array([*places, *sizes, loop, *starts.ravel().tolist()], np.int64)

    @property
    def most_vectors(self) -> int:
        """Return the vectors of a tile of a product."""
        return PAIR_VECTORS if self.groups.together == 2 else FOUR_VECTORS

    @property
    def reads(self) -> float:
        """Return how often a thread reads each row of X."""
        return float(self.groups.columns.size / max(1, self.groups.shape[1] * self.threads))

    @property
    def packing_pays(self) -> bool:
        """Return whether tiles of a wide batch are read often enough to be packed."""
        chosen = self.choices.packed
        return self.reads >= _LEAST_READS if chosen is None else chosen

    def explain(self, n: int, most_vectors: int = 0) -> list[Choice]:
        """Return how a batch of ``n`` is gone through, in tiles of so many vectors, and why."""
        most_vectors = most_vectors or self.most_vectors
        groups, block = self.groups, min(self.groups.block, self.groups.shape[1])
        per_row = self.values.size / max(1, groups.shape[0] * groups.starts.shape[0])
        tiles, vectors = tiles_of(n, most_vectors)
        widest = -(-vectors // tiles)
        bytes_of_x = 4 * min(n, widest * LANES) * block
        by_thread = np.diff(groups.starts[:, :, 1], axis=1).sum(axis=0)
        return [
            Choice(
                "rows together",
                f"{groups.together}",
                f"that saves {groups.shared:.0%} of the loads of rows of X",
            ),
            Choice(
                "vectors",
                f"{widest} of {LANES} fp32",
                f"{n} columns in {tiles} tile{'s' * (tiles > 1)} of up to {most_vectors} vectors: "
                f"sums stay in registers of {32 * LANES} bits",
            ),
            Choice(
                "columns per block",
                f"{block} of {groups.shape[1]}",
                f"a tile of as many rows of X is {bytes_of_x >> 10} KB, of {_L1_BYTES >> 10} KB in "
                f"the first cache; a row has {per_row:.1f} entries in a block",
            ),
            Choice(
                "tiles of X packed",
                "yes" if packs_tiles(n, self.packing_pays) else "no",
                f"batch {n}; a thread reads a row {self.reads:.1f} times: packing pays beyond "
                f"{PACKED_COLUMNS} columns and from {_LEAST_READS} reads",
            ),
            explain_threads(
                loads_of(self.values.size, n),
                self.choices.serial_loads,
                np.arange(self.threads + 1),
                by_thread,
            ),
        ]


@dataclass
class TiledOperand(StoredValues):
    """Values in the order of one layout of W, the main one; other layouts have theirs again.

    A layout is made when a pass first needs it: who only serves has no Wᵀ.
    """

    #: Which of ``WIDTHS`` the main layout is for.
    width: int
    choices: Choices
    #: By whether it is Wᵀ, and the width that it is for.
    layouts: dict[tuple[bool, int], Layout] = field(default_factory=dict)

    @property
    def main(self) -> Layout:
        """Return the layout whose values are the operand's."""
        return self.layouts[False, self.width]

    @property
    def copies(self) -> list[Layout]:
        """Return the layouts that have the values again."""
        others = {id(each): each for each in self.layouts.values() if each is not self.main}
        return list(others.values())

    @property
    def nbytes(self) -> int:
        own = self.values.nbytes + self.main.groups.nbytes
        again = ((e.values.nbytes, e.groups.nbytes, e.groups.order.nbytes) for e in self.copies)
        return int(own + sum(sum(parts) for parts in again))

    def layout(self, transposed: bool, n: int) -> Layout:
        """Return W, or Wᵀ, as a batch of ``n`` wants it."""
        key = transposed, width_of(n)
        found = self.layouts.get(key)
        if found is None:
            found = self.layouts[key] = self._made(*key)
        return found

    def subtract(self, step: Array, rate: float) -> None:
        """Subtract ``rate`` times ``step``, and give every layout the values as they are then."""
        subtracted(self.values, step, self.values.dtype.type(rate))
        for copy in self.copies:
            reordered(self.values, copy.groups.order, copy.values)

    @property
    def paired(self) -> Layout:
        """Return a layout of W in pairs, as the weight gradient wants it: the main one, if it is.

        Another one's gradients are in an order of their own.
        """
        if self.main.groups.together == 2:
            return self.main
        key = False, _GRADIENT
        if key not in self.layouts:
            self.layouts[key] = self._grouped(False, self.main.groups.block, 2)
        return self.layouts[key]

    def _made(self, transposed: bool, width: int) -> Layout:
        shape = self.shape[::-1] if transposed else self.shape
        block = self.choices.block_of(shape, self.values.size, width)
        together = self.choices.together(shape, self.values.size, width)
        for (other, _), found in self.layouts.items():
            same = found.groups.block == block and found.groups.together == together
            if other == transposed and same:
                return found
        return self._grouped(transposed, block, together)

    def _grouped(self, transposed: bool, block: int, together: int) -> Layout:
        """Return W or Wᵀ in blocks of so many columns and groups of so many rows."""
        shape = self.shape[::-1] if transposed else self.shape
        rows, columns = np.divmod(self.positions, self.shape[1])
        if transposed:
            rows, columns = columns, rows
        sorting = np.lexsort((columns, rows))
        groups = Groups.of(rows[sorting], columns[sorting], shape, block, together)
        # As found: from row after row. As kept: from the operand's own order.
        groups.order[...] = sorting[groups.order]
        values = aligned_empty((self.values.size,), self.values.dtype)
        reordered(self.values, groups.order, values)
        return Layout(groups, values, self.choices)

    @classmethod
    def of(
        cls, values: Array, pattern: NDArray[np.bool_], width: int, choices: Choices,
        trained: bool = True,
    ) -> TiledOperand:  # fmt: skip
        """Return the operand of W (m, k), whose entries are where ``pattern`` is.

        One that is ``trained`` has its main layout in pairs, for the weight gradient.
        """
        rows, columns = np.nonzero(pattern)
        shape = (pattern.shape[0], pattern.shape[1])
        block = choices.block_of(shape, rows.size, width)
        together = 2 if trained else choices.together(shape, rows.size, width)
        groups = Groups.of(rows, columns, shape, block, together)
        kept = aligned_empty((rows.size,), values.dtype)
        kept[...] = values[rows, columns][groups.order]
        positions = (rows * shape[1] + columns)[groups.order]
        # These values are the operand's own: none is looked up.
        layout = Layout(replace(groups, order=groups.order[:0].copy()), kept, choices)
        return cls(shape, kept, positions, width, choices, {(False, width): layout})


def width_of(n: int) -> int:
    """Return which of ``WIDTHS`` a batch of ``n`` belongs to."""
    return next((width for width in WIDTHS if n <= width), WIDE)


def predicted_fill(width: int) -> int:
    """Return what percentage of the first cache a block's tile of X should fill.

    The narrower the rows, the more of it W's entries take, which go by.
    """
    return 33 if width < LANES else 50 if width < WIDE else 85


@numba.njit(cache=True)
def loads_of(entries, n):  # type: ignore[no-untyped-def]
    """Return about how many cycles a product takes."""
    return entries * (2 + 3 * ((n + LANES - 1) // LANES)) // 2


@numba.njit(cache=True)
def packs_tiles(n, pays):  # type: ignore[no-untyped-def]
    """Return whether tiles of X are packed, where that ``pays`` if there are several."""
    return n > PACKED_COLUMNS and pays != 0


@numba.njit(cache=True, parallel=True)
def subtracted(values, step, rate):  # type: ignore[no-untyped-def]
    """Subtract ``rate`` times ``step`` from ``values``, in one pass over both."""
    for p in numba.prange(values.size):
        values[p] -= rate * step[p]


@numba.njit(cache=True, parallel=True)
def reordered(values, order, out):  # type: ignore[no-untyped-def]
    """Write ``values[order]`` to ``out``."""
    for p in numba.prange(order.size):
        out[p] = values[order[p]]
