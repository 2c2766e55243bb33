"""Stand-ins for a kernel in a model, which judge each product of a step by the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from crossover.bench.harness.examination.examiner import poison, rows_to_check, spoil
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
        index = self._index(operand)
        oracle = self._oracle(index, operand)
        weight = oracle.weight
        had_x, had_dy = (
            _no_columns(rows) if each is None else kernel.fetch(each)
            for rows, each in zip(weight.shape[::-1], (x, dy), strict=True)
        )
        host = (
            kernel.dense_gradient(operand, result)
            if pass_ == "backward_weight"
            else kernel.fetch(result)
        )
        arithmetic = kernel.arithmetic[weight.values.dtype.name]
        given = oracle.with_sides(had_x, had_dy, rows_to_check(host.size))
        self._note(index, pass_, given.check(pass_, host, arithmetic))

    def _index(self, operand: Any) -> int:
        """Return which layer's ``operand`` it is."""
        return next(i for i, each in enumerate(self._model.weights) if each is operand)

    def _oracle(self, index: int, operand: Any) -> Oracle:
        """Return the oracle of the W that layer ``index`` should have, whatever a kernel did."""
        raise NotImplementedError

    def _note(self, index: int, what: str, verdict: Verdict) -> None:
        self.verdicts.append((f"{self._model.network.layers[index].name} {what}", verdict))


class ExaminedKernel(_JudgingKernel):
    """Each product and each update is judged as it is computed, on outputs that hold NaN."""

    def __init__(self, kernel: Kernel, model: Model, seed: int = 0) -> None:
        """Take the ``seed`` of where large results are looked at."""
        super().__init__(kernel, model)
        self._seed = seed
        # Of each layer that was judged its operand, and the oracle of what that held then.
        self._held: dict[int, tuple[Any, Oracle]] = {}

    def _oracle(self, index: int, operand: Any) -> Oracle:
        """Return that of the W which was held before the first product: only updates change it."""
        held, oracle = self._held.get(index, (None, None))
        if oracle is None or held is not operand:
            values: Array = np.array(self._kernel.dense_weight(operand))
            # A plain dense kernel moves its zeros too, and multiplies by what they became.
            weight = Weight(values, self._model.patterns[index] | (values != 0))
            oracle = oracle_of(weight, self._seed)
            self._held[index] = operand, oracle
        return oracle

    def run(self, pass_: Pass, operand: Any, x: Any, dy: Any, out: Any) -> Any:
        """Return the result of ``pass_``, and note the oracle's verdict on it."""
        self._oracle(self._index(operand), operand)  # before the kernel has W to itself
        poison(self._kernel, out)
        result = self._kernel.run(pass_, operand, x, dy, out)
        self._judge(pass_, operand, x, dy, result)
        return result

    def update(self, operand: Any, step: Any, rate: float) -> None:
        """Subtract ``rate * step`` from W in place, and note whether that is what happened."""
        index = self._index(operand)
        before = self._oracle(index, operand).weight
        direction = np.array(self._kernel.dense_gradient(operand, step))
        self._kernel.update(operand, step, rate)
        after = self._kernel.dense_weight(operand)
        verdict = check_update(before, direction, rate, after, self._kernel)
        self._note(index, "update", verdict)
        del self._held[index]


class RecordingKernel(_JudgingKernel):
    """What goes into each product and comes out is kept, and judged when the step is over.

    Of the kernel nothing is called but what a step calls, so that it cannot tell. The step must
    leave the weights as they are.
    """

    def __init__(
        self, kernel: Kernel, model: Model, rng: np.random.Generator, oracles: Sequence[Oracle]
    ) -> None:
        """Take the oracle of each layer's W, as it was given to the kernel."""
        super().__init__(kernel, model)
        self._rng, self._oracles = rng, oracles
        self._products: list[tuple[Pass, Any, Any, Any, Any]] = []

    def _oracle(self, index: int, operand: Any) -> Oracle:
        return self._oracles[index]

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


def oracle_of(weight: Weight, seed: int) -> Oracle:
    """Return the oracle of a weight, without X and dY."""
    m, k = weight.shape
    return Oracle(weight, _no_columns(k), _no_columns(m), seed=seed)


def _no_columns(rows: int) -> Array:
    """Return (rows, 0): the side of a product that a pass does not read."""
    return np.empty((rows, 0), np.float32)
