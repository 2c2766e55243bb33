"""Methods that prune a trained network, on the way or at once."""

from __future__ import annotations

from typing import ClassVar

from crossover.bench.workloads.pruning.masks import (
    Mask,
    block_masks,
    cubic_sparsity,
    magnitude_masks,
    random_masks,
)
from crossover.bench.workloads.pruning.method import Given, Length, Moment, PruningMethod, kept_by
from crossover.kernels.base import Weight

#: Of the method ``block``.
BLOCK = (4, 4)


class _Gradual(PruningMethod):
    """Prunes further at each change, fast at first, and then fine-tunes."""

    def change(self, moment: Moment) -> list[Mask] | None:
        if moment.pruned > 1:
            return None
        return self.masks(moment, cubic_sparsity(moment.pruned, moment.sparsity))

    def masks(self, moment: Moment, sparsity: float) -> list[Mask]:
        """Return the pattern of a ``sparsity`` on the way."""
        raise NotImplementedError


class Gradual(_Gradual):
    """The smallest magnitudes go first."""

    name = "gradual"
    title = "by magnitude, step by step"
    source = "Han et al. 2015; schedule: Zhu and Gupta 2017"

    def masks(self, moment: Moment, sparsity: float) -> list[Mask]:
        return magnitude_masks(moment.values, sparsity, moment.scope)


class Blocks(_Gradual):
    """The blocks with the smallest root mean square go first."""

    name = "block"
    title = f"blocks of {BLOCK[0]} × {BLOCK[1]} by magnitude, step by step"
    source = "Gray et al. 2017; schedule: Zhu and Gupta 2017"

    def masks(self, moment: Moment, sparsity: float) -> list[Mask]:
        return block_masks(moment.values, sparsity, BLOCK, moment.scope)


class RandomGradual(_Gradual):
    """Weights go without regard to their size: what pruning by magnitude is worth is beside it."""

    name = "random-gradual"
    title = "at random, step by step"

    def masks(self, moment: Moment, sparsity: float) -> list[Mask]:
        shapes = [values.shape for values in moment.values]
        drawn = [moment.rng.random(shape, "float32") for shape in shapes]
        left = [d * mask for d, mask in zip(drawn, moment.masks, strict=True)]
        return magnitude_masks(left, sparsity, "layer")


class OneShot(PruningMethod):
    """Pruned by magnitude at once, and left as it is."""

    name = "one-shot"
    title = "by magnitude, at once, not trained again"
    source = "Han et al. 2015"
    length: ClassVar[Length] = "none"

    def begin(self, given: Given) -> list[Weight]:
        values = [weight.values for weight in given.parents["dense"]]
        return kept_by(values, magnitude_masks(values, given.sparsity, given.scope))


class OneShotTuned(OneShot):
    """Pruned by magnitude at once, then trained on."""

    name = "one-shot-tuned"
    title = "by magnitude, at once, then fine-tuned"
    length = "by sparsity"


class RandomTuned(PruningMethod):
    """Pruned at random at once, then trained on."""

    name = "random-tuned"
    title = "at random, at once, then fine-tuned"

    def begin(self, given: Given) -> list[Weight]:
        values = [weight.values for weight in given.parents["dense"]]
        masks = random_masks(given.shapes, given.sparsity, given.rng, given.scope)
        return kept_by(values, masks)


METHODS = Gradual, Blocks, RandomGradual, OneShot, OneShotTuned, RandomTuned
