"""One training step of a network: the code that trains, with every product going through a kernel.

Before it is timed, and again afterwards, a step is taken in which each product of each layer is
checked by the oracle for the operands that it really had, on outputs poisoned with NaN, and each
update against ``W - rate * step``. What lies between the products is the same code for all. In one
round, which no kernel can foresee, a step like the timed ones is recorded, and its products are
checked afterwards.

The timed steps have a rate of 0: the update does its work, but every step sees the same weights,
so that neither the activations' zeros nor the gradients' sizes drift while kernels are compared.
The images stay, and in each turn are as bright as never before, so that no product is known.
A second sample of each round sees of the step only what goes on inside the kernel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, cast

import numpy as np

from crossover.bench.harness import compilation
from crossover.bench.harness.clocks import Call, HostClock
from crossover.bench.harness.examination.examiner import finite, spoil
from crossover.bench.harness.examination.step import (
    ExaminedKernel,
    RecordingKernel,
    StandIn,
    oracle_of,
)
from crossover.bench.harness.layer_setup import refusal_for_size
from crossover.bench.harness.task import Description, PreparedCall, Task
from crossover.bench.harness.trained.description import described, products_of
from crossover.bench.records.rows import Row
from crossover.bench.workloads import mnist
from crossover.bench.workloads.given import GivenWeights
from crossover.bench.workloads.networks import PIXELS, Linear
from crossover.bench.workloads.recipes import NetworkWeights
from crossover.bench.workloads.training.descent import OPTIMIZERS
from crossover.bench.workloads.training.model import Model, loss_gradient, pixels
from crossover.kernels.base import Array, Kernel, Pass, Problem
from crossover.kernels.oracle import Oracle
from crossover.kernels.processor import PAGE, aligned_empty
from crossover.kernels.verdicts import Verdict

_CHECKED_RATE = 0.1
_OWN_STREAM = 1


class StepSetup:
    """A network and a batch, the first images of the test set, that each kernel steps with."""

    def __init__(self, task: Task) -> None:
        workload = task.problem.workload
        assert isinstance(workload.weights, NetworkWeights | GivenWeights)
        self.network = workload.weights.network
        self.states = workload.weights.states()
        self.optimizer = workload.optimizer
        dataset = mnist.load()
        batch = workload.batch
        self.rng = np.random.default_rng([*task.seed, _OWN_STREAM])
        self.pixels = pixels(dataset.test_images[:batch])
        #: Other images, for the last check.
        self.other_pixels = pixels(dataset.test_images[-batch:])
        self.labels = dataset.test_labels[: workload.batch]
        first = self.network.layers[0]
        if isinstance(first, Linear) and first.inputs != PIXELS:
            self.pixels, self.other_pixels = self.rng.random((2, first.inputs, batch), np.float32)

    @cached_property
    def oracles(self) -> list[Oracle]:
        """Return the oracle of each layer's W, as kernels are given it."""
        return [oracle_of(state.weight, self.drawn_seed()) for state in self.states]

    def drawn_seed(self) -> int:
        """Return the seed of where large results are looked at, another each time."""
        return int(self.rng.integers(1 << 32))

    @property
    def problems(self) -> list[Problem]:
        """Return the products of a step."""
        return products_of(self.network, self.states, self.pixels.shape[1])

    @property
    def description(self) -> Description:
        """Return the step as one problem."""
        zeros = float(np.mean(self.pixels == 0))
        return described(self.network, self.states, self.pixels.shape[1], zeros)

    def prepare(self, kernel: Kernel) -> tuple[Row, PreparedCall | None]:
        """Return the row so far, and the call if every product of a step is right."""
        problems = self.problems
        reasons = [kernel.unavailable(), *map(kernel.unsupported, problems)]
        if reason := next(filter(None, reasons), None) or refusal_for_size(kernel, *problems):
            return Row(kernel.name, "skipped", reason), None
        with compilation.stopwatch() as compiled:
            verdict = Step(self, kernel).check(self.drawn_seed())
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
        inside = InsideClock(step)
        call = PreparedCall(
            lambda: step(0.0), StepExaminer(step, self), {"inside": inside}, parts=inside.parts
        )
        return row, call


