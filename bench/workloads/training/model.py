"""A network run by a kernel: every product of its layers goes through the kernel's passes.

What lies between (bias, ReLU, pooling) is element-wise and runs in the kernel's array library,
on its device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover.bench.workloads.networks import Network
from crossover.bench.workloads.pruning.masks import Mask
from crossover.bench.workloads.training.elementwise import add_bias, pass_through_relu
from crossover.kernels.base import PASSES, Kernel, Pass, Weight

_EVALUATION_BATCH = 1000
# The images need no gradient.
_OF_THE_FIRST: tuple[Pass, ...] = ("forward", "backward_weight")


@dataclass
class LayerState:
    """A layer's trained state on the host: weight with its pattern, and bias (m,)."""

    weight: Weight
    bias: NDArray[np.float32]


@dataclass
class _Taken:
    """What the backward pass needs of a layer's forward pass."""

    x: Any
    activation_shape: tuple[int, ...]
    before_pool: Any
    after: Any


@dataclass(frozen=True)
class LayerOperands:
    """The real operands of one layer: X (k, n) activations and dY (m, n) loss gradients."""

    x: NDArray[np.float32]
    dy: NDArray[np.float32]


class Model:
    """A network whose weights are held by a kernel, to be trained in batches of one size.

    Without a ``batch`` they are prepared for any.
    """

    def __init__(
        self, network: Network, states: Sequence[LayerState], kernel: Kernel, batch: int = 0
    ) -> None:
        self.network = network
        self._batch = batch
        self.kernel = kernel
        self.xp: Any = kernel.namespace()
        self.weights: list[Any] = []
        self.gradients: list[Any] = []
        self.biases = [self.xp.asarray(state.bias.copy()) for state in states]
        self.patterns: list[Mask] = []
        self.prepare([state.weight for state in states])

    def prepare(self, weights: Sequence[Weight]) -> None:
        """Convert ``weights`` and make room for their gradients."""
        self.patterns = [weight.pattern for weight in weights]
        self.weights = [
            self._prepared(weight, layer.columns(self._batch), PASSES if index else _OF_THE_FIRST)
            for index, (weight, layer) in enumerate(zip(weights, self.network.layers, strict=True))
        ]
        self.gradients = [
            self.kernel.put(np.empty(self.kernel.gradient_shape(operand), np.float32))
            for operand in self.weights
        ]

    def _prepared(self, weight: Weight, n: int, passes: tuple[Pass, ...]) -> Any:
        return self.kernel.prepare_for(weight, passes, n) if n else self.kernel.prepare(weight)

    def states(self) -> list[LayerState]:
        """Return the trained state on the host."""
        return [
            LayerState(
                Weight(np.where(pattern, self.kernel.dense_weight(operand), 0), pattern),
                on_host(bias),
            )
            for operand, pattern, bias in zip(self.weights, self.patterns, self.biases, strict=True)
        ]

    def forward(self, activation: Any) -> tuple[Any, list[_Taken]]:
        """Return the logits (10, n) of pixels (784, n), and what the backward pass needs."""
        taken = []
        last = len(self.network.layers) - 1
        for index, layer in enumerate(self.network.layers):
            x = self.xp.ascontiguousarray(layer.lower(activation, self.xp))
            y = self._product("forward", index, x=x)
            # A maximum of rectified values is the rectified maximum: ReLU may come before the pool.
            add_bias(y, self.biases[index], index != last, self.xp)
            y = y.reshape(layer.output_shape(activation.shape[-1]))
            after = _pool(y, self.xp) if layer.pooled else y
            taken.append(_Taken(x, activation.shape, y, after))
            activation = after
        return activation, taken

    def backward(self, dlogits: Any, taken: list[_Taken]) -> Iterator[tuple[int, Any]]:
        """Yield (layer index, dY (m, columns)) from the last layer to the first."""
        gradient = dlogits
        for index in reversed(range(len(taken))):
            layer, record = self.network.layers[index], taken[index]
            if index != len(taken) - 1:
                pass_through_relu(gradient, record.after, self.xp)
            if layer.pooled:
                gradient = _unpool(gradient, record.before_pool, record.after, self.xp)
            dy = self.xp.ascontiguousarray(gradient.reshape(layer.shape[0], -1))
            yield index, dy
            if index:
                dx = self._product("backward_input", index, dy=dy)
                gradient = layer.raise_gradient(dx, record.activation_shape, self.xp)

    def weight_gradient(self, index: int, dy: Any, x: Any) -> Any:
        """Return the kernel's own gradient array of layer ``index``; reused by the next call."""
        put, room = self.kernel.put, self.gradients[index]
        gradient = self.kernel.backward_weight(self.weights[index], put(dy), put(x), room)
        self.gradients[index] = gradient
        return gradient

    def _product(self, pass_: Any, index: int, x: Any = None, dy: Any = None) -> Any:
        put = self.kernel.put
        m, k = self.network.layers[index].shape
        rows, n = (m, x.shape[1]) if pass_ == "forward" else (k, dy.shape[1])
        x, dy = None if x is None else put(x), None if dy is None else put(dy)
        out = put(self.xp.empty((rows, n), np.float32))
        return self.kernel.local(self.kernel.run(pass_, self.weights[index], x, dy, out))


