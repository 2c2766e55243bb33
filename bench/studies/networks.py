"""The networks that a study asks about: ours, trained first, or one that a user brings."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from crossover.bench.errors import InputError
from crossover.bench.studies.study import Progress, Report
from crossover.bench.workloads import checkpoints, given, mnist, pruning
from crossover.bench.workloads.checkpoints import (
    PrunedPattern,
    TrainedModel,
    TrainingRecipe,
)
from crossover.bench.workloads.given import GivenLayer
from crossover.bench.workloads.mnist import Dataset
from crossover.bench.workloads.networks import NETWORKS, is_trainable, network
from crossover.bench.workloads.pruning import Scope
from crossover.bench.workloads.readers.arrays import read_inputs
from crossover.bench.workloads.readers.stored import StoredNetwork
from crossover.bench.workloads.recipes import (
    TRAINING_KERNEL,
    LayerPattern,
    PrunedLayer,
    WeightRecipe,
    trained_layers,
)
from crossover.kernels import discover

# A file is pruned further where that leaves out so much more, as a share of all weights.
_LEAST_FURTHER = 0.005


@dataclass(frozen=True)
class NamedShape:
    """A layer by its name and the shape (m, k) of its W."""

    name: str
    shape: tuple[int, int]


@dataclass(frozen=True)
class Pruning:
    """To which sparsities of the whole network, and how."""

    sparsities: Sequence[float]
    pattern: PrunedPattern
    scope: Scope
    seed: int


class NetworkSource(ABC):
    """Where a network's layers are from."""

    name: str

    @property
    @abstractmethod
    def layers(self) -> Sequence[NamedShape]:
        """Return its layers."""

    @property
    @abstractmethod
    def most_batch(self) -> int | None:
        """Return how many images there are; None where they are drawn."""

    @abstractmethod
    def at(self, asked: Pruning, report: Report) -> list[list[WeightRecipe]]:
        """Return its layers at each sparsity of the whole network."""

    @abstractmethod
    def prunable(
        self, pattern: LayerPattern, seed: int, report: Report
    ) -> list[PrunedLayer | GivenLayer]:
        """Return its layers, each to be pruned alone."""

    def check_batches(self, batches: Sequence[int]) -> None:
        """Raise if a batch has more images than there are.

        Raises:
            InputError: if so.
        """
        if self.most_batch is not None:
            check_batches(batches, self.most_batch)


class TrainedSource(NetworkSource):
    """One of ours, trained and pruned on MNIST, or on data of its form."""

    def __init__(self, name: str, data: Path | None = None) -> None:
        self.name, self._data = name, data
        self._network = network(name)
        checkpoints.check_cache()

    @property
    def layers(self) -> Sequence[NamedShape]:
        """Return its layers."""
        return [NamedShape(layer.name, layer.shape) for layer in self._network.layers]

    @property
    def most_batch(self) -> int:
        """Return how many images the test set has."""
        return len(mnist.load(self._data).test_images)

    def at(self, asked: Pruning, report: Report) -> list[list[WeightRecipe]]:
        """Return its layers at each sparsity, trained unless checkpoints are kept."""
        dataset = mnist.load(self._data)
        recipes = [
            TrainingRecipe(
                self.name, dataset.digest, sparsity, asked.pattern, asked.scope, asked.seed
            )
            for sparsity in asked.sparsities
        ]
        models = trained(recipes, dataset, report)
        return [[*trained_layers(model, self._data)] for model in models]

    def prunable(
        self, pattern: LayerPattern, seed: int, report: Report
    ) -> list[PrunedLayer | GivenLayer]:
        """Return the layers of the dense network, trained unless it is kept."""
        recipe = TrainingRecipe(self.name, mnist.load(self._data).digest, seed=seed)
        (model,) = trained([recipe], mnist.load(self._data), report)
        return [
            PrunedLayer(recipe, index, model.digest, self._data, pattern=pattern, seed=seed)
            for index in range(len(self._network.layers))
        ]


