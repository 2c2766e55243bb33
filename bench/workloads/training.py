"""Training and running a network through the kernel interface.

Every product of a network goes through the three passes of a kernel, and every change of a
weight through its ``update``. What lies between (bias, ReLU, pooling, the loss, Adam) is
element-wise and runs in the kernel's array library, on its device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.workloads.mnist import SIDE
from bench.workloads.networks import Network
from bench.workloads.pruning import Mask, cubic_sparsity
from kernels.base import Kernel, Weight

BATCH = 128
_EVALUATION_BATCH = 1000
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


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


def initial_state(network: Network, rng: np.random.Generator) -> list[LayerState]:
    """Return He-initialised dense layers (He et al. 2015)."""
    states = []
    for layer in network.layers:
        m, k = layer.shape
        values = (rng.standard_normal((m, k)) * np.sqrt(2.0 / k)).astype(np.float32)
        states.append(LayerState(Weight(values, np.ones((m, k), bool)), np.zeros(m, np.float32)))
    return states


class Model:
    """A network whose weights are held by a kernel."""

    def __init__(self, network: Network, states: Sequence[LayerState], kernel: Kernel) -> None:
        self.network = network
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
        self.weights = [self.kernel.prepare(weight) for weight in weights]
        self.gradients = [
            self.kernel.put(np.empty(self.kernel.gradient_shape(operand), np.float32))
            for operand in self.weights
        ]

    def states(self) -> list[LayerState]:
        """Return the trained state on the host."""
        return [
            LayerState(
                Weight(np.where(pattern, self.kernel.dense_weight(operand), 0), pattern),
                np.asarray(bias.get() if hasattr(bias, "get") else bias),
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
            y += self.biases[index][:, None]
            y = y.reshape(layer.output_shape(activation.shape[-1]))
            after = _pool(y, self.xp) if layer.pooled else y
            if index != last:
                self.xp.maximum(after, 0, out=after)
            taken.append(_Taken(x, activation.shape, y, after))
            activation = after
        return activation, taken

    def backward(self, dlogits: Any, taken: list[_Taken]) -> Iterator[tuple[int, Any]]:
        """Yield (layer index, dY (m, columns)) from the last layer to the first."""
        gradient = dlogits
        for index in reversed(range(len(taken))):
            layer, record = self.network.layers[index], taken[index]
            if index != len(taken) - 1:
                gradient = gradient * (record.after > 0)
            if layer.pooled:
                gradient = _unpool(gradient, record.before_pool, record.after, self.xp)
            dy = self.xp.ascontiguousarray(gradient.reshape(layer.shape[0], -1))
            yield index, dy
            if index:
                dx = self._product("backward_input", index, dy=dy)
                gradient = layer.raise_gradient(dx, record.activation_shape, self.xp)

    def weight_gradient(self, index: int, dy: Any, x: Any) -> Any:
        """Return the kernel's own gradient array of layer ``index``; reused by the next call."""
        kernel = self.kernel
        gradient = kernel.backward_weight(
            self.weights[index], kernel.put(dy), kernel.put(x), self.gradients[index]
        )
        self.gradients[index] = gradient
        return gradient

    def _product(self, pass_: Any, index: int, x: Any = None, dy: Any = None) -> Any:
        kernel = self.kernel
        given = x if pass_ == "forward" else dy
        m, k = self.network.layers[index].shape
        out = self.xp.empty((m if pass_ == "forward" else k, given.shape[1]), np.float32)
        result = kernel.run(
            pass_,
            self.weights[index],
            None if x is None else kernel.put(x),
            None if dy is None else kernel.put(dy),
            kernel.put(out),
        )
        return kernel.local(result)


