"""The experiment behind the learning rates that all others train with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from crossover.bench.studies.experiments.experiment import QUICK_IMAGES
from crossover.bench.studies.experiments.networks import RandomVersusPruned
from crossover.bench.workloads.training.recipe import TrainingRecipe

# All but those that are held out.
_IMAGES = 50_000


class LearningRates(RandomVersusPruned):
    """The networks of :class:`RandomVersusPruned`, each at several learning rates.

    What counts is how they do on training images that none of them saw.
    """

    name = "learning-rates"
    question = "Which learning rate does each way to be sparse need, by images held out?"
    #: Those that stand for their kind: by form, for ``quick`` or not.
    methods_tried: ClassVar[dict[bool, tuple[str, ...]]] = {
        True: ("gradual", "erdos-renyi-scaled"),
        False: ("gradual", "random", "erdos-renyi-scaled", "pruned-mask-original", "local", "rigl"),
    }

    def recipes(self, seed: int) -> Iterator[TrainingRecipe]:
        """Yield every network at each rate; their parents have that of the others."""
        quick = self.spec.quick
        for recipe in self.arms(seed):
            if recipe.pattern not in self.methods_tried[quick]:
                continue
            for rate in (1.0, 4.0, 8.0):
                yield replace(recipe, images=QUICK_IMAGES if quick else _IMAGES, rate=rate)
