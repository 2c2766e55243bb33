"""Layers of networks that a user brings: as they are, or pruned on the spot.

A file tells weights. Activations are real ones where inputs are given and the network can be run:
then X is what each layer gets of them, in the network as it is given. Otherwise X is drawn from a
normal, and set to zero below zero where a ReLU comes before the layer.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover.bench.errors import InputError
from crossover.bench.workloads import readers
from crossover.bench.workloads.networks import Linear, Network
from crossover.bench.workloads.readers.arrays import read_inputs
from crossover.bench.workloads.readers.stored import (
    Floats,
    StoredLayer,
    StoredNetwork,
    UnreadableError,
)
from crossover.bench.workloads.recipes import (
    LAYER_MASKS,
    OUTSIDE_IDENTITY,
    Labels,
    LayerPattern,
)
from crossover.bench.workloads.training.model import LayerOperands, LayerState
from crossover.kernels.base import Weight

_SIZES = re.compile(r"\d{1,7}(?:-\d{1,7})+")
_MOST_WEIGHTS = 1 << 28
#: What a layer's zeros are called that were in the file.
AS_GIVEN = "given"


@dataclass(frozen=True)
class GivenLayer:
    """A layer of a file, with the zeros that it has, or with others."""

    network: str
    layer: str
    layer_index: int
    rows: int
    inputs: int
    #: Columns of X per image.
    outputs_per_image: int
    #: Of W as the file has it.
    digest: str
    #: Whether a ReLU comes before it.
    after_relu: bool
    #: Of the layer, and of the whole network as asked for; None: as the file has it.
    sparsity: float | None = None
    network_sparsity: float = 0.0
    pattern: LayerPattern = "trained"
    #: What reports call the pattern.
    called: str = AS_GIVEN
    #: Of a layer that is pruned alone ``layer``, else one of those of networks.
    scope: str = "layer"
    seed: int = 0
    #: Of the inputs whose activations X is; empty: it is drawn.
    inputs_digest: str = ""
    path: Path = field(default=Path(), metadata=OUTSIDE_IDENTITY)
    inputs_path: Path | None = field(default=None, metadata=OUTSIDE_IDENTITY)
    accuracy: float | None = field(default=None, metadata=OUTSIDE_IDENTITY)

    @property
    def labels(self) -> Labels:
        alone = self.scope == "layer"
        headline = self.sparsity if alone else self.network_sparsity
        place = self.network, self.layer, self.layer_index, headline or 0.0
        return Labels(*place, self.called, self.scope, self.accuracy)

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.inputs

    def columns(self, batch: int) -> int:
        return self.outputs_per_image * batch

    def weight(self) -> Weight:
        """Return W (m, k).

        Raises:
            InputError: if the file changed since it was asked for.
        """
        values = _values(self.path, self.layer, self.layer_index, self.digest)
        if self.sparsity is None:
            return Weight.from_dense(values)
        rng = np.random.default_rng([self.seed, self.layer_index])
        dense = filled(values, rng)
        mask = LAYER_MASKS[self.pattern](dense, self.sparsity, rng)
        return Weight(np.where(mask, dense, np.float32(0)), mask)

    def operands(self, batch: int) -> LayerOperands:
        """Return X of the first inputs, or a drawn one; and a drawn dY."""
        rng = np.random.default_rng([self.seed, self.layer_index, batch])
        n = self.columns(batch)
        dy = rng.standard_normal((self.rows, n), np.float32)
        if self.inputs_path is not None:
            return LayerOperands(
                _activations(self.path, self.inputs_path, batch)[self.layer_index], dy
            )
        x = rng.standard_normal((self.inputs, n), np.float32)
        if self.after_relu:
            np.maximum(x, 0, out=x)
        return LayerOperands(x, dy)


@dataclass(frozen=True)
class GivenWeights:
    """All weights of a chain that a user brings, for a training step on MNIST."""

    layers: tuple[GivenLayer, ...]

    @property
    def labels(self) -> Labels:
        return replace(self.layers[0].labels, layer="all layers", layer_index=0)

    @property
    def network(self) -> Network:
        return Network(
            self.layers[0].network,
            tuple(Linear(each.layer, each.inputs, each.rows) for each in self.layers),
            epochs=0,
            prune_epochs=0,
        )

    def states(self) -> tuple[LayerState, ...]:
        """Return every layer's weight and bias."""
        found = stored(self.layers[0].path).layers
        return tuple(
            LayerState(each.weight(), bias_of(layer))
            for each, layer in zip(self.layers, found, strict=True)
        )


def bias_of(layer: StoredLayer) -> Floats:
    """Return b (m,) of a layer; zeros where it has none."""
    return layer.read_bias() if layer.read_bias else np.zeros(layer.shape[0], np.float32)


