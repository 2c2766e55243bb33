"""Trainings in float64, by which those in float32 are judged: fully connected layers, ReLU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from crossover.bench.workloads.training.elementwise import BETA1, BETA2, EPSILON
from crossover.bench.workloads.training.model import LayerState
from crossover.kernels.base import Array
from crossover.kernels.verdicts import Float64


class ExactTraining:
    """Layers in float64, moved by plain gradient descent, whose zeros stay where they are."""

    def __init__(self, states: Sequence[LayerState]) -> None:
        self._weights = [state.weight.values.astype(np.float64) for state in states]
        self._masks = [state.weight.pattern for state in states]
        self._biases = [state.bias.astype(np.float64) for state in states]

    def step(self, x: Array, labels: Array, rate: float) -> None:
        """Take a step on activations (k, n) and labels (n,) by the mean cross-entropy."""
        inputs: list[Float64] = [x.astype(np.float64)]
        last = len(self._weights) - 1
        for index, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            y = weight @ inputs[-1] + bias[:, None]
            inputs.append(y if index == last else np.maximum(y, 0))
        shifted = np.exp(inputs[-1] - inputs[-1].max(axis=0))
        gradient: Float64 = shifted / shifted.sum(axis=0)
        gradient[labels, np.arange(labels.size)] -= 1
        gradient /= labels.size
        for index in reversed(range(last + 1)):
            weight, before = self._weights[index], gradient
            gradient = (weight.T @ before) * (inputs[index] > 0)
            step = self._masks[index] * (before @ inputs[index].T)
            self._weights[index] = weight - rate * self._direction(2 * index, step)
            bias_step = self._direction(2 * index + 1, before.sum(axis=1))
            self._biases[index] = self._biases[index] - rate * bias_step

    def _direction(self, place: int, gradient: Float64) -> Float64:
        """Return the direction of a step for the weight or bias at a ``place``."""
        return gradient

    def difference(self, states: Sequence[LayerState]) -> float:
        """Return by how much weights differ at most, in units of their layer's largest one."""
        apart = [
            np.max(np.abs(state.weight.values - exact)) / np.max(np.abs(exact))
            for state, exact in zip(states, self._weights, strict=True)
        ]
        return float(np.max(apart))  # NaN where one is


class ExactAdam(ExactTraining):
    """The same by Adam."""

    def __init__(self, states: Sequence[LayerState]) -> None:
        super().__init__(states)
        #: By place: how many steps, and both moments.
        self._moments: dict[int, tuple[int, Float64, Float64]] = {}

    def _direction(self, place: int, gradient: Float64) -> Float64:
        zeros = np.zeros_like(gradient)
        steps, first, second = self._moments.get(place, (0, zeros, zeros))
        steps += 1
        first = BETA1 * first + (1 - BETA1) * gradient
        second = BETA2 * second + (1 - BETA2) * gradient**2
        self._moments[place] = steps, first, second
        unbiased = first / (1 - BETA1**steps)
        direction: Float64 = unbiased / (np.sqrt(second / (1 - BETA2**steps)) + EPSILON)
        return direction


#: By the optimizer that it is exact for.
EXACT: Mapping[str, type[ExactTraining]] = {"sgd": ExactTraining, "adam": ExactAdam}
