"""Weights and their X and dY by recipe: the process that measures makes them.

A matrix of 8192 x 8192 with its sides is a gigabyte, which need not travel to the worker for every
cell. What was made last is kept, so cells of one weight belong together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from crossover.bench.cells import TRAINING_KERNEL
from crossover.bench.workloads import execution, mnist, models, networks, pruning
from crossover.bench.workloads.execution import LayerOperands
from crossover.bench.workloads.models import Recipe, TrainedModel
from crossover.kernels import discover
from crossover.kernels.base import Weight

#: Which entries a random pattern keeps: single ones, whole blocks of 32 x 32, or 2 of each 4.
Structure = Literal["entries", "blocks", "2 of 4"]
BLOCK = 32
_KEPT_SIDES = 8


class Source(Protocol):
    """Where a weight comes from."""

    def __hash__(self) -> int:
        """Return a hash: what is made of a source is kept by it."""

    @property
    def network(self) -> str:
        """Return the group that a report shows it in."""

    @property
    def layer(self) -> str:
        """Return its name within the group."""

    @property
    def layer_index(self) -> int:
        """Return its place within the group."""

    @property
    def sparsity(self) -> float:
        """Return the sparsity that is asked for."""

    def weight(self) -> Weight:
        """Return the weight (m, k)."""

    def operands(self, batch: int) -> LayerOperands:
        """Return X (k, n) and dY (m, n) for ``batch`` images."""


@dataclass(frozen=True)
class Random:
    """W (m, k) with a random pattern; values, X and dY from a normal.

    Blocks must divide (m, k), as 4 must divide k for 2 of 4, whose sparsity is 0.5.
    """

    network: str
    m: int
    k: int
    sparsity: float
    seed: int = 0
    structure: Structure = "entries"

    @property
    def layer(self) -> str:
        """Return the shape."""
        return f"{self.m}x{self.k}"

    @property
    def layer_index(self) -> int:
        """Return the place of a shape among all."""
        return self.m * self.k

    def weight(self) -> Weight:
        """Return the weight; a sparser one has a part of the entries of a denser one."""
        return _random_weight(self)

    def operands(self, batch: int) -> LayerOperands:
        """Return X and dY."""
        x, dy = (_normal(rows, batch, self.seed) for rows in (self.k, self.m))
        return LayerOperands(x, dy)


@dataclass(frozen=True)
class Trained:
    """A layer of a dense trained network, pruned alone by magnitude; X and dY of real images."""

    network: str
    layer_index: int
    sparsity: float
    seed: int = 0

    @property
    def layer(self) -> str:
        """Return the layer's name."""
        return networks.network(self.network).layers[self.layer_index].name

    def weight(self) -> Weight:
        """Return the weight."""
        values = _trained(self.network, self.seed).states[self.layer_index].weight.values
        mask = pruning.magnitude_masks([values], self.sparsity)[0]
        return Weight(np.where(mask, values, 0), mask)

    def operands(self, batch: int) -> LayerOperands:
        """Return X and dY for the first images of the test set."""
        return _real_operands(self.network, self.seed, batch)[self.layer_index]


def dense_recipe(network: str, seed: int) -> Recipe:
    """Return the recipe of the dense network that layers are taken from."""
    return Recipe(network, mnist.load().digest, seed=seed)


@lru_cache(maxsize=1)
def _random_weight(source: Random) -> Weight:
    rng = np.random.default_rng([source.seed, source.m, source.k])
    values = rng.standard_normal((source.m, source.k), np.float32)
    values[~_random_pattern(source, rng)] = 0
    return Weight.from_dense(values)


def _random_pattern(source: Random, rng: np.random.Generator) -> NDArray[np.bool_]:
    m, k = source.m, source.k
    if source.structure == "2 of 4":
        ranks = rng.random((m, k // 4, 4), np.float32).argsort(axis=2)
        return (ranks < 2).reshape(m, k)
    side = BLOCK if source.structure == "blocks" else 1
    kept = rng.random((m // side, k // side), np.float32) >= source.sparsity
    return kept if side == 1 else np.kron(kept, np.ones((side, side), bool))


@lru_cache(maxsize=_KEPT_SIDES)
def _normal(rows: int, columns: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng([seed, rows, columns])
    return rng.standard_normal((rows, columns), np.float32)


@lru_cache(maxsize=1)
def _trained(network: str, seed: int) -> TrainedModel:
    recipe = dense_recipe(network, seed)
    return models.obtain(recipe, mnist.load(), discover()[TRAINING_KERNEL])


@lru_cache(maxsize=2)
def _real_operands(network: str, seed: int, batch: int) -> list[LayerOperands]:
    trained, dataset = _trained(network, seed), mnist.load()
    running = execution.Model(trained.network, trained.states, discover()[TRAINING_KERNEL])
    images, labels = dataset.test_images[:batch], dataset.test_labels[:batch]
    return execution.layer_operands(running, images, labels)
