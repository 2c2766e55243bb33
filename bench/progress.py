"""What long work tells whoever shows it: how far it is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crossover.bench.workloads import models
from crossover.bench.workloads.models import Recipe


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows: a phase (``train`` or ``measure``), and how much is done."""

    phase: str
    title: str
    done: float
    total: float


Report = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Show nothing."""


def training_progress(recipes: Sequence[Recipe], report: Report) -> Callable[[Recipe, float], None]:
    """Return what :func:`models.obtain` tells its progress: shares of all epochs to come."""
    missing = {r.key: r for recipe in recipes for r in models.untrained(recipe)}
    epochs = {key: float(max(1, recipe.epochs)) for key, recipe in missing.items()}
    starts = dict(zip(epochs, itertools.accumulate([0.0, *epochs.values()]), strict=False))

    def tell(recipe: Recipe, done: float) -> None:
        position = starts[recipe.key] + done * epochs[recipe.key]
        report(Progress("train", recipe.title, position, sum(epochs.values())))

    return tell
