"""Training through the kernel interface: Adam, its schedule, and the choice of the pattern.

Every product goes through the passes of a kernel, and every change of a weight through its
``update``, so that any kernel that keeps zeros can train a pruned network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover.bench.workloads.mnist import SIDE
from crossover.bench.workloads.networks import Network
from crossover.bench.workloads.pruning.masks import Scope
from crossover.bench.workloads.pruning.method import Moment, PruningMethod, kept_by
from crossover.bench.workloads.training.descent import Adam, GradientDescent, layout_of
from crossover.bench.workloads.training.model import (
    LayerState,
    Model,
    loss_gradient,
    on_host,
    pixels,
)
from crossover.kernels.base import Weight

BATCH = 128
# From one change of the pattern to the next, where images are few.
_LEAST_STEPS = 8


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
    #: Names the order in which the moments' entries lie; empty where it is that of a dense W.
    layout: str = ""

    def fits(self, model: Model) -> bool:
        """Return whether its moments are laid out like the gradients of ``model``."""
        local = [model.kernel.local(gradient) for gradient in model.gradients]
        shapes = [each.shape for each in (*local, *model.biases)]
        kept = [m.shape for m, _ in self.moments] == [v.shape for _, v in self.moments] == shapes
        return kept and self.layout == layout_of(model)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train, and how the pattern changes meanwhile."""

    epochs: int
    rate: float
    #: To which sparsity the network is pruned meanwhile, and over what: all layers or each.
    end: float = 0.0
    scope: Scope = "global"
    #: The share of the steps after which ``end`` is reached; the rest is fine-tuning.
    ramp: float = 0.6
    #: How many times per epoch the pattern is chosen again.
    changes: int = 10


class Training:
    """A training that goes on epoch by epoch, its rate falling along half a cosine."""

    def __init__(
        self,
        model: Model,
        images: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        schedule: Schedule,
        rng: np.random.Generator,
        method: PruningMethod | None = None,
        optimizer: type[GradientDescent] = Adam,
    ) -> None:
        """Take images (count, 784) uint8 to train ``model`` on; ``method`` changes its pattern."""
        self.model, self._images, self._labels = model, images, labels
        self._schedule, self._rng, self._method = schedule, rng, method
        self.optimizer = optimizer(model)
        #: How many epochs are done.
        self.epochs = 0

    @property
    def steps(self) -> int:
        """Return the steps of an epoch."""
        return -(-len(self._images) // BATCH)

    def epoch(self, report_share: Callable[[float], None] | None = None) -> None:
        """Go once through all images; ``report_share`` hears the share of all epochs."""
        total = self._schedule.epochs * self.steps
        batches = _batches(len(self._images), self._rng)
        for step, rows in enumerate(batches, self.epochs * self.steps):
            self._step(step, total, rows)
            if report_share:
                report_share((step + 1) / total)
        self.epochs += 1

    def _step(self, step: int, total: int, rows: NDArray[np.int64]) -> None:
        model, schedule, rng = self.model, self._schedule, self._rng
        x = model.xp.asarray(pixels(_shifted(self._images[rows], rng)))
        y = model.xp.asarray(self._labels[rows])
        method = self._method if self._method and self._method.changes() else None
        every = max(_LEAST_STEPS, len(self._images) // (BATCH * schedule.changes))
        every = (method.interval if method else 0) or every
        ramp_steps = max(1, round(total * schedule.ramp))
        if method and (step % every == 0 or step == ramp_steps):
            self._change((step / total, step / ramp_steps), partial(_gradients, model, x, y))
        logits, taken = model.forward(x)
        rate = schedule.rate * 0.5 * (1 + np.cos(np.pi * step / total))
        self.optimizer.step(loss_gradient(logits, y, model.xp), taken, rate)

    def _change(
        self, progressed: tuple[float, float], gradients: Callable[[], list[NDArray[np.float32]]]
    ) -> None:
        """Give the model the pattern that the method wants from here on, if it wants another."""
        model, schedule = self.model, self._schedule
        values = [model.kernel.dense_weight(operand) for operand in model.weights]
        asked = schedule.end, schedule.scope, *progressed
        assert self._method is not None
        masks = self._method.change(Moment(values, model.patterns, *asked, self._rng, gradients))
        if masks is None:
            return
        before = list(model.weights)
        model.prepare(kept_by(values, masks))
        self.optimizer.patterns_changed(before)

    def stage(self) -> Stage:
        """Return what it depends on from here, where it descends by Adam."""
        assert isinstance(self.optimizer, Adam)
        moments = tuple(self.optimizer.kept_moments())
        draws = self._rng.bit_generator.state
        states, layout = tuple(self.model.states()), layout_of(self.model)
        return Stage(self.epochs, states, self.optimizer.steps, moments, draws, layout)

    def resume(self, stage: Stage) -> None:
        """Go on from ``stage``, whose layers the model has."""
        assert isinstance(self.optimizer, Adam)
        self.optimizer.resume(stage.steps, stage.moments)
        self._rng.bit_generator.state = stage.draws
        self.epochs = stage.epochs


def train(
    model: Model,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    schedule: Schedule,
    rng: np.random.Generator,
    method: PruningMethod | None = None,
    report_share: Callable[[float], None] | None = None,
    begun: Stage | None = None,
    keep: Callable[[Stage], None] | None = None,
) -> None:
    """Train ``model`` to its end, as :class:`Training` has it.

    ``keep`` is given every stage but the last. Begun with one of them, whose layers ``model`` must
    have, it comes to the same end.
    """
    training = Training(model, images, labels, schedule, rng, method)
    if begun:
        training.resume(begun)
    while training.epochs < schedule.epochs:
        training.epoch(report_share)
        if keep and training.epochs < schedule.epochs:
            keep(training.stage())


def _gradients(model: Model, x: Any, labels: Any) -> list[NDArray[np.float32]]:
    """Return the gradient (m, k) of each layer's weight by a batch, those of zeros included."""
    logits, taken = model.forward(x)
    gradients = dict(model.backward(loss_gradient(logits, labels, model.xp), taken))
    return [on_host(gradients[i] @ each.x.T) for i, each in enumerate(taken)]


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
