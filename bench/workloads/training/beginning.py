"""What the training of a recipe begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from crossover.bench.workloads.networks import network
from crossover.bench.workloads.pruning.masks import Values
from crossover.bench.workloads.pruning.method import Given, Parent
from crossover.bench.workloads.training.loop import initial_state
from crossover.bench.workloads.training.model import LayerState
from crossover.bench.workloads.training.recipe import TrainingRecipe


def beginning(
    recipe: TrainingRecipe, parents: Mapping[Parent, Sequence[LayerState]], rng: np.random.Generator
) -> Sequence[LayerState]:
    """Return the layers that the training of ``recipe`` begins with."""
    specification = network(recipe.network)
    if not recipe.sparsity:
        return initial_state(specification, rng)
    given = Given(
        [layer.shape for layer in specification.layers],
        recipe.sparsity,
        recipe.scope,
        rng,
        lambda: _values(initial_state(specification, rng)),
        {name: [state.weight for state in states] for name, states in parents.items()},
        lambda: _values(initial_state(specification, recipe.parents["dense"].generator())),
    )
    method = recipe.method
    weights = method.begin(given)
    biases = [np.zeros(m, np.float32) for m, _ in given.shapes]
    if method.keeps_biases:
        biases = [state.bias for state in parents["dense"]]
    return [LayerState(*each) for each in zip(weights, biases, strict=True)]


def _values(states: Sequence[LayerState]) -> list[Values]:
    return [state.weight.values for state in states]
