"""Which weights a pruned network keeps: masks, and the schedule that reaches a sparsity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Values = NDArray[np.float32]
#: Over all layers together, or each layer alone.
Scope = Literal["global", "layer"]


def kept(size: int, sparsity: float) -> int:
    """Return how many of ``size`` entries stay at ``sparsity``; at least one."""
    return max(1, round(size * (1.0 - sparsity)))


def magnitude_masks(
    values: Sequence[Values], sparsity: float, scope: Scope = "global"
) -> list[Mask]:
    """Return masks that keep the largest magnitudes, to the exact count.

    A pruned entry is zero, so masks nest: pruning further never brings one back.

    Source: Han et al. 2015, "Learning both Weights and Connections"; globally, See et al. 2016.
    """
    return _keep_largest([np.abs(layer) for layer in values], sparsity, scope)


def random_masks(
    shapes: Sequence[tuple[int, int]],
    sparsity: float,
    rng: np.random.Generator,
    scope: Scope = "layer",
) -> list[Mask]:
    """Return masks that keep entries drawn without regard to their values."""
    return _keep_largest([rng.random(shape, np.float32) for shape in shapes], sparsity, scope)


def block_masks(
    values: Sequence[Values],
    sparsity: float,
    block: tuple[int, int] = (4, 4),
    scope: Scope = "layer",
) -> list[Mask]:
    """Return masks that keep whole blocks, those with the largest root mean square.

    Blocks at the right and lower edge are cut off where the shape is no multiple of ``block``,
    so that the sparsity is reached to within a block.
    """
    scores = [_block_scores(layer, block) for layer in values]
    masks = _keep_largest(scores, sparsity, scope)
    return [
        np.kron(mask, np.ones(block, bool))[: layer.shape[0], : layer.shape[1]]
        for mask, layer in zip(masks, values, strict=True)
    ]


def chooser(
    block: tuple[int, int] | None, scope: Scope
) -> Callable[[Sequence[Values], float], list[Mask]]:
    """Return the choice of masks by magnitude: of single entries, or of each ``block``."""
    if block is None:
        return partial(magnitude_masks, scope=scope)
    return partial(block_masks, block=block, scope=scope)


def row_skewed_masks(
    shapes: Sequence[tuple[int, int]], sparsity: float, rng: np.random.Generator
) -> list[Mask]:
    """Return random masks whose rows differ in density, log-normally with sigma 1.

    Work that is split by rows, not by nonzeros, is out of balance on them.
    """
    scores = [
        (rng.random((m, k)) ** (1.0 / rng.lognormal(0.0, 1.0, (m, 1)))).astype(np.float32)
        for m, k in shapes
    ]
    return _keep_largest(scores, sparsity, "layer")


def cubic_sparsity(progress: float, end: float) -> float:
    """Return the sparsity to have at ``progress`` (0 to 1) on the way from dense to ``end``.

    Fast while there is redundancy to remove, slow towards the end.

    Source: Zhu and Gupta 2017, "To prune, or not to prune".
    """
    return end * (1.0 - (1.0 - min(max(progress, 0.0), 1.0)) ** 3)


def _block_scores(values: Values, block: tuple[int, int]) -> Values:
    """Return the root mean square of each block (ceil(m/r), ceil(k/c))."""
    rows = np.arange(0, values.shape[0], block[0])
    columns = np.arange(0, values.shape[1], block[1])
    squares = np.add.reduceat(np.add.reduceat(values.astype(np.float64) ** 2, rows), columns, 1)
    heights = np.diff(np.append(rows, values.shape[0]))
    widths = np.diff(np.append(columns, values.shape[1]))
    scores: Values = np.sqrt(squares / np.outer(heights, widths)).astype(np.float32)
    return scores


def _keep_largest(scores: Sequence[Values], sparsity: float, scope: Scope) -> list[Mask]:
    """Return masks of the entries with the largest score, over all layers or in each."""
    if scope == "layer":
        return [_largest(layer.ravel(), sparsity).reshape(layer.shape) for layer in scores]
    together = _largest(np.concatenate([layer.ravel() for layer in scores]), sparsity)
    ends = np.cumsum([layer.size for layer in scores])
    parts = np.split(together, ends[:-1])
    return [part.reshape(layer.shape) for part, layer in zip(parts, scores, strict=True)]


def _largest(scores: Values, sparsity: float) -> Mask:
    count = kept(scores.size, sparsity)
    threshold = np.partition(scores, scores.size - count)[scores.size - count]
    mask = np.asarray(scores > threshold)
    # Of equal scores the first stay. (argpartition does both, 10 x slower where many are zero.)
    ties = np.flatnonzero(scores == threshold)
    mask[ties[: count - int(np.count_nonzero(mask))]] = True
    return mask
