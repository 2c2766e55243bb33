"""The experiment behind the learning rates that all others train with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from crossover.bench.studies.experiments.experiment import QUICK_IMAGES
from crossover.bench.studies.experiments.networks import RandomVersusPruned
from crossover.bench.workloads.training.recipe import TrainingRecipe

# Those that stand for their kind, for the quick form.
_QUICK_METHODS = "gradual", "erdos-renyi-scaled", "pruned-mask-original", "local", "rigl"


class LearningRates(RandomVersusPruned):
    """The networks of :class:`RandomVersusPruned`, each at several learning rates.

    They are trained on a sixth of the images in either form: what counts is how they do on others
    of the training set.
    """

    name = "learning-rates"
    question = "Which learning rate does each way to be sparse need, by images held out?"

    def recipes(self, seed: int) -> Iterator[TrainingRecipe]:
        """Yield every network at each rate; the parents of a pruned one have the usual."""
        rates = (1.0, 4.0, 8.0) if self.spec.quick else (1.0, 2.0, 4.0, 8.0)
        for recipe in self.arms(seed):
            if self.spec.quick and recipe.pattern not in _QUICK_METHODS:
                continue
            for rate in rates:
                yield replace(recipe, images=QUICK_IMAGES, rate=rate)
