"""How weights move: plain gradient descent, and Adam, whose moments move with the pattern."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover.bench.workloads.training.elementwise import adam_direction, sum_columns
from crossover.bench.workloads.training.model import Model, on_host


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

    def patterns_changed(self, before: Sequence[Any]) -> None:
        """Take note that the model's operands are others than they were ``before``."""


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

    def patterns_changed(self, before: Sequence[Any]) -> None:
        """Lay the moments out as the gradients are now, whose operands were others ``before``.

        What an entry that is new has not met yet is 0.
        """
        kernel, xp = self.model.kernel, self.model.xp
        if kernel.stores_zeros:
            return
        for index, (old, new) in enumerate(zip(before, self.model.weights, strict=True)):
            rows, columns = _places(self.model, index)
            whole = [kernel.dense_gradient(old, kernel.put(each)) for each in self.moments[index]]
            first, second = (xp.asarray(on_host(each)[rows, columns]) for each in whole)
            assert first.shape == kernel.gradient_shape(new)
            self.moments[index] = first, second

    def kept_moments(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Return the moments on the host: of each layer's weight, then of each one's bias."""
        return [(on_host(m), on_host(v)) for m, v in (*self.moments, *self.bias_moments)]

    def resume(self, steps: int, kept: Sequence[tuple[Any, Any]]) -> None:
        """Go on after so many steps, with the moments that were kept."""
        self.steps = steps
        for (first, second), (m, v) in zip((*self.moments, *self.bias_moments), kept, strict=True):
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


def layout_of(model: Model) -> str:
    """Return a hash of the order in which gradients lie, which a kernel may choose by machine.

    Empty where it is that of a dense W.
    """
    if model.kernel.stores_zeros:
        return ""
    found = hashlib.sha256()
    for index in range(len(model.weights)):
        for places in _places(model, index):
            found.update(places.tobytes())
    return found.hexdigest()[:16]


def _places(model: Model, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column of each entry of a layer's gradients, as their kernel lays them out.

    They are the gradients of products with one column: of dY numbered by row, and of X by column.
    """
    kernel, operand, (m, k) = model.kernel, model.weights[index], model.network.layers[index].shape
    found = []
    for dy, x in ((np.arange(m), np.ones(k)), (np.ones(m), np.arange(k))):
        left, right = (
            kernel.put(model.xp.asarray(each.astype(np.float32)[:, None])) for each in (dy, x)
        )
        room = kernel.put(model.xp.zeros(kernel.gradient_shape(operand), np.float32))
        gradient = kernel.local(kernel.backward_weight(operand, left, right, room))
        found.append(on_host(gradient).astype(np.int64))
    return found[0], found[1]
