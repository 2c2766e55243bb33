"""The trained networks that a study's recipes refer to: trained before it measures."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from crossover.bench.errors import InputError
from crossover.bench.studies.progress import Progress, Report
from crossover.bench.workloads import checkpoints
from crossover.bench.workloads.checkpoints import TrainedModel, TrainingRecipe
from crossover.bench.workloads.mnist import Dataset
from crossover.bench.workloads.recipes import TRAINING_KERNEL
from crossover.kernels import discover


def trained(
    recipes: Sequence[TrainingRecipe], dataset: Dataset, report: Report
) -> list[TrainedModel]:
    """Return the network of each recipe, trained now unless a checkpoint of it is kept.

    Raises:
        InputError: if a checkpoint cannot be written.
    """
    tell, kernel = training_progress(recipes, report), discover()[TRAINING_KERNEL]
    return [checkpoints.obtain(recipe, dataset, kernel, tell) for recipe in recipes]


def training_progress(
    recipes: Sequence[TrainingRecipe], report: Report
) -> Callable[[TrainingRecipe, float], None]:
    """Return what :func:`checkpoints.obtain` tells its progress: shares of all epochs to come."""
    missing = {r.key: r for recipe in recipes for r in checkpoints.untrained(recipe)}
    epochs = {key: float(max(1, recipe.epochs)) for key, recipe in missing.items()}
    starts = dict(zip(epochs, itertools.accumulate([0.0, *epochs.values()]), strict=False))

    def tell(recipe: TrainingRecipe, done: float) -> None:
        position = starts[recipe.key] + done * epochs[recipe.key]
        report(Progress("train", recipe.title, position, sum(epochs.values())))

    return tell


def check_batches(batches: Sequence[int], images: int) -> None:
    """Raise if a batch is no part of the test set's ``images``.

    Raises:
        InputError: if so.
    """
    for batch in batches:
        if not 1 <= batch <= images:
            raise InputError(f"batch {batch} is outside 1 to {images}, the images of the test set")
