"""Patterns that are known beforehand: units that see a neighbourhood of the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossover.bench.workloads.pruning.masks import Mask

_Places = NDArray[np.float64]
# Rows whose distances to all inputs are computed together.
_CHUNK = 256


def local_masks(
    shapes: Sequence[tuple[int, int]], kept: Sequence[int], rng: np.random.Generator, grid: bool
) -> list[Mask]:
    """Return masks whose rows keep the inputs nearest to a place of their own.

    The first layer's inputs are pixels of a square image. Each unit of a hidden layer has a place
    in it: drawn, with round neighbourhoods, or on a ``grid``, with square ones. What the last layer
    keeps is drawn: its units have no place. Each layer has so many entries ``kept``, in rows that
    differ by one at most.
    """
    places = _on_grid(shapes[0][1])
    masks = []
    for (m, _), count in zip(shapes[:-1], kept, strict=False):
        own = _on_grid(m) if grid else rng.random((m, 2))
        masks.append(_nearest(own, places, _of_rows(m, count), grid))
        places = own
    m, k = shapes[-1]
    masks.append(_smallest(rng.random((m, k)), _of_rows(m, kept[-1])))
    return masks


def _of_rows(m: int, count: int) -> NDArray[np.int64]:
    """Return how many of ``count`` entries each of ``m`` rows keeps."""
    each, more = divmod(count, m)
    return each + (np.arange(m) < more)


def _on_grid(count: int) -> _Places:
    """Return places (count, 2) in the unit square: a square grid, gone through as often as needed.

    Of no more places than 28 × 28, so that units beyond them are further channels.
    """
    side = min(28, max(1, int(np.sqrt(count))))
    index = np.arange(count) % (side * side)
    return (np.stack(np.divmod(index, side), axis=1) + 0.5) / side


def _nearest(own: _Places, inputs: _Places, counts: NDArray[np.int64], square: bool) -> Mask:
    """Return which inputs lie nearest to each place, ``counts`` of them."""
    mask = np.zeros((len(own), len(inputs)), bool)
    for start in range(0, len(own), _CHUNK):
        rows = slice(start, start + _CHUNK)
        apart = np.abs(own[rows, None] - inputs[None])
        distance = apart.max(axis=2) if square else (apart**2).sum(axis=2)
        mask[rows] = _smallest(distance, counts[rows])
    return mask


def _smallest(scores: NDArray[np.float64], counts: NDArray[np.int64]) -> Mask:
    """Return the ``counts`` smallest of each row, the first of equal ones."""
    rank = np.empty(scores.shape, np.int64)
    order = np.argsort(scores, axis=1, kind="stable")
    np.put_along_axis(rank, order, np.arange(scores.shape[1])[None], axis=1)
    mask: Mask = rank < counts[:, None]
    return mask
