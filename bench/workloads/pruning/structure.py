"""What a pattern looks like: empty rows and columns, how alike rows are, what lies in blocks.

Each figure is one of the pattern, whatever its values; a random pattern of the same shape and size
has figures of its own to be held against.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossover.bench.workloads.pruning.masks import Mask

#: Sides of the blocks that are counted, and rows to a panel.
BLOCK, PANEL = 4, 4


def facts(mask: Mask) -> dict[str, float]:
    """Return the figures of a pattern (m, k), by name.

    ``empty rows`` and ``empty columns`` are shares; ``row spread`` and ``column spread`` the
    standard deviation of their entries over the mean; ``overlap`` the share of a row's columns that
    the next row has, too; ``rows per column`` how many rows of a panel of four use a column that
    any of them uses; ``empty blocks`` the share of 4 x 4 blocks without an entry.
    """
    rows, columns = mask.sum(axis=1), mask.sum(axis=0)
    shared = (mask[:-1] & mask[1:]).sum()
    panels = _cut(mask, (PANEL, 1)).sum(axis=1)[:, :, 0]
    used = panels[panels > 0]
    blocks = _cut(mask, (BLOCK, BLOCK)).any(axis=(1, 3))
    return {
        "empty rows": float(np.mean(rows == 0)),
        "empty columns": float(np.mean(columns == 0)),
        "row spread": _spread(rows),
        "column spread": _spread(columns),
        "overlap": float(shared / max(1, rows[:-1].sum())),
        "rows per column": float(used.mean()) if used.size else 0.0,
        "empty blocks": float(1 - blocks.mean()) if blocks.size else 0.0,
    }


def _spread(counts: NDArray[np.int64]) -> float:
    return float(counts.std() / max(counts.mean(), 1e-12))


def _cut(mask: Mask, block: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask's whole blocks (down, rows, across, columns)."""
    down, across = mask.shape[0] // block[0], mask.shape[1] // block[1]
    whole = mask[: down * block[0], : across * block[1]]
    return whole.reshape(down, block[0], across, block[1])


def shuffled_in_rows(mask: Mask, rng: np.random.Generator) -> Mask:
    """Return a mask whose rows have as many entries, in columns drawn anew."""
    return rng.permuted(mask, axis=1)


def relabelled(mask: Mask, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return an order of rows and one of columns, drawn: neighbours are none any more."""
    return rng.permutation(mask.shape[0]), rng.permutation(mask.shape[1])
