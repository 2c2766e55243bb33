"""Training: gradients that are right, reproducible, and learn; by every kernel that can."""

from __future__ import annotations

import numpy as np
import pytest

from crossover.bench.workloads import execution, mnist, networks, pruning, training
from crossover.bench.workloads.execution import LayerState, Model
from crossover.bench.workloads.networks import Convolution, Linear, Network
from crossover.bench.workloads.training import Schedule
from crossover.kernels import discover
from crossover.kernels.base import PASSES, Weight

KERNELS = discover()
DENSE = KERNELS["numpy-masked-update"]
CPU = [
    name
    for name, kernel in KERNELS.items()
    if kernel.device == "cpu"
    and kernel.keeps_zeros
    and kernel.passes == PASSES
    and not kernel.unavailable()
]
TINY = Network(
    "tiny",
    (Convolution("conv1", 1, 3, 28), Linear("fc1", 3 * 12 * 12, 8), Linear("fc2", 8, 10)),
    1,
    1,
)  # fmt: skip


def test_gradients_match_finite_differences() -> None:
    data, rng = mnist.load(), np.random.default_rng(3)
    states = training.initial_state(TINY, rng)
    images, labels = data.train_images[:16], data.train_labels[:16]

    def loss(changed: list[LayerState]) -> float:
        logits, _ = Model(TINY, changed, DENSE).forward(execution.pixels(images))
        logits = logits.astype(np.float64)
        shifted = logits - logits.max(axis=0)
        log_sum = np.log(np.exp(shifted).sum(axis=0))
        return float((log_sum - shifted[labels, np.arange(16)]).mean())

    model = Model(TINY, states, DENSE)
    logits, taken = model.forward(execution.pixels(images))
    for index, dy in model.backward(execution.loss_gradient(logits, labels, np), taken):
        gradient = model.weight_gradient(index, dy, taken[index].x)
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        step, slopes = 1e-2, []
        for sign in (1, -1):
            values = states[index].weight.values.copy()
            values[place] += sign * step
            changed = list(states)
            changed[index] = LayerState(
                Weight(values, states[index].weight.pattern), states[index].bias
            )
            slopes.append(loss(changed))
        numeric = (slopes[0] - slopes[1]) / (2 * step)
        assert gradient[place] == pytest.approx(numeric, rel=0.03), TINY.layers[index].name


def test_training_is_reproducible_and_learns() -> None:
    data = mnist.load()
    images, labels = data.train_images[:2000], data.train_labels[:2000]

    def trained() -> Model:
        rng = np.random.default_rng(4)
        model = Model(TINY, training.initial_state(TINY, rng), DENSE)
        training.train(model, images, labels, Schedule(12, 5e-3), rng)
        return model

    first, second = trained(), trained()
    for a, b in zip(first.states(), second.states(), strict=True):
        np.testing.assert_array_equal(a.weight.values, b.weight.values)
    assert execution.accuracy(first, data.test_images[:1000], data.test_labels[:1000]) > 0.7


@pytest.mark.parametrize("name", CPU)
def test_every_kernel_trains_the_same_network(name: str) -> None:
    data = mnist.load()
    network = networks.network("lenet-300-100")

    def trained(kernel_name: str) -> list[LayerState]:
        rng = np.random.default_rng(5)
        states = training.initial_state(network, rng)
        masks = pruning.magnitude_masks([s.weight.values for s in states], 0.8)
        sparse = [
            LayerState(Weight(np.where(mask, s.weight.values, 0), mask), s.bias)
            for s, mask in zip(states, masks, strict=True)
        ]
        model = Model(network, sparse, KERNELS[kernel_name])
        images, labels = data.train_images[:128], data.train_labels[:128]
        training.train(model, images, labels, Schedule(1, 1e-3), rng)
        return model.states()

    for ours, reference in zip(trained(name), trained("numpy-masked-update"), strict=True):
        np.testing.assert_array_equal(ours.weight.pattern, reference.weight.pattern)
        np.testing.assert_allclose(ours.weight.values, reference.weight.values, atol=2e-3)
