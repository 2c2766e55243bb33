"""Where a weight and its X and dY come from, as recipes: the worker that measures makes them.

A recipe says everything that its arrays depend on, so its hash names them on every machine; a
matrix of 8192 x 8192 with its sides is a gigabyte, which need not travel to the worker. What was
made last is kept there, so visits to one weight belong together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from crossover.bench.workloads import checkpoints, mnist
from crossover.bench.workloads.checkpoints import TrainedModel
from crossover.bench.workloads.networks import Layer, Network, network
from crossover.bench.workloads.pruning.masks import (
    Mask,
    block_masks,
    magnitude_masks,
    random_masks,
    row_skewed_masks,
)
from crossover.bench.workloads.pruning.pruned import BLOCK
from crossover.bench.workloads.training import model
from crossover.bench.workloads.training.loop import initial_state
from crossover.bench.workloads.training.model import LayerOperands, LayerState
from crossover.bench.workloads.training.recipe import TrainingRecipe
from crossover.kernels import discover
from crossover.kernels.base import Weight

TRAINING_KERNEL = "numpy-masked-update"
#: Which weights of a trained layer stay, when it is pruned alone.
LayerPattern = Literal["trained", "random", "row-skewed", "block"]
LAYER_PATTERNS: tuple[LayerPattern, ...] = get_args(LayerPattern)
#: Where the weights of a training step are from: trained and pruned; He-initialised, and the
#: largest stay; He-initialised, and a random choice stays.
StepPattern = Literal["trained", "initial", "random"]
STEP_PATTERNS: tuple[StepPattern, ...] = get_args(StepPattern)
#: Of a field that says where to find things, not what they are.
OUTSIDE_IDENTITY = {"identity": False}


@dataclass(frozen=True)
class Labels:
    """How a report calls a weight, and the group that it shows it in."""

    network: str
    layer: str
    layer_index: int
    #: Of the whole network, as asked for.
    network_sparsity: float
    pattern: str
    scope: str
    #: Of the network at that sparsity; None where there is no such network.
    accuracy: float | None = None


class WeightRecipe(Protocol):
    """Where a weight comes from."""

    def __hash__(self) -> int:
        """Return a hash: what is made of a recipe is kept by it."""

    @property
    def labels(self) -> Labels:
        """Return how it is called."""

    @property
    def shape(self) -> tuple[int, int]:
        """Return the shape (m, k) of W."""

    def columns(self, batch: int) -> int:
        """Return how many columns X has for ``batch`` images."""

    def weight(self) -> Weight:
        """Return W (m, k)."""

    def operands(self, batch: int) -> LayerOperands:
        """Return X (k, n) and dY (m, n) for ``batch`` images."""


@dataclass(frozen=True)
class NetworkLayer:
    """What the layers of trained networks have in common."""

    training: TrainingRecipe
    layer_index: int
    #: Of the trained weights: one recipe, trained on another BLAS, has others.
    digest: str
    #: Of the images, where they are not the embedded ones.
    folder: Path | None = field(default=None, metadata=OUTSIDE_IDENTITY)

    @property
    def shape(self) -> tuple[int, int]:
        return self._layer.shape

    def columns(self, batch: int) -> int:
        return self._layer.columns(batch)

    def operands(self, batch: int) -> LayerOperands:
        """Return X and dY of the first images of the test set."""
        return _real_operands(self.training, self.folder, batch)[self.layer_index]

    @property
    def _layer(self) -> Layer:
        return network(self.training.network).layers[self.layer_index]

    def _state(self) -> LayerState:
        return checkpoints.load(self.training).states[self.layer_index]


@dataclass(frozen=True)
class TrainedLayer(NetworkLayer):
    """A layer of a network that was trained and pruned whole."""

    accuracy: float | None = field(default=None, metadata=OUTSIDE_IDENTITY)

    @property
    def labels(self) -> Labels:
        it, place = self.training, (self._layer.name, self.layer_index)
        how = it.pattern if it.sparsity else "dense"
        return Labels(it.network, *place, it.sparsity, how, it.scope, self.accuracy)

    def weight(self) -> Weight:
        return self._state().weight


@dataclass(frozen=True)
class PrunedLayer(NetworkLayer):
    """A layer of a dense trained network, pruned alone."""

    sparsity: float = 0.0
    pattern: LayerPattern = "trained"
    seed: int = 0

    @property
    def labels(self) -> Labels:
        place = self.training.network, self._layer.name, self.layer_index
        return Labels(*place, self.sparsity, self.pattern, "layer")

    def weight(self) -> Weight:
        values = self._state().weight.values
        rng = np.random.default_rng([self.seed, self.layer_index])
        mask = LAYER_MASKS[self.pattern](values, self.sparsity, rng)
        return Weight(np.where(mask, values, 0), mask)


LAYER_MASKS: Mapping[LayerPattern, Callable[[Any, float, np.random.Generator], Mask]] = {
    "trained": lambda values, sparsity, _: magnitude_masks([values], sparsity)[0],
    "random": lambda values, sparsity, rng: random_masks([values.shape], sparsity, rng)[0],
    "row-skewed": lambda values, sparsity, rng: row_skewed_masks([values.shape], sparsity, rng)[0],
    "block": lambda values, sparsity, _: block_masks([values], sparsity, BLOCK)[0],
}


@dataclass(frozen=True)
class NetworkWeights:
    """All weights of a network, for a training step."""

    training: TrainingRecipe
    pattern: StepPattern
    #: Of trained weights; empty where they are drawn.
    digest: str = ""

    @property
    def labels(self) -> Labels:
        it = self.training
        return Labels(it.network, "all layers", 0, it.sparsity, self.pattern, "global")

    @property
    def network(self) -> Network:
        return network(self.training.network)

    def states(self) -> tuple[LayerState, ...]:
        """Return every layer's weight and bias."""
        return _network_states(self)


