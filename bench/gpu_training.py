"""Training steps by any kernel, every product of them held against float64.

Adam divides a gradient by its own size, so that the rounding of a gradient near zero decides the
sign of a whole step: two right kernels soon have different weights. What can be the same as on the
CPU, within the declared arithmetic, is each product for the operands it was given. That is checked,
at every step; the loss beside that of a CPU kernel is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossover.bench.cells import TRAINING_KERNEL
from crossover.bench.trial import Outcome, end_if_lost
from crossover.bench.workloads import execution, mnist, pruning, training
from crossover.bench.workloads.execution import LayerState, Model
from crossover.bench.workloads.networks import network
from crossover.kernels import discover
from crossover.kernels.base import PASSES, Array, Kernel, Pass, Weight
from crossover.kernels.oracle import Oracle

_NETWORK, _SPARSITY, _RATE, _BATCH = "lenet-300-100", 0.8, 1e-3, training.BATCH


@dataclass(frozen=True)
class TrainingCheck:
    """A few steps of training LeNet-300-100 at 80 %, for every kernel that can."""

    kernels: Sequence[str]
    seed: int
    steps: int = 5

    def carry_out(
        self, kernels: Mapping[str, Kernel], take_turn: Callable[[str], None]
    ) -> dict[str, Outcome]:
        """Return ``measured`` where every product was right, with the loss as a remark."""
        expected = steps(discover()[TRAINING_KERNEL], self.steps, self.seed)
        found: dict[str, Outcome] = {}
        for name, kernel in kernels.items():
            take_turn(name)
            try:
                found[name] = _outcome(kernel, self.steps, self.seed, expected.losses)
            except Exception as error:
                end_if_lost(kernel)
                found[name] = Outcome("failed", f"raised {type(error).__name__}: {error}")
        return found


@dataclass(frozen=True)
class Steps:
    """What came of some steps: the loss before each, and the products that were wrong."""

    losses: tuple[float, ...]
    wrong: tuple[str, ...]
    products: int


class Checked:
    """A kernel whose every product is held against float64 as it is computed."""

    def __init__(self, kernel: Kernel, patterns: Sequence[Any]) -> None:
        self._kernel = kernel
        self._patterns = list(patterns)
        self._operands: list[Any] = []
        self.wrong: list[str] = []
        self.products = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    def prepare(self, weight: Weight) -> Any:
        """Return the operand; its pattern is kept beside it."""
        self._operands.append(self._kernel.prepare(weight))
        return self._operands[-1]

    def run(self, pass_: Pass, operand: Any, x: Any, dy: Any, out: Any) -> Any:
        """Return the result of a pass, and note whether it is right."""
        result = self._kernel.run(pass_, operand, x, dy, out)
        self._check(pass_, operand, x, dy, self._kernel.fetch(result))
        return result

    def backward_weight(self, operand: Any, dy: Any, x: Any, out: Any) -> Any:
        """Return the weight gradient, and note whether it is right."""
        result = self._kernel.backward_weight(operand, dy, x, out)
        dense = self._kernel.dense_gradient(operand, result)
        self._check("backward_weight", operand, x, dy, dense)
        return result

    def _check(self, pass_: Pass, operand: Any, x: Any, dy: Any, result: Array) -> None:
        index = next(i for i, each in enumerate(self._operands) if each is operand)
        kernel, pattern = self._kernel, self._patterns[index]
        (m, k), given = pattern.shape, x if dy is None else dy
        n = given.shape[1]
        host_x = kernel.fetch(x) if x is not None else np.zeros((k, n), np.float32)
        host_dy = kernel.fetch(dy) if dy is not None else np.zeros((m, n), np.float32)
        held = pattern if kernel.keeps_zeros else np.ones_like(pattern)
        weight = Weight(np.where(held, kernel.dense_weight(operand), 0), held)
        verdict = Oracle(weight, host_x, host_dy).check(pass_, result, kernel.arithmetic["float32"])
        self.products += 1
        if not verdict.right:
            self.wrong.append(f"{pass_} of layer {index + 1}: {verdict.problem}")


def steps(
    kernel: Kernel, count: int, seed: int, name: str | None = None, batch: int | None = None
) -> Steps:
    """Return what came of ``count`` steps of Adam on a network, pruned at random to 80 %.

    By default the network is LeNet-300-100, and the batch that of training.
    """
    specification, dataset = network(name or _NETWORK), mnist.load()
    rng = np.random.default_rng(seed)
    states = training.initial_state(specification, rng)
    shapes = [state.weight.shape for state in states]
    masks = pruning.random_masks(shapes, _SPARSITY, rng)
    states = [
        LayerState(Weight(np.where(mask, state.weight.values, 0), mask), state.bias)
        for state, mask in zip(states, masks, strict=True)
    ]
    checked: Any = Checked(kernel, masks)
    model = Model(specification, states, checked)
    adam, losses = training.Adam(model), []
    rows = rng.permutation(len(dataset.train_images))[: batch or _BATCH]
    images, labels = dataset.train_images[rows], model.xp.asarray(dataset.train_labels[rows])
    for _ in range(count):
        logits, taken = model.forward(model.xp.asarray(execution.pixels(images)))
        losses.append(_loss(logits, labels, model.xp))
        adam.step(execution.loss_gradient(logits, labels, model.xp), taken, _RATE)
    return Steps(tuple(losses), tuple(checked.wrong), checked.products)


def _outcome(kernel: Kernel, count: int, seed: int, expected: Sequence[float]) -> Outcome:
    reason = kernel.unavailable()
    if reason is None and kernel.passes != PASSES:
        reason = f"{kernel.name} has the passes {', '.join(kernel.passes)} alone."
    if reason:
        return Outcome("skipped", reason)
    done = steps(kernel, count, seed)
    remark = f"loss {done.losses[-1]:.5f} after {count - 1} steps, on the CPU {expected[-1]:.5f}"
    if done.wrong:
        first = done.wrong[0]
        return Outcome("wrong", f"{len(done.wrong)} of {done.products} products: {first}")
    if not done.losses[-1] < done.losses[0]:
        return Outcome("wrong", f"training does not lower the loss: {remark}")
    return Outcome("measured", remarks=[f"{done.products} products right; {remark}"])


def _loss(logits: Any, labels: Any, xp: Any) -> float:
    """Return the mean cross-entropy."""
    shifted = logits - logits.max(axis=0)
    logs = shifted - xp.log(xp.exp(shifted).sum(axis=0))
    return -float(logs[labels, xp.arange(labels.size)].mean())
