"""One training step of a network: the code that trains, with every product going through a kernel.

Before it is timed, and again afterwards, a step is taken in which each product of each layer is
checked by the oracle for the operands that it really had, on outputs poisoned with NaN, and each
update against ``W - rate * step``. What lies between the products is the same code for all.

The timed steps have a rate of 0: the update does its work, but every step sees the same weights,
so that neither the activations' zeros nor the gradients' sizes drift while kernels are compared.
A second sample of each round sees of the step only what goes on inside the kernel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from crossover.bench.harness import compilation
from crossover.bench.harness.layer_setup import refusal_for_size
from crossover.bench.harness.race import Call, HostClock
from crossover.bench.harness.task import Description, PreparedCall, Task, nonfinite
from crossover.bench.records.rows import Row
from crossover.bench.workloads import mnist
from crossover.bench.workloads.execution import Model, loss_gradient, pixels
from crossover.bench.workloads.recipes import NetworkWeights
from crossover.bench.workloads.training import OPTIMIZERS
from crossover.kernels.base import PASSES, Array, Kernel, Pass, Problem, Weight
from crossover.kernels.oracle import Oracle, Verdict, check_update

_CHECKED_RATE = 0.1


class StepSetup:
    """A network and a batch, the first images of the test set, that each kernel steps with."""

    def __init__(self, task: Task) -> None:
        workload = task.problem.workload
        assert isinstance(workload.weights, NetworkWeights)
        self.network = workload.weights.network
        self.states = workload.weights.states()
        self.optimizer = workload.optimizer
        dataset = mnist.load()
        self.pixels = pixels(dataset.test_images[: workload.batch])
        self.labels = dataset.test_labels[: workload.batch]

    @property
    def problems(self) -> list[Problem]:
        """Return the products of a step; the first layer needs no gradient of its input."""
        batch = self.pixels.shape[1]
        return [
            Problem(pass_, *layer.shape, layer.columns(batch), state.weight.nnz)
            for index, (layer, state) in enumerate(
                zip(self.network.layers, self.states, strict=True)
            )
            for pass_ in PASSES
            if index or pass_ != "backward_input"
        ]

    @property
    def description(self) -> Description:
        """Return the step as one problem: sums over its layers and products."""
        weights = [state.weight for state in self.states]
        nnz, entries = (
            sum(each) for each in zip(*((w.nnz, w.pattern.size) for w in weights), strict=True)
        )
        products = self.problems
        return Description(
            m=sum(w.shape[0] for w in weights),
            k=sum(w.shape[1] for w in weights),
            n=self.pixels.shape[1],
            nnz=nnz,
            sparsity=1.0 - nnz / entries,
            zeros_x=float(np.mean(self.pixels == 0)),
            zeros_dy=0.0,
            useful_flops=sum(2.0 * p.nnz * p.n for p in products),
            executed_flops=sum(2.0 * p.m * p.k * p.n for p in products),
            side_bytes=sum(4 * (p.m + p.k) * p.n for p in products),
            format_bytes={"dense": sum(w.values.nbytes for w in weights)},
        )

    def prepare(self, kernel: Kernel) -> tuple[Row, PreparedCall | None]:
        """Return the row so far, and the call if every product of a step is right."""
        problems = self.problems
        reasons = [kernel.unavailable(), *map(kernel.unsupported, problems)]
        if reason := next(filter(None, reasons), None) or refusal_for_size(kernel, *problems):
            return Row(kernel.name, "skipped", reason), None
        with compilation.stopwatch() as compiled:
            verdict = Step(self, kernel).check()
            compile_s = compiled()
        begin = time.perf_counter()
        step = Step(self, kernel)
        prepare_s = time.perf_counter() - begin
        row = Row(
            kernel.name,
            "measured" if verdict.right else "wrong",
            verdict.problem or "",
            prepare_s=prepare_s,
            compile_s=compile_s,
            nbytes=sum(operand.nbytes for operand in step.model.weights),
            stored_entries=sum(operand.stored_entries for operand in step.model.weights),
            relative_error=verdict.relative_error,
            share_of_bound=verdict.share_of_bound,
        )
        if not verdict.right:
            return row, None
        views = {"inside": InsideClock(step)}
        return row, PreparedCall(lambda: step(0.0), nonfinite, lambda _: step.check(), views=views)


class Step:
    """A model that one kernel holds the weights of, ready to take steps."""

    def __init__(self, setup: StepSetup, kernel: Kernel) -> None:
        self.kernel = kernel
        self.model = Model(setup.network, setup.states, kernel)
        self.optimizer = OPTIMIZERS[setup.optimizer](self.model)
        self.pixels = self.model.xp.asarray(setup.pixels)
        self.labels = self.model.xp.asarray(setup.labels)

    def __call__(self, rate: float) -> Any:
        """Take a step of size ``rate`` and return the logits (10, n) before it."""
        logits, taken = self.model.forward(self.pixels)
        dlogits = loss_gradient(logits, self.labels, self.model.xp)
        self.optimizer.step(dlogits, taken, rate)
        return logits

    def check(self) -> Verdict:
        """Take a step and return the worst verdict on its products and updates."""
        examined = ExaminedKernel(self.kernel, self.model)
        with self.replaced_by(examined):
            self(_CHECKED_RATE)
        return examined.worst()

    @contextmanager
    def replaced_by(self, stand_in: _StandIn) -> Iterator[None]:
        """Let ``stand_in`` do the kernel's work meanwhile."""
        self.model.kernel = cast(Kernel, stand_in)
        try:
            yield
        finally:
            self.model.kernel = self.kernel