@dataclass(frozen=True)
class ServedNetwork:
    """A whole network, from its inputs to its outputs, by a plan."""

    layers: tuple[WeightRecipe, ...]
    #: The plan, as JSON: by another one an engine of ours is another.
    plan: str
    #: Who call it at the same time.
    callers: int = 1
    #: The planned network's file.
    path: Path = field(default=Path(), metadata=OUTSIDE_IDENTITY)

    @property
    def labels(self) -> Labels:
        return replace(self.layers[0].labels, layer="all layers", layer_index=self.callers)

    def inputs(self, batch: int) -> NDArray[np.float32]:
        """Return the inputs (n, features) of ``batch`` images."""
        return self.layers[0].operands(batch).x.T


def trained_layers(model: TrainedModel, folder: Path | None = None) -> list[TrainedLayer]:
    """Return the recipes of a trained network's layers."""
    return [
        TrainedLayer(model.recipe, index, model.digest, folder, model.accuracy)
        for index in range(len(model.network.layers))
    ]


def with_zeros(recipe: WeightRecipe, batch: int, share: float | None, seed: int) -> LayerOperands:
    """Return X and dY of ``recipe`` with a ``share`` of zeros drawn, or as they are."""
    operands = recipe.operands(batch)
    if share is None:
        return operands
    rng = np.random.default_rng([seed, recipe.labels.layer_index])
    return model.with_zeros(operands, share, rng)


@lru_cache(maxsize=2)
def _real_operands(
    training: TrainingRecipe, folder: Path | None, batch: int
) -> list[LayerOperands]:
    trained, dataset = checkpoints.load(training), mnist.load(folder)
    running = model.Model(trained.network, trained.states, discover()[TRAINING_KERNEL])
    images, labels = dataset.test_images[:batch], dataset.test_labels[:batch]
    return model.layer_operands(running, images, labels)


@lru_cache(maxsize=1)
def _network_states(recipe: NetworkWeights) -> tuple[LayerState, ...]:
    training, sparsity = recipe.training, recipe.training.sparsity
    if recipe.pattern == "trained":
        return checkpoints.load(training).states
    rng = np.random.default_rng(training.seed)
    states = initial_state(network(training.network), rng)
    if recipe.pattern == "random":
        masks = random_masks([state.weight.shape for state in states], sparsity, rng)
    else:
        masks = magnitude_masks([state.weight.values for state in states], sparsity)
    return tuple(model.masked(states, masks))
