"""Networks that a user brings: as they are, pruned on the spot, or layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from crossover.bench.errors import InputError
from crossover.bench.studies.networks import (
    NamedShape,
    NetworkSource,
    Pruning,
    TrainedSource,
)
from crossover.bench.studies.study import Report
from crossover.bench.workloads import given
from crossover.bench.workloads.given import GivenLayer
from crossover.bench.workloads.networks import NETWORKS, is_trainable
from crossover.bench.workloads.pruning.masks import kept_by_layer
from crossover.bench.workloads.readers.arrays import read_inputs
from crossover.bench.workloads.readers.stored import StoredNetwork
from crossover.bench.workloads.recipes import LayerPattern, PrunedLayer, WeightRecipe

# A file is pruned further where that leaves out so much more, as a share of all weights.
_LEAST_FURTHER = 0.005
# By pruning method, how a layer of a file is pruned: step by step is at once there.
_ON_THE_SPOT: dict[str, LayerPattern] = {
    "gradual": "trained", "one-shot": "trained", "random": "random", "block": "block"
}  # fmt: skip


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
    def remarks(self) -> list[str]:
        """Return what was skipped, converted and drawn of it."""
        found = []
        if skipped := self.stored.skipped:
            told = "; ".join(f"{each.name}: {each.reason}" for each in skipped[:2])
            found.append(
                f"{len(skipped)} parts are no matrix products ({told}"
                f"{'; …' if len(skipped) > 2 else ''}): 'networks show' lists them"
            )
        found += dict.fromkeys(layer.note for layer in self.stored.layers if layer.note)
        if self._inputs is None:
            found.append("activations are drawn, half of them zero after a ReLU: give --inputs")
        if self._labels is None:
            found.append("accuracy is not known: give --inputs and --labels")
        return [f"{self.name}: {each}" for each in found]

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
        if pattern not in _ON_THE_SPOT:
            raise InputError(
                f"--pattern {pattern}: {self.name} is taken as it is, not trained; give one of "
                f"{', '.join(_ON_THE_SPOT)}"
            )
        layers = self.stored.layers
        shares = [sparsity] * len(layers)
        if scope == "global" and pattern in ("gradual", "one-shot"):
            kept = kept_by_layer([layer.read_weight for layer in layers], sparsity)
            sizes = [layer.shape[0] * layer.shape[1] for layer in layers]
            shares = [1 - count / size for count, size in zip(kept, sizes, strict=True)]
        how = _ON_THE_SPOT[pattern]
        called = "one-shot" if how == "trained" else pattern
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