def masked(states: Sequence[LayerState], masks: Sequence[Mask]) -> list[LayerState]:
    """Return dense ``states`` with only what the masks keep."""
    return [
        LayerState(Weight(np.where(mask, state.weight.values, 0), mask), state.bias)
        for state, mask in zip(states, masks, strict=True)
    ]


def on_host(array: Any) -> NDArray[Any]:
    """Return an array of a kernel's library as NumPy's."""
    return np.asarray(array.get() if hasattr(array, "get") else array)


def pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return images (n, 784) uint8 as activations (784, n) in 0 to 1, batch contiguous."""
    return np.multiply(images.T, np.float32(1 / 255), dtype=np.float32, order="C")


def loss_gradient(logits: Any, labels: Any, xp: Any) -> Any:
    """Return the gradient (10, n) of the mean cross-entropy with respect to the logits."""
    shifted = xp.exp(logits - logits.max(axis=0))
    shifted /= shifted.sum(axis=0)
    shifted[labels, xp.arange(labels.size)] -= 1
    return shifted / np.float32(labels.size)


def accuracy(model: Model, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> float:
    """Return the share of ``images`` (count, 784) that ``model`` classifies right."""
    right = 0
    for start in range(0, len(images), _EVALUATION_BATCH):
        part = slice(start, start + _EVALUATION_BATCH)
        logits, _ = model.forward(model.xp.asarray(pixels(images[part])))
        right += int((logits.argmax(axis=0) == model.xp.asarray(labels[part])).sum())
    return right / len(images)


def layer_operands(
    model: Model, images: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> list[LayerOperands]:
    """Return each layer's real X and dY for one batch of images, from a CPU model."""
    logits, taken = model.forward(pixels(images))
    gradients = dict(model.backward(loss_gradient(logits, labels, np), taken))
    return [LayerOperands(record.x, gradients[i]) for i, record in enumerate(taken)]


def with_zeros(operands: LayerOperands, share: float, rng: np.random.Generator) -> LayerOperands:
    """Return X and dY with a ``share`` of zeros in random places, real values in all others.

    Where such a place held a zero, one of the array's nonzeros is drawn for it.
    """
    return LayerOperands(*(_with_zeros(each, share, rng) for each in (operands.x, operands.dy)))


def _with_zeros(
    array: NDArray[np.float32], share: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    nonzeros = array[array != 0]
    drawn = rng.choice(nonzeros, array.shape) if nonzeros.size else np.ones_like(array)
    filled = np.where(array != 0, array, drawn)
    places = rng.permutation(array.size)[: round(share * array.size)]
    filled.ravel()[places] = 0
    return filled


def _corners(image: Any) -> list[Any]:
    """Return the four (channels, side/2, side/2, n) views that a 2 x 2 pool compares."""
    return [image[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]


def _pool(image: Any, xp: Any) -> Any:
    a, b, c, d = _corners(image)
    return xp.maximum(xp.maximum(a, b), xp.maximum(c, d))


def _unpool(gradient: Any, image: Any, pooled: Any, xp: Any) -> Any:
    """Return the gradient at the first corner that holds the maximum."""
    out = xp.zeros_like(image)
    free = xp.ones(pooled.shape, bool)
    for source, target in zip(_corners(image), _corners(out), strict=True):
        chosen = free & (source == pooled)
        xp.multiply(gradient, chosen, out=target)
        free &= ~chosen
    return out
