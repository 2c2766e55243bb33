"""Which weights a pruned network keeps: masks, and the schedule that reaches a sparsity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

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


def kept_by_layer(layers: Iterable[Callable[[], Values]], sparsity: float) -> list[int]:
    """Return how many entries of each layer are among the largest magnitudes of all together.

    As :func:`magnitude_masks` has it, but a layer at a time: magnitudes are counted by the bits of
    a float, the upper half first, so that no two layers are in memory together.
    """
    sources = list(layers)
    sizes = [read().size for read in sources]
    wanted = kept(sum(sizes), sparsity)
    upper, above = _bit_of_rank(sources, wanted, lambda bits: bits >> 16)
    lower, more = _bit_of_rank(
        sources, wanted - above, lambda bits: (bits & 0xFFFF)[bits >> 16 == upper]
    )
    threshold, ties = upper << 16 | lower, wanted - above - more
    found = []
    for read in sources:
        bits = _bits(read())
        equal = min(ties, int(np.count_nonzero(bits == threshold)))
        ties -= equal
        found.append(int(np.count_nonzero(bits > threshold)) + equal)
    return found


def _bit_of_rank(
    sources: Sequence[Callable[[], Values]], rank: int, part: Callable[[Any], Any]
) -> tuple[int, int]:
    """Return the half of bits that the entry of ``rank`` has, and how many have a larger one."""
    counts = np.zeros(1 << 16, np.int64)
    for read in sources:
        counts += np.bincount(part(_bits(read())), minlength=1 << 16)
    at_least = np.cumsum(counts[::-1])[::-1]
    half = int(np.flatnonzero(at_least >= rank)[-1])
    return half, int(at_least[half] - counts[half])


def _bits(values: Values) -> NDArray[np.uint32]:
    """Return the bits of magnitudes, which are in the order of these."""
    return np.abs(np.asarray(values, np.float32)).ravel().view(np.uint32)


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


def masks_of_counts(scores: Sequence[Values], counts: Sequence[int]) -> list[Mask]:
    """Return masks of the entries with the largest score, so many of each layer."""
    return [
        highest(layer.ravel(), count).reshape(layer.shape)
        for layer, count in zip(scores, counts, strict=True)
    ]


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
    return highest(scores, kept(scores.size, sparsity))


def highest(scores: Values, count: int) -> Mask:
    """Return which ``count`` of scores (size,) are the largest; of equal ones the first."""
    # Where most are equal, as those of what was pruned before, a partition takes 10 times as long.
    positive = scores[scores > 0]
    among = positive if positive.size >= count else scores
    threshold = np.partition(among, among.size - count)[among.size - count]
    mask = np.asarray(scores > threshold)
    # Of equal scores the first stay. (argpartition does both, 10 x slower where many are zero.)
    ties = np.flatnonzero(scores == threshold)
    mask[ties[: count - int(np.count_nonzero(mask))]] = True
    return mask