def drawn(name: str) -> StoredNetwork | None:
    """Return the network of He-initialised layers whose sizes ``name`` tells, as 784-300-10.

    None where it tells none.

    Raises:
        InputError: if a size is 0, or the weights are too many.
    """
    if not _SIZES.fullmatch(name):
        return None
    sizes = [int(part) for part in name.split("-")]
    pairs = list(itertools.pairwise(sizes))
    if 0 in sizes:
        raise InputError(f"network {name!r} has a layer of size 0: give sizes from 1 on")
    if sum(k * m for k, m in pairs) > _MOST_WEIGHTS:
        raise InputError(f"network {name!r} has more than {_MOST_WEIGHTS:,} weights: give fewer")

    def weight(index: int) -> Callable[[], Floats]:
        def values() -> Floats:
            (k, m), rng = pairs[index], np.random.default_rng([index, *pairs[index]])
            return rng.standard_normal((m, k), np.float32) * np.float32(math.sqrt(2 / k))

        return values

    layers = tuple(
        StoredLayer(
            f"fc{index + 1}", (m, k), weight(index),
            activation="relu" if index + 1 < len(pairs) else "", note="He-initialised, not trained",
        )
        for index, (k, m) in enumerate(pairs)
    )  # fmt: skip
    return StoredNetwork(Path(name), "drawn", layers)


def stored(path: Path) -> StoredNetwork:
    """Return the network of a path, or of sizes.

    Raises:
        InputError: if there is none.
    """
    return drawn(str(path)) or readers.read(path)


def filled(values: Floats, rng: np.random.Generator) -> Floats:
    """Return ``values`` with small ones drawn where they are zero, smaller than any other.

    So a pruned layer can be asked how it would do with fewer zeros: by magnitude the given weights
    stay first.
    """
    zeros = values == 0
    if not zeros.any():
        return values
    least = float(np.abs(values[~zeros]).min()) if not zeros.all() else 1.0
    small = rng.uniform(0.1, 0.9, int(zeros.sum())) * rng.choice((-1.0, 1.0), int(zeros.sum()))
    result = values.copy()
    result[zeros] = small * max(least, float(np.finfo(np.float32).tiny) * 16)
    return result


def digest_of(values: NDArray[Any]) -> str:
    """Return the hash of an array's content."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]


def chain_outputs(
    layers: Sequence[tuple[Floats, Floats | None, bool]], inputs: NDArray[Any]
) -> tuple[list[Floats], Floats]:
    """Return the X (k, n) of each layer of a plain chain, and the outputs (outputs, n).

    ``layers`` are W, b, and whether a ReLU follows; ``inputs`` are (n, ...).
    """
    x = np.ascontiguousarray(np.asarray(inputs, np.float32).reshape(len(inputs), -1).T)
    taken = []
    for weight, bias, relu in layers:
        taken.append(x)
        y = weight @ x
        if bias is not None:
            y += bias[:, None]
        x = np.maximum(y, 0, out=y) if relu else y
    return taken, x


def run(network: StoredNetwork, inputs: NDArray[Any]) -> tuple[list[Floats], Floats]:
    """Return the X of each layer, and the outputs (outputs, n), of inputs (n, ...).

    Raises:
        UnreadableError: if the network cannot be run, or not on these.
    """
    if network.run is not None:
        return network.run(inputs)
    if why := network.no_chain():
        raise UnreadableError(
            f"{network.path} cannot be run, and so has no real activations ({why}): give it as "
            "ONNX, or leave --inputs out"
        )
    size, k = math.prod(inputs.shape[1:]), network.layers[0].shape[1]
    if size != k:
        raise UnreadableError(
            f"inputs have {size} values an item, {network.layers[0].name} takes {k}: give an array "
            f"(items, {k})"
        )
    layers = [
        (e.read_weight(), e.read_bias() if e.read_bias else None, e.activation == "relu")
        for e in network.layers
    ]
    return chain_outputs(layers, inputs)


@lru_cache(maxsize=2)
def _values(path: Path, layer: str, index: int, digest: str) -> Floats:
    network = stored(path)
    found = network.layers[index] if index < len(network.layers) else None
    values = found.read_weight() if found is not None and found.name == layer else None
    if values is None or digest_of(values) != digest:
        raise InputError(f"{path} changed while it was measured: leave it as it is")
    return np.array(values, order="C")


@lru_cache(maxsize=2)
def _activations(path: Path, inputs: Path, batch: int) -> list[Floats]:
    return run(stored(path), read_inputs(inputs, "--inputs")[:batch])[0]