class _StandIn:
    """Has all that a kernel has; a subclass takes over what computes."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)


class InsideClock:
    """Sees of a step only the time inside the kernel: the passes and the updates."""

    most_loops = HostClock.most_loops

    def __init__(self, step: Step) -> None:
        self._step = step

    def seconds(self, call: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds that ``loops`` steps spent inside the kernel, and the last result."""
        timed, result = _TimedKernel(self._step.kernel), None
        with self._step.replaced_by(timed):
            for _ in range(loops):
                result = call()
        return timed.inside_s, result


class _TimedKernel(_StandIn):
    """Adds up the time of its passes and updates."""

    inside_s = 0.0

    def run(self, *given: Any) -> Any:
        return self._timed(self._kernel.run, given)

    def backward_weight(self, *given: Any) -> Any:
        return self._timed(self._kernel.backward_weight, given)

    def update(self, *given: Any) -> None:
        self._timed(self._kernel.update, given)

    def _timed(self, function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        begin = time.perf_counter()
        result = function(*given)
        self.inside_s += time.perf_counter() - begin
        return result


class ExaminedKernel(_StandIn):
    """A kernel in a model, each of whose products and updates is checked as it is computed."""

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

    def run(self, pass_: Pass, operand: Any, x: Any, dy: Any, out: Any) -> Any:
        """Return the result of ``pass_``, and note the oracle's verdict on it."""
        kernel = self._kernel
        index, weight = self._weight(operand)
        m, k = weight.shape
        result = kernel.run(pass_, operand, x, dy, self._poisoned(out))
        nothing = np.empty((0, 0), np.float32)
        had_x, had_dy = (
            nothing.reshape(rows, 0) if each is None else kernel.fetch(each)
            for rows, each in ((k, x), (m, dy))
        )
        host = (
            kernel.dense_gradient(operand, result)
            if pass_ == "backward_weight"
            else kernel.fetch(result)
        )
        arithmetic = kernel.arithmetic[weight.values.dtype.name]
        self._note(index, pass_, Oracle(weight, had_x, had_dy).check(pass_, host, arithmetic))
        return result

    def backward_weight(self, operand: Any, dy: Any, x: Any, out: Any) -> Any:
        """Return ``dy xᵀ`` at W's nonzeros, and note the oracle's verdict on it."""
        return self.run("backward_weight", operand, x, dy, out)

    def update(self, operand: Any, step: Any, rate: float) -> None:
        """Subtract ``rate * step`` from W in place, and note whether that is what happened."""
        index, before = self._weight(operand)
        direction = np.array(self._kernel.dense_gradient(operand, step))
        self._kernel.update(operand, step, rate)
        after = self._kernel.dense_weight(operand)
        self._note(index, "update", check_update(before, direction, rate, after, self._kernel))

    def _weight(self, operand: Any) -> tuple[int, Weight]:
        """Return which layer's ``operand`` it is, and W as it holds it now."""
        index = next(i for i, each in enumerate(self._model.weights) if each is operand)
        values: Array = np.array(self._kernel.dense_weight(operand))
        # A plain dense kernel moves its zeros too, and multiplies by what they became.
        return index, Weight(values, self._model.patterns[index] | (values != 0))

    def _poisoned(self, out: Any) -> Any:
        self._kernel.local(out).fill(np.nan)
        return out

    def _note(self, index: int, what: str, verdict: Verdict) -> None:
        self.verdicts.append((f"{self._model.network.layers[index].name} {what}", verdict))