class Adam:
    """Adam (Kingma and Ba 2015), its moments laid out like the kernel's gradients."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.steps = 0
        self.moments = [self._zeros(model.kernel.local(g)) for g in model.gradients]
        self.bias_moments = [self._zeros(bias) for bias in model.biases]

    def _zeros(self, like: Any) -> tuple[Any, Any, Any]:
        zeros = self.model.xp.zeros_like
        return zeros(like), zeros(like), zeros(like)

    def patterns_changed(self) -> None:
        """Start the moments anew where the layout of the gradients changed with the pattern."""
        for index, gradient in enumerate(self.model.gradients):
            local = self.model.kernel.local(gradient)
            if local.shape != self.moments[index][0].shape:
                self.moments[index] = self._zeros(local)

    def step(self, dlogits: Any, taken: list[_Taken], rate: float) -> None:
        """Move every weight and bias by one step of size ``rate``."""
        self.steps += 1
        model = self.model
        # The whole backward pass first: it must see the weights that the forward pass saw.
        for index, dy in list(model.backward(dlogits, taken)):
            gradient = model.weight_gradient(index, dy, taken[index].x)
            self._direction(model.kernel.local(gradient), self.moments[index])
            model.kernel.update(model.weights[index], gradient, rate)
            direction = dy.sum(axis=1)
            self._direction(direction, self.bias_moments[index])
            model.biases[index] -= rate * direction

    def _direction(self, gradient: Any, moments: tuple[Any, Any, Any]) -> None:
        """Replace ``gradient`` by Adam's direction, in place."""
        xp = self.model.xp
        first, second, scratch = moments
        first *= _BETA1
        xp.multiply(gradient, 1 - _BETA1, out=scratch)
        first += scratch
        second *= _BETA2
        xp.multiply(gradient, gradient, out=scratch)
        scratch *= 1 - _BETA2
        second += scratch
        xp.sqrt(second, out=scratch)
        scratch /= np.float32(np.sqrt(1 - _BETA2**self.steps))
        scratch += np.float32(_EPSILON)
        xp.divide(first, scratch, out=gradient)
        gradient /= np.float32(1 - _BETA1**self.steps)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train, and how the pattern changes meanwhile."""

    epochs: int
    rate: float
    #: To which sparsity the network is pruned meanwhile, where masks are chosen.
    end: float = 0.0
    #: The share of the steps after which ``end`` is reached; the rest is fine-tuning.
    ramp: float = 0.6
    #: How many times per epoch the pattern is chosen again.
    changes: int = 10


def train(
    model: Model,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    schedule: Schedule,
    rng: np.random.Generator,
    choose_masks: Callable[[list[NDArray[np.float32]], float], list[Mask]] | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Train ``model`` on images (count, 784) uint8, its rate falling along half a cosine.

    ``choose_masks(values, sparsity)`` chooses the pattern while the sparsity rises to
    ``schedule.end``; ``progress`` is told the share that is done.
    """
    xp, adam = model.xp, Adam(model)
    total = schedule.epochs * -(-len(images) // BATCH)
    every = max(1, len(images) // (BATCH * schedule.changes))
    ramp_steps = max(1, round(total * schedule.ramp))
    for step, rows in enumerate(_batches(len(images), schedule.epochs, rng)):
        if choose_masks and step <= ramp_steps and (step % every == 0 or step == ramp_steps):
            sparsity = cubic_sparsity(step / ramp_steps, schedule.end)
            _prune(model, sparsity, choose_masks)
            adam.patterns_changed()
        logits, taken = model.forward(xp.asarray(pixels(_shifted(images[rows], rng))))
        rate = schedule.rate * 0.5 * (1 + np.cos(np.pi * step / total))
        adam.step(loss_gradient(logits, xp.asarray(labels[rows]), xp), taken, rate)
        if progress:
            progress((step + 1) / total)


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


def _prune(model: Model, sparsity: float, choose_masks: Any) -> None:
    """Give ``model`` the patterns chosen for ``sparsity``."""
    values = [model.kernel.dense_weight(operand) for operand in model.weights]
    masks = choose_masks(values, sparsity)
    model.prepare(
        [Weight(np.where(mask, v, 0), mask) for v, mask in zip(values, masks, strict=True)]
    )


def _shifted(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return images (n, 784), all moved by the same offset of at most a pixel either way.

    A batch that moves as one is a slice, not a gather, and augments as well over an epoch.
    """
    padded = np.pad(images.reshape(-1, SIDE, SIDE), ((0, 0), (1, 1), (1, 1)))
    row, column = rng.integers(0, 3, size=2)
    moved = padded[:, row : row + SIDE, column : column + SIDE]
    return moved.reshape(len(images), SIDE * SIDE)


def _batches(count: int, epochs: int, rng: np.random.Generator) -> Iterator[Any]:
    for _ in range(epochs):
        order = rng.permutation(count)
        for start in range(0, count, BATCH):
            yield order[start : start + BATCH]


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
