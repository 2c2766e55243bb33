"""A training in float64, by which those in float32 are judged: fully connected layers, ReLU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
            self._weights[index] = weight - rate * self._masks[index] * (before @ inputs[index].T)
            self._biases[index] -= rate * before.sum(axis=1)

    def difference(self, states: Sequence[LayerState]) -> float:
        """Return by how much weights differ at most, in units of their layer's largest one."""
        return max(
            float(np.max(np.abs(state.weight.values - exact)) / np.max(np.abs(exact)))
            for state, exact in zip(states, self._weights, strict=True)
        )
