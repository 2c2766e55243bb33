"""One training step as a trial: the code that trains, with every product going through a kernel.

Before it is timed, and again afterwards, a step is taken in which each product of each layer is
checked by the oracle for the operands that it really had, on outputs poisoned with NaN, and each
update against ``W - rate * step``. What lies between the products is the same code for all.

The timed steps have a rate of 0: the update does its work, but every step sees the same weights,
so that neither the activations' zeros nor the gradients' sizes drift while kernels are compared.
A second sample of each round sees of the step only what goes on inside the kernel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from crossover.bench.timing import MOST_ROUNDS, Call, HostClock
from crossover.bench.trial import Entrant, Outcome, Table, measure, nonfinite, too_large
from crossover.bench.workloads.execution import LayerState, Model, loss_gradient
from crossover.bench.workloads.networks import Network
from crossover.bench.workloads.training import OPTIMIZERS
from crossover.kernels.base import PASSES, Array, Kernel, Pass, Problem, Weight
from crossover.kernels.oracle import Oracle, Verdict, check_update

LEAST_ROUNDS = 6
_CHECKED_RATE = 0.1


@dataclass(frozen=True)
class StepTask:
    """A step to measure: the network with its weights, a batch, and the kernels that compete."""

    network: Network
    states: Sequence[LayerState]
    #: Pixels (784, n) and labels (n,).
    pixels: NDArray[np.float32]
    labels: NDArray[np.uint8]
    #: Of :data:`crossover.bench.workloads.training.OPTIMIZERS`.
    optimizer: str
    kernels: Sequence[str]
    budget_s: float
    seed: int | list[int]
    rounds: tuple[int, int] = (LEAST_ROUNDS, MOST_ROUNDS)
    cold: bool = False

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
    def useful_flops(self) -> float:
        """Return 2 nnz n, summed over the products of a step."""
        return sum(2.0 * problem.nnz * problem.n for problem in self.problems)

    def carry_out(
        self, kernels: Mapping[str, Kernel], take_turn: Callable[[str], None]
    ) -> dict[str, Outcome]:
        """Return the outcome of every kernel."""
        return measure(self, kernels, take_turn)

    def table(self) -> Table:
        """Return the network and the batch."""
        return _StepTable(self)


class _StepTable:
    """A network and a batch that each kernel takes steps with."""

    def __init__(self, task: StepTask) -> None:
        self.task = task

    def enter(self, kernel: Kernel) -> tuple[Outcome, Entrant | None]:
        """Return the outcome so far, and the entrant if every product of a step is right."""
        problems = self.task.problems
        reasons = [kernel.unavailable(), *map(kernel.unsupported, problems)]
        if reason := next(filter(None, reasons), None) or too_large(kernel, *problems):
            return Outcome("skipped", reason), None
        verdict = _Step(self.task, kernel).check()
        begin = time.perf_counter()
        step = _Step(self.task, kernel)
        prepare_s = time.perf_counter() - begin
        outcome = Outcome(
            "measured" if verdict.right else "wrong",
            verdict.problem or "",
            prepare_s=prepare_s,
            nbytes=sum(operand.nbytes for operand in step.model.weights),
            relative_error=verdict.relative_error,
            share_of_bound=verdict.share_of_bound,
        )
        views = {"inside": InsideClock(step)}
        entrant = Entrant(lambda: step(0.0), nonfinite, lambda: step.check().problem, views)
        return outcome, entrant if verdict.right else None


class _Step:
    """A model that one kernel holds the weights of, ready to take steps."""

    def __init__(self, task: StepTask, kernel: Kernel) -> None:
        self.kernel = kernel
        self.model = Model(task.network, task.states, kernel)
        self.optimizer = OPTIMIZERS[task.optimizer](self.model)
        self.pixels = self.model.xp.asarray(task.pixels)
        self.labels = self.model.xp.asarray(task.labels)

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

    def __init__(self, step: _Step) -> None:
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
        return index, Weight(values, self._model.patterns[index])

    def _poisoned(self, out: Any) -> Any:
        self._kernel.local(out).fill(np.nan)
        return out

    def _note(self, index: int, what: str, verdict: Verdict) -> None:
        self.verdicts.append((f"{self._model.network.layers[index].name} {what}", verdict))
