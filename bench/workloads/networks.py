"""The networks, as specifications: layers that each are a W (m, k) times an X (k, n).

Convolutions are lowered to a matrix product (im2col): X then holds one column per output
position and image, so that every layer of every network is one :class:`kernels.base.Problem`.
Activations keep the batch in their last, contiguous axis. ``xp`` is NumPy or CuPy, whichever
the arrays belong to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

from crossover.bench.errors import InputError
from crossover.bench.workloads.mnist import CLASSES, SIDE

PIXELS = SIDE * SIDE


@dataclass(frozen=True)
class Linear:
    """A fully connected layer."""

    name: str
    inputs: int
    outputs: int

    #: Whether a 2 x 2 max pool follows.
    pooled: ClassVar[bool] = False

    @property
    def shape(self) -> tuple[int, int]:
        """Return the shape (m, k) of W."""
        return self.outputs, self.inputs

    def columns(self, batch: int) -> int:
        """Return how many columns X has for ``batch`` images."""
        return batch

    def lower(self, activation: Any, xp: Any) -> Any:
        """Return X (k, n) of an activation (..., n)."""
        return activation.reshape(self.inputs, activation.shape[-1])

    def raise_gradient(self, gradient: Any, activation_shape: tuple[int, ...], xp: Any) -> Any:
        """Return dX (k, n) in the shape of the activation."""
        return gradient.reshape(activation_shape)

    def output_shape(self, n: int) -> tuple[int, ...]:
        """Return the shape in which Y (m, columns) leaves the layer."""
        return self.outputs, n


@dataclass(frozen=True)
class Convolution:
    """A valid convolution of square images, followed by a 2 x 2 max pool."""

    name: str
    in_channels: int
    out_channels: int
    side: int
    window: int = 5
    pooled: ClassVar[bool] = True

    @property
    def shape(self) -> tuple[int, int]:
        """Return the shape (m, k) of the lowered W."""
        return self.out_channels, self.in_channels * self.window**2

    def columns(self, batch: int) -> int:
        """Return how many columns X has for ``batch`` images: one per output position each."""
        return self.out_side**2 * batch

    @property
    def out_side(self) -> int:
        """Return the side of the convolved image."""
        return self.side - self.window + 1

    def lower(self, activation: Any, xp: Any) -> Any:
        """Return X (k, positions * n) of an activation (channels, side, side, n)."""
        image = activation.reshape(self.in_channels, self.side, self.side, -1)
        sides = self.window, self.window
        windows = xp.lib.stride_tricks.sliding_window_view(image, sides, axis=(1, 2))
        return windows.transpose(0, 4, 5, 1, 2, 3).reshape(self.shape[1], -1)

    def raise_gradient(self, gradient: Any, activation_shape: tuple[int, ...], xp: Any) -> Any:
        """Return dX (k, positions * n) summed into the shape of the activation (col2im)."""
        size, window = self.out_side, self.window
        columns = gradient.reshape(self.in_channels, window, window, size, size, -1)
        shape = self.in_channels, self.side, self.side, columns.shape[-1]
        image = xp.zeros(shape, gradient.dtype)
        for row in range(window):
            for column in range(window):
                image[:, row : row + size, column : column + size] += columns[:, row, column]
        return image.reshape(activation_shape)

    def output_shape(self, n: int) -> tuple[int, ...]:
        """Return the shape in which Y (m, positions * n) leaves the layer, before the pool."""
        return self.out_channels, self.out_side, self.out_side, n


Layer = Linear | Convolution


@dataclass(frozen=True)
class Network:
    """A stack of layers with ReLU between them, and how it is trained dense."""

    name: str
    layers: tuple[Layer, ...]
    #: Passes over the training set.
    epochs: int
    #: Passes of gradual pruning for each halving of the density.
    prune_epochs: float
    #: Adam's rate at the start: dense, and while pruning.
    rate: float = 1e-3
    prune_rate: float = 2e-3

    @property
    def parameters(self) -> int:
        """Return how many weights and biases there are."""
        return sum(m * k + m for m, k in (layer.shape for layer in self.layers))


def _fully_connected(*sizes: int) -> tuple[Layer, ...]:
    numbered = enumerate(pairwise(sizes), start=1)
    return tuple(Linear(f"fc{i}", inputs, outputs) for i, (inputs, outputs) in numbered)


_LENET_5 = (
    Convolution("conv1", 1, 20, SIDE),
    Convolution("conv2", 20, 50, 12),
    Linear("fc1", 800, 500),
    Linear("fc2", 500, CLASSES),
)

NETWORKS = {
    network.name: network
    for network in (
        Network("lenet-300-100", _fully_connected(PIXELS, 300, 100, CLASSES), 15, 4),
        Network("lenet-5", _LENET_5, 10, 2.5),
        Network("wide", _fully_connected(PIXELS, 1024, 1024, CLASSES), 10, 2),
        Network("wide-5000", _fully_connected(PIXELS, 5000, 5000, CLASSES), 3, 0.5),
    )
}


#: Networks of others' studies whose data is not here: steps are taken on drawn images.
ELSEWHERE = {"cifar-10-mlp": Network("cifar-10-mlp", _fully_connected(3072, 1024, 512, 10), 0, 0)}

_SIZES = re.compile(rf"{PIXELS}(?:-[1-9]\d{{0,5}}){{0,20}}-{CLASSES}")
# Passes over the training set, dense and for each halving of the density, by parameters.
_TRAINING = ((500_000, 15, 4.0), (3_000_000, 10, 2.0), (10**9, 3, 0.5))


def is_trainable(name: str) -> bool:
    """Return whether ``name`` is that of a network that is trained on MNIST."""
    return name in NETWORKS or bool(_SIZES.fullmatch(name))


def network(name: str) -> Network:
    """Return the network called ``name``: one of ours, or sizes from 784 to 10 as 784-300-10.

    Raises:
        InputError: if there is none.
    """
    if known := NETWORKS.get(name) or ELSEWHERE.get(name):
        return known
    if not _SIZES.fullmatch(name):
        raise InputError(
            f"unknown network {name!r}: choose from {', '.join(NETWORKS)}, or give sizes from 784 "
            "to 10, as 784-300-10"
        )
    layers = _fully_connected(*map(int, name.split("-")))
    made = Network(name, layers, 0, 0)
    _, epochs, prune_epochs = next(each for each in _TRAINING if made.parameters <= each[0])
    return replace(made, epochs=epochs, prune_epochs=prune_epochs)
