"""Training: gradients that are right, reproducible, and learn; by every kernel that can."""

from __future__ import annotations

import numpy as np
import pytest

from crossover.bench.workloads import mnist, networks
from crossover.bench.workloads.networks import Convolution, Linear, Network
from crossover.bench.workloads.pruning.masks import magnitude_masks
from crossover.bench.workloads.training import loop
from crossover.bench.workloads.training.loop import Schedule
from crossover.bench.workloads.training.model import (
    LayerState,
    Model,
    accuracy,
    loss_gradient,
    pixels,
)
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
    states = loop.initial_state(TINY, rng)
    images, labels = data.train_images[:16], data.train_labels[:16]

    def loss(changed: list[LayerState]) -> float:
        logits, _ = Model(TINY, changed, DENSE).forward(pixels(images))
        logits = logits.astype(np.float64)
        shifted = logits - logits.max(axis=0)
        log_sum = np.log(np.exp(shifted).sum(axis=0))
        return float((log_sum - shifted[labels, np.arange(16)]).mean())

    model = Model(TINY, states, DENSE)
    logits, taken = model.forward(pixels(images))
    for index, dy in model.backward(loss_gradient(logits, labels, np), taken):
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
        model = Model(TINY, loop.initial_state(TINY, rng), DENSE)
        loop.train(model, images, labels, Schedule(12, 5e-3), rng)
        return model

    first, second = trained(), trained()
    for a, b in zip(first.states(), second.states(), strict=True):
        np.testing.assert_array_equal(a.weight.values, b.weight.values)
    assert accuracy(first, data.test_images[:1000], data.test_labels[:1000]) > 0.7


@pytest.mark.parametrize("name", CPU)
def test_every_kernel_trains_the_same_network(name: str) -> None:
    data = mnist.load()
    network = networks.network("lenet-300-100")

    def trained(kernel_name: str) -> list[LayerState]:
        rng = np.random.default_rng(5)
        states = loop.initial_state(network, rng)
        masks = magnitude_masks([s.weight.values for s in states], 0.8)
        sparse = [
            LayerState(Weight(np.where(mask, s.weight.values, 0), mask), s.bias)
            for s, mask in zip(states, masks, strict=True)
        ]
        model = Model(network, sparse, KERNELS[kernel_name])
        images, labels = data.train_images[:128], data.train_labels[:128]
        loop.train(model, images, labels, Schedule(1, 1e-3), rng)
        return model.states()

    for ours, reference in zip(trained(name), trained("numpy-masked-update"), strict=True):
        np.testing.assert_array_equal(ours.weight.pattern, reference.weight.pattern)
        np.testing.assert_allclose(ours.weight.values, reference.weight.values, atol=2e-3)


def test_first_layer_is_prepared_without_the_gradient_of_images() -> None:
    states = loop.initial_state(TINY, np.random.default_rng(0))
    model = Model(TINY, states, KERNELS["numba-tiled"], batch=64)
    transposed = [{key[0] for key in operand.layouts} for operand in model.weights]
    assert transposed == [{False}] + [{False, True}] * (len(TINY.layers) - 1)
