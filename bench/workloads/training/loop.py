"""Training through the kernel interface: Adam, its schedule, and the choice of the pattern.

Every product goes through the passes of a kernel, and every change of a weight through its
``update``, so that any kernel that keeps zeros can train a pruned network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover.bench.workloads.mnist import SIDE
from crossover.bench.workloads.networks import Network
from crossover.bench.workloads.pruning import Mask, cubic_sparsity
from crossover.bench.workloads.training.elementwise import adam_direction, sum_columns
from crossover.bench.workloads.training.model import (
    LayerState,
    Model,
    loss_gradient,
    on_host,
    pixels,
)
from crossover.kernels.base import Weight

BATCH = 128
#: Returns masks of a sparsity for the values of each layer.
Choose = Callable[[list[NDArray[np.float32]], float], list[Mask]]


def initial_state(network: Network, rng: np.random.Generator) -> list[LayerState]:
    """Return He-initialised dense layers (He et al. 2015)."""
    states = []
    for layer in network.layers:
        m, k = layer.shape
        values = (rng.standard_normal((m, k)) * np.sqrt(2.0 / k)).astype(np.float32)
        states.append(LayerState(Weight(values, np.ones((m, k), bool)), np.zeros(m, np.float32)))
    return states


@dataclass(frozen=True)
class Stage:
    """A training after some of its epochs: all that the others depend on."""

    #: How many of them are done.
    epochs: int
    states: tuple[LayerState, ...]
    #: Of Adam: its steps, and the first and second moments of each weight, then of each bias.
    steps: int
    moments: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    #: The state of the random generator.
    draws: Mapping[str, Any]

    def fits(self, model: Model) -> bool:
        """Return whether its moments are laid out like the gradients of ``model``."""
        local = [model.kernel.local(gradient) for gradient in model.gradients]
        shapes = [each.shape for each in (*local, *model.biases)]
        return [m.shape for m, _ in self.moments] == [v.shape for _, v in self.moments] == shapes


class GradientDescent:
    """Plain gradient descent: every weight and bias moves against its gradient."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def step(self, dlogits: Any, taken: list[Any], rate: float) -> None:
        """Move every weight and bias by one step of size ``rate``."""
        model = self.model
        # The whole backward pass first: it must see the weights that the forward pass saw.
        for index, dy in list(model.backward(dlogits, taken)):
            gradient = model.weight_gradient(index, dy, taken[index].x)
            bias_gradient = sum_columns(dy, model.xp)
            local = model.kernel.local(gradient)
            self.direct(index, local, bias_gradient)
            # Put again: in Numba's simulator ``local`` is a copy.
            model.kernel.update(model.weights[index], model.kernel.put(local), rate)
            model.biases[index] -= rate * bias_gradient

    def direct(self, index: int, weight_gradient: Any, bias_gradient: Any) -> None:
        """Replace the gradients of layer ``index`` by the direction of the step, in place."""


class Adam(GradientDescent):
    """Adam (Kingma and Ba 2015), its moments laid out like the kernel's gradients."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.steps = 0
        self.moments = [self._zeros(model.kernel.local(g)) for g in model.gradients]
        self.bias_moments = [self._zeros(bias) for bias in model.biases]

    def _zeros(self, like: Any) -> tuple[Any, Any]:
        zeros = self.model.xp.zeros_like
        return zeros(like), zeros(like)

    def patterns_changed(self) -> None:
        """Start the moments anew where the layout of the gradients changed with the pattern."""
        for index, gradient in enumerate(self.model.gradients):
            local = self.model.kernel.local(gradient)
            if local.shape != self.moments[index][0].shape:
                self.moments[index] = self._zeros(local)

    def kept_moments(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Return the moments on the host: of each layer's weight, then of each one's bias."""
        return [(on_host(m), on_host(v)) for m, v in (*self.moments, *self.bias_moments)]

    def resume(self, stage: Stage) -> None:
        """Go on from ``stage``, whose layers the model has."""
        self.steps = stage.steps
        for (first, second), (m, v) in zip(
            (*self.moments, *self.bias_moments), stage.moments, strict=True
        ):
            first[...], second[...] = self.model.xp.asarray(m), self.model.xp.asarray(v)

    def step(self, dlogits: Any, taken: list[Any], rate: float) -> None:
        self.steps += 1
        super().step(dlogits, taken, rate)

    def direct(self, index: int, weight_gradient: Any, bias_gradient: Any) -> None:
        xp = self.model.xp
        adam_direction(weight_gradient, self.moments[index], self.steps, xp)
        adam_direction(bias_gradient, self.bias_moments[index], self.steps, xp)


#: By the name that ``step --optimizer`` takes.
OPTIMIZERS: Mapping[str, type[GradientDescent]] = {"sgd": GradientDescent, "adam": Adam}


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
    choose_masks: Choose | None = None,
    progress: Callable[[float], None] | None = None,
    begun: Stage | None = None,
    keep: Callable[[Stage], None] | None = None,
) -> None:
    """Train ``model`` on images (count, 784) uint8, its rate falling along half a cosine.

    ``choose_masks(values, sparsity)`` chooses the pattern while the sparsity rises to
    ``schedule.end``; ``progress`` is told the share that is done. ``keep`` is given every stage but
    the last. Begun with one of them, whose layers ``model`` must have, it comes to the same end.
    """
    xp, adam = model.xp, Adam(model)
    steps = -(-len(images) // BATCH)
    total = schedule.epochs * steps
    every = max(1, len(images) // (BATCH * schedule.changes))
    ramp_steps = max(1, round(total * schedule.ramp))
    if begun:
        adam.resume(begun)
        rng.bit_generator.state = begun.draws
    for epoch in range(begun.epochs if begun else 0, schedule.epochs):
        for step, rows in enumerate(_batches(len(images), rng), epoch * steps):
            if choose_masks and step <= ramp_steps and (step % every == 0 or step == ramp_steps):
                sparsity = cubic_sparsity(step / ramp_steps, schedule.end)
                _prune(model, sparsity, choose_masks)
                adam.patterns_changed()
            logits, taken = model.forward(xp.asarray(pixels(_shifted(images[rows], rng))))
            rate = schedule.rate * 0.5 * (1 + np.cos(np.pi * step / total))
            adam.step(loss_gradient(logits, xp.asarray(labels[rows]), xp), taken, rate)
            if progress:
                progress((step + 1) / total)
        if keep and epoch + 1 < schedule.epochs:
            keep(_stage(epoch + 1, model, adam, rng))


def _stage(epochs: int, model: Model, adam: Adam, rng: np.random.Generator) -> Stage:
    moments = tuple(adam.kept_moments())
    return Stage(epochs, tuple(model.states()), adam.steps, moments, rng.bit_generator.state)


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


def _batches(count: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield the images of each batch of an epoch."""
    order = rng.permutation(count)
    for start in range(0, count, BATCH):
        yield order[start : start + BATCH]
