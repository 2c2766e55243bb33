"""Methods that train a network whose pattern is there from the start and stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from crossover.bench.workloads.pruning.masks import (
    Mask,
    Values,
    kept,
    masks_of_counts,
    random_masks,
)
from crossover.bench.workloads.pruning.method import Given, Parent, PruningMethod, kept_by
from crossover.bench.workloads.pruning.structured import local_masks
from crossover.kernels.base import Weight


class Static(PruningMethod):
    """A pattern, and weights drawn for it."""

    parents: ClassVar[tuple[Parent, ...]] = ()
    length = "as dense"
    starts_sparse = True
    #: Whether weights are drawn larger, as He et al. 2015 has it for as many inputs as are left.
    scaled: ClassVar[bool] = False

    def begin(self, given: Given) -> list[Weight]:
        values = self.values(given)  # drawn before the masks are
        masks = self.masks(given)
        if self.scaled:
            values = [_rescaled(v, mask) for v, mask in zip(values, masks, strict=True)]
        return kept_by(values, masks)

    def masks(self, given: Given) -> list[Mask]:
        """Return the pattern."""
        raise NotImplementedError

    def values(self, given: Given) -> list[Values]:
        """Return the weights, before those outside the pattern go."""
        return given.initial


class Random(Static):
    """As many of each layer's weights as the sparsity says, or of all together."""

    name = "random"
    title = "random from the start"

    def masks(self, given: Given) -> list[Mask]:
        return random_masks(given.shapes, given.sparsity, given.rng, given.scope)


class RandomScaled(Random):
    """The same, and weights as large as the inputs that are left ask for."""

    name = "random-scaled"
    title = "random from the start, weights scaled to the inputs left"
    source = "He et al. 2015; Evci et al. 2022"
    scaled = True


class ErdosRenyi(Static):
    """Random; layers are denser the fewer rows and columns they have."""

    name = "erdos-renyi"
    title = "random from the start, Erdős-Rényi densities"
    source = "Mocanu et al. 2018"

    def masks(self, given: Given) -> list[Mask]:
        counts = erdos_renyi_counts(given.shapes, given.sparsity)
        return masks_of_counts([given.rng.random(s, np.float32) for s in given.shapes], counts)


class ErdosRenyiScaled(ErdosRenyi):
    """The same, and weights as large as the inputs that are left ask for."""

    name = "erdos-renyi-scaled"
    title = "random from the start, Erdős-Rényi densities, weights scaled to the inputs left"
    source = "Mocanu et al. 2018; Evci et al. 2022"
    scaled = True


class FreshWeights(Static):
    """The pattern of the pruned network, and weights drawn anew."""

    name = "pruned-mask-fresh"
    title = "the pruned pattern, fresh weights"
    source = "Liu et al. 2019"
    parents = ("dense", "gradual")

    def masks(self, given: Given) -> list[Mask]:
        return [weight.pattern for weight in given.parents["gradual"]]


class Rewound(FreshWeights):
    """The pattern of the pruned network, and the weights that its training began with."""

    name = "pruned-mask-original"
    title = "the pruned pattern, its original weights"
    source = "Frankle and Carbin 2019"

    def values(self, given: Given) -> list[Values]:
        return given.original()


class Local(Static):
    """Each unit sees the inputs nearest to a place of its own, drawn at random."""

    name = "local"
    title = "locally connected"
    scaled = True

    def masks(self, given: Given) -> list[Mask]:
        counts = erdos_renyi_counts(given.shapes, given.sparsity)
        return local_masks(given.shapes, counts, given.rng, grid=False)


class Convolutional(Static):
    """Each unit sees a square window, whose places lie on a grid as a convolution's do."""

    name = "convolutional"
    title = "windows of a convolution, weights not shared"
    scaled = True

    def masks(self, given: Given) -> list[Mask]:
        counts = erdos_renyi_counts(given.shapes, given.sparsity)
        return local_masks(given.shapes, counts, given.rng, grid=True)


def erdos_renyi_counts(shapes: Sequence[tuple[int, int]], sparsity: float) -> list[int]:
    """Return how many entries each layer keeps: as many together as the sparsity says.

    A layer's density is in proportion to (m + k) / (m k), and at most 1.

    Source: Mocanu et al. 2018; with full layers: Evci et al. 2020.
    """
    sizes = np.array([m * k for m, k in shapes])
    sides = np.array([m + k for m, k in shapes], float)
    wanted = kept(int(sizes.sum()), sparsity)
    full = np.zeros(len(shapes), bool)
    while True:
        scale = (wanted - sizes[full].sum()) / max(sides[~full].sum(), 1.0)
        counts = np.where(full, sizes, np.floor(scale * sides)).astype(int)
        if not (over := ~full & (counts > sizes)).any():
            break
        full |= over
    rest = np.flatnonzero(~full)
    if rest.size:
        counts[rest[np.argmax(sizes[rest])]] += wanted - int(counts.sum())
    return [max(1, int(count)) for count in counts]


def _rescaled(values: Values, mask: Mask) -> Values:
    """Return weights drawn for all inputs, as large as those that the mask leaves ask for."""
    left = np.maximum(mask.sum(axis=1, keepdims=True), 1)
    rescaled: Values = (values * np.sqrt(values.shape[1] / left)).astype(np.float32)
    return rescaled


METHODS = (
    Random, RandomScaled, ErdosRenyi, ErdosRenyiScaled, FreshWeights, Rewound, Local, Convolutional,
)  # fmt: skip