class Step:
    """A model that one kernel holds the weights of, ready to take steps."""

    def __init__(self, setup: StepSetup, kernel: Kernel) -> None:
        self.kernel = kernel
        self.model = Model(setup.network, setup.states, kernel, setup.pixels.shape[1])
        self.optimizer = OPTIMIZERS[setup.optimizer](self.model)
        #: Its own, to be written to; at the same place in a page for all kernels.
        self.pixels = self.model.xp.asarray(
            aligned_empty(setup.pixels.shape, setup.pixels.dtype, PAGE)
        )
        self.show(setup.pixels)
        self.labels = self.model.xp.asarray(setup.labels)

    def __call__(self, rate: float) -> Any:
        """Take a step of size ``rate`` and return the logits (10, n) before it."""
        logits, taken = self.model.forward(self.pixels)
        dlogits = loss_gradient(logits, self.labels, self.model.xp)
        self.optimizer.step(dlogits, taken, rate)
        return logits

    def show(self, pixels: Array) -> None:
        """Write other pixels (784, n) where the first layer reads them."""
        self.pixels[...] = self.model.xp.asarray(pixels)

    def check(self, seed: int) -> Verdict:
        """Take a step and return the worst verdict on its products and updates.

        ``seed`` says where large results are looked at.
        """
        examined = ExaminedKernel(self.kernel, self.model, seed)
        with self.replaced_by(examined):
            self(_CHECKED_RATE)
        return examined.worst()

    def check_unannounced(self, setup: StepSetup) -> Verdict:
        """Take a step like the timed ones; return the worst verdict on the products it recorded."""
        recording = RecordingKernel(self.kernel, self.model, setup.rng, setup.oracles)
        with self.replaced_by(recording):
            self(0.0)
        return recording.worst()

    @contextmanager
    def replaced_by(self, stand_in: StandIn) -> Iterator[None]:
        """Let ``stand_in`` do the kernel's work meanwhile."""
        self.model.kernel = cast(Kernel, stand_in)
        try:
            yield
        finally:
            self.model.kernel = self.kernel


class StepExaminer:
    """The examiner of the steps that one kernel takes."""

    def __init__(self, step: Step, setup: StepSetup) -> None:
        self._step, self._setup, self._rng = step, setup, setup.rng
        self._images, self._others = setup.pixels, setup.other_pixels
        self._shown = self._images

    def begin_turn(self, returned: Any, widely: bool) -> None:
        """Show the images in another light; spoil the gradients and the logits of before."""
        self.renew()
        for gradient in self._step.model.gradients:
            spoil(self._step.kernel, gradient, self._rng)
        if returned is not None:
            returned.fill(np.nan)

    def renew(self) -> None:
        """Show each image in another light; what is black stays black."""
        brightness = 1 - self._rng.random(self._images.shape[1], np.float32) / 2
        self._shown = self._images * brightness
        self._step.show(self._shown)

    def rewrite(self) -> None:
        """Show the images once more as they are."""
        self._step.show(self._shown)

    def glance(self, result: Any) -> str | None:
        """Return whether the logits are finite."""
        return finite(result)

    def check(self, result: Any) -> Verdict:
        """Take a step that is recorded, and at the end one that is examined; judge both."""
        verdict = self._step.check_unannounced(self._setup)
        if verdict.right and self._images is self._others:  # the end
            return self._step.check(self._setup.drawn_seed())
        return verdict

    def change_kind(self, returned: Any) -> None:
        """Show other images."""
        self._images = self._others
        self.begin_turn(returned, widely=True)


class InsideClock:
    """Sees of a step only the time inside the kernel: the passes and the updates."""

    most_loops = HostClock.most_loops

    def __init__(self, step: Step) -> None:
        self._step = step
        #: Seconds a step by what they went into, a value a round.
        self.parts: dict[str, list[float]] = {}

    def seconds(self, call: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds that ``loops`` steps spent inside the kernel, and the last result."""
        timed, result = _TimedKernel(self._step.kernel), None
        with self._step.replaced_by(timed):
            for _ in range(loops):
                result = call()
        for part, seconds in timed.parts_s.items():
            self.parts.setdefault(part, []).append(seconds / loops)
        return sum(timed.parts_s.values()), result


class _TimedKernel(StandIn):
    """Adds up the time of its passes and updates."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.parts_s: dict[str, float] = {}

    def run(self, pass_: Pass, *given: Any) -> Any:
        return self._timed(pass_, self._kernel.run, pass_, *given)

    def backward_weight(self, *given: Any) -> Any:
        return self._timed("backward_weight", self._kernel.backward_weight, *given)

    def update(self, *given: Any) -> None:
        self._timed("update", self._kernel.update, *given)

    def _timed(self, part: str, function: Callable[..., Any], *given: Any) -> Any:
        begin = time.perf_counter()
        result = function(*given)
        self.parts_s[part] = self.parts_s.get(part, 0.0) + time.perf_counter() - begin
        return result