class GivenSource(NetworkSource):
    """A network that a user brings: a file, a folder of files, or sizes."""

    def __init__(self, name: str, inputs: Path | None = None, labels: Path | None = None) -> None:
        """Read what the file lists.

        Raises:
            InputError: if it cannot be read, or inputs and labels do not fit.
        """
        self.path, self._inputs, self._labels = Path(name), inputs, labels
        self.stored: StoredNetwork = given.stored(self.path)
        self.name = self.stored.name
        if labels is not None and inputs is None:
            raise InputError(f"--labels {labels} are of no inputs: give --inputs too")
        if inputs is not None:
            given.run(self.stored, read_inputs(inputs, "--inputs")[:1])
        if labels is not None and inputs is not None:
            count, found = len(read_inputs(inputs, "--inputs")), read_inputs(labels, "--labels")
            if found.shape != (count,) or found.dtype.kind not in "iu":
                raise InputError(
                    f"--labels {labels} is {found.dtype} {found.shape}: give {count} whole "
                    "numbers, a class for each input"
                )

    @property
    def layers(self) -> Sequence[NamedShape]:
        """Return its layers."""
        return [NamedShape(layer.name, layer.shape) for layer in self.stored.layers]

    @property
    def most_batch(self) -> int | None:
        """Return how many inputs were given."""
        return None if self._inputs is None else len(read_inputs(self._inputs, "--inputs"))

    @property
    def sparsity(self) -> float:
        """Return the share of zeros in all its weights together."""
        zeros = sum(int(np.count_nonzero(e.read_weight() == 0)) for e in self.stored.layers)
        return zeros / self.stored.parameters

    def at(self, asked: Pruning, report: Report) -> list[list[WeightRecipe]]:
        """Return its layers as they are, and pruned in one shot to each larger sparsity."""
        own = self.sparsity
        as_given = [
            replace(e, network_sparsity=own, scope="as it is") for e in self._layers(asked.seed)
        ]
        accuracy = self._accuracy(as_given)
        found: list[list[WeightRecipe]] = [[replace(e, accuracy=accuracy) for e in as_given]]
        for sparsity in asked.sparsities:
            if sparsity > own + _LEAST_FURTHER:
                layers = self._pruned(sparsity, asked)
                accuracy = self._accuracy(layers)
                found.append([replace(each, accuracy=accuracy) for each in layers])
        return found

    def prunable(
        self, pattern: LayerPattern, seed: int, report: Report
    ) -> list[PrunedLayer | GivenLayer]:
        """Return its layers; below their own sparsity small weights are drawn into their zeros."""
        return [replace(e, pattern=pattern, called=pattern) for e in self._layers(seed)]

    @cached_property
    def _digests(self) -> list[str]:
        return [given.digest_of(layer.read_weight()) for layer in self.stored.layers]

    def _layers(self, seed: int) -> list[GivenLayer]:
        before = [None, *self.stored.layers[:-1]]
        inputs = read_inputs(self._inputs, "--inputs") if self._inputs else None
        return [
            GivenLayer(
                self.name, layer.name, index, *layer.shape, layer.columns, digest,
                previous is not None and previous.activation == "relu", seed=seed,
                inputs_digest="" if inputs is None else given.digest_of(inputs),
                path=self.path.absolute() if self.path.exists() else self.path,
                inputs_path=self._inputs and self._inputs.absolute(),
            )
            for index, (layer, previous, digest) in enumerate(
                zip(self.stored.layers, before, self._digests, strict=True)
            )
        ]  # fmt: skip

    def _pruned(self, sparsity: float, asked: Pruning) -> list[GivenLayer]:
        """Return its layers pruned on the spot; a file that is read is not trained further."""
        pattern, scope = asked.pattern, asked.scope
        layers = self.stored.layers
        shares = [sparsity] * len(layers)
        if scope == "global" and pattern in ("gradual", "one-shot"):
            kept = pruning.kept_by_layer([layer.read_weight for layer in layers], sparsity)
            sizes = [layer.shape[0] * layer.shape[1] for layer in layers]
            shares = [1 - count / size for count, size in zip(kept, sizes, strict=True)]
        how: LayerPattern = pattern if pattern in ("random", "block") else "trained"
        called = pattern if pattern in ("random", "block") else "one-shot"
        together = "global" if scope == "global" and called == "one-shot" else "each layer"
        return [
            replace(
                each, sparsity=share, network_sparsity=sparsity, pattern=how, called=called,
                scope=together,
            )
            for each, share in zip(self._layers(asked.seed), shares, strict=True)
        ]  # fmt: skip

    def _accuracy(self, layers: Sequence[GivenLayer]) -> float | None:
        """Return the share of the inputs that layers classify as labelled, where that is known."""
        if self._inputs is None or self._labels is None or self.stored.no_chain():
            return None
        inputs, labels = (
            read_inputs(self._inputs, "--inputs"), read_inputs(self._labels, "--labels")
        )  # fmt: skip
        _, outputs = given.chain_outputs(
            [
                (layer.weight().values, s.read_bias() if s.read_bias else None,
                 s.activation == "relu")
                for layer, s in zip(layers, self.stored.layers, strict=True)
            ],
            inputs,
        )  # fmt: skip
        return float(np.mean(outputs.argmax(axis=0) == labels))


def source_of(
    name: str,
    data: Path | None = None,
    inputs: Path | None = None,
    labels: Path | None = None,
) -> TrainedSource | GivenSource:
    """Return the network that an option names: one of ours, sizes, or a file.

    Raises:
        InputError: if there is none, or inputs are given to one of ours.
    """
    if is_trainable(name):
        if inputs or labels:
            raise InputError(
                f"--inputs are for a network of your own: {name} gets MNIST's (--data names others)"
            )
        return TrainedSource(name, data)
    if given.drawn(name) is None and not _is_path(name):
        raise InputError(
            f"unknown network {name!r}: choose from {', '.join(NETWORKS)}, or give sizes as "
            "784-300-10, or a file of a network (safetensors, ONNX, PyTorch, Keras, .npz, .mtx)"
        )
    return GivenSource(name, inputs, labels)


def _is_path(name: str) -> bool:
    return Path(name).exists() or bool(Path(name).suffix) or "/" in name or "\\" in name


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
    """Raise if a batch is no part of the ``images`` that there are.

    Raises:
        InputError: if so.
    """
    for batch in batches:
        if not 1 <= batch <= images:
            raise InputError(f"batch {batch} is outside 1 to {images}, the images of the test set")
