"""Stand-ins for a kernel in a model, which judge each product of a step by the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np

from crossover.bench.harness.examination.examiner import poison, spoil
from crossover.bench.workloads.training.model import Model
from crossover.kernels.base import Array, Kernel, Pass, Weight
from crossover.kernels.oracle import Oracle
from crossover.kernels.verdicts import Verdict, check_update


class StandIn:
    """Has all that a kernel has; a subclass takes over what computes."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)


class _JudgingKernel(StandIn):
    """Holds products against the oracle, and remembers the verdicts."""

    def __init__(self, kernel: Kernel, model: Model) -> None:
        super().__init__(kernel)
        self._model = model
        #: What was checked, as ``fc1 forward``, and the verdict on it.
        self.verdicts: list[tuple[str, Verdict]] = []

    def worst(self) -> Verdict:
        """Return the first verdict with a problem, or the one nearest to its bound."""
        wrong = [(what, each) for what, each in self.verdicts if not each.right]
        if wrong:
            what, each = wrong[0]
            return Verdict(f"{what}: {each.problem}", each.relative_error, each.share_of_bound)
        return max((each for _, each in self.verdicts), key=lambda each: each.share_of_bound)

    def backward_weight(self, operand: Any, dy: Any, x: Any, out: Any) -> Any:
        """Return ``dy xᵀ`` at W's nonzeros, by :meth:`run`."""
        return self.run("backward_weight", operand, x, dy, out)

    def run(self, pass_: Pass, operand: Any, x: Any, dy: Any, out: Any) -> Any:
        """Return the result of ``pass_``."""
        raise NotImplementedError

    def _judge(self, pass_: Pass, operand: Any, x: Any, dy: Any, result: Any) -> None:
        """Note the verdict on ``result``; all arrays are the kernel's own."""
        kernel = self._kernel
        index, weight = self._weight(operand)
        nothing = np.empty((0, 0), np.float32)
        had_x, had_dy = (
            nothing.reshape(rows, 0) if each is None else kernel.fetch(each)
            for rows, each in zip(weight.shape[::-1], (x, dy), strict=True)
        )
        host = (
            kernel.dense_gradient(operand, result)
            if pass_ == "backward_weight"
            else kernel.fetch(result)
        )
        arithmetic = kernel.arithmetic[weight.values.dtype.name]
        self._note(index, pass_, Oracle(weight, had_x, had_dy).check(pass_, host, arithmetic))

    def _weight(self, operand: Any) -> tuple[int, Weight]:
        """Return which layer's ``operand`` it is, and W as it holds it now."""
        index = next(i for i, each in enumerate(self._model.weights) if each is operand)
        values: Array = np.array(self._kernel.dense_weight(operand))
        # A plain dense kernel moves its zeros too, and multiplies by what they became.
        return index, Weight(values, self._model.patterns[index] | (values != 0))

    def _note(self, index: int, what: str, verdict: Verdict) -> None:
        self.verdicts.append((f"{self._model.network.layers[index].name} {what}", verdict))


class ExaminedKernel(_JudgingKernel):
    """Each product and each update is judged as it is computed, on outputs that hold NaN."""

    def run(self, pass_: Pass, operand: Any, x: Any, dy: Any, out: Any) -> Any:
        """Return the result of ``pass_``, and note the oracle's verdict on it."""
        poison(self._kernel, out)
        result = self._kernel.run(pass_, operand, x, dy, out)
        self._judge(pass_, operand, x, dy, result)
        return result

    def update(self, operand: Any, step: Any, rate: float) -> None:
        """Subtract ``rate * step`` from W in place, and note whether that is what happened."""
        index, before = self._weight(operand)
        direction = np.array(self._kernel.dense_gradient(operand, step))
        self._kernel.update(operand, step, rate)
        after = self._kernel.dense_weight(operand)
        self._note(index, "update", check_update(before, direction, rate, after, self._kernel))


class RecordingKernel(_JudgingKernel):
    """What goes into each product and comes out is kept, and judged when the step is over.

    Of the kernel nothing is called but what a step calls, so that it cannot tell. The step must
    leave the weights as they are.
    """

    def __init__(self, kernel: Kernel, model: Model, rng: np.random.Generator) -> None:
        super().__init__(kernel, model)
        self._rng = rng
        self._products: list[tuple[Pass, Any, Any, Any, Any]] = []

    def run(self, pass_: Pass, operand: Any, x: Any, dy: Any, out: Any) -> Any:
        """Return the result of ``pass_`` into a spoilt output, and keep copies."""
        spoil(self._kernel, out, self._rng)
        had = self._copied(x), self._copied(dy)
        result = self._kernel.run(pass_, operand, x, dy, out)
        self._products.append((pass_, operand, *had, self._copied(result)))
        return result

    def worst(self) -> Verdict:
        """Judge what was recorded, and return the worst verdict."""
        for product in self._products:
            self._judge(*product)
        self._products.clear()
        return super().worst()

    def _copied(self, array: Any) -> Any:
        kernel = self._kernel
        return None if array is None else kernel.put(kernel.local(array).copy())
