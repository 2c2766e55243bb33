"""One training by several kernels, beside each other: from the same weights, on the same batches.

Every kernel first takes a step in which each product and update is checked by the oracle. Then
they take turns, in random order: whole epochs, whose times pair; or single steps of plain gradient
descent, after which their weights are held against a training in float64.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from crossover.bench.harness.examination.step import ExaminedKernel
from crossover.bench.harness.layer_setup import refusal_for_size
from crossover.bench.harness.task import Outcome, ReportShare, TakeTurn, Task
from crossover.bench.harness.trained.description import described, products_of
from crossover.bench.harness.trained.exact import EXACT
from crossover.bench.records.rows import Row
from crossover.bench.workloads import mnist
from crossover.bench.workloads.learned import LearnedNetwork
from crossover.bench.workloads.mnist import Dataset
from crossover.bench.workloads.training.descent import OPTIMIZERS, Adam
from crossover.bench.workloads.training.loop import BATCH, Schedule, Training
from crossover.bench.workloads.training.model import (
    Model,
    accuracy,
    loss_gradient,
    pixels,
)
from crossover.kernels.base import Kernel

#: Steps after which weights are compared: 1, 2, 4 … of these.
STEPS = 64
#: Of each optimizer.
RATES = {"sgd": 0.1, "adam": 1e-3}
#: What weights may differ by after steps of plain gradient descent, in units of the kernel's
#: rounding. No bound that follows from the arithmetic: kernels in fp32 were seen to reach 10, all
#: together 8,000 where rounding turned the input of a unit from one side of 0 to the other, so that
#: its ReLU let another gradient through (once in nine trainings of 64 steps). Of Adam there is
#: none, for it divides by what may be 0.
TOLERANCE = 16_384.0
_MOST_APART = 0.1  # whatever the kernel's rounding


@dataclass
class _Runner:
    """A kernel with the model that it trains, and what was seen of it."""

    name: str
    model: Model
    row: Row
    samples: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)

    def timed(self, call: Callable[[], object]) -> None:
        """Add the seconds that a call takes."""
        begin = time.perf_counter()
        call()
        if self.model.xp is not np:
            self.model.xp.cuda.get_current_stream().synchronize()
        self.samples.append(time.perf_counter() - begin)

    def finished(self) -> Row:
        """Return the row with all that was seen."""
        return replace(
            self.row,
            samples=self.samples,
            loops=1,
            accuracies=self.accuracies,
            differences=self.differences,
            busy_s=sum(self.samples),
        )


class _Beside:
    """What all kernels of a task share, and one runner for each that passed its check."""

    def __init__(self, task: Task, kernels: Mapping[str, Kernel], take_turn: TakeTurn) -> None:
        learned = task.problem.workload.weights
        assert isinstance(learned, LearnedNetwork)
        self.recipe, self.network = learned.training, learned.network
        self.dataset: Dataset = self.recipe.part_of(mnist.load())
        self.batch = task.problem.workload.batch
        self.optimizer = OPTIMIZERS[task.problem.workload.optimizer]
        self.rate = RATES[task.problem.workload.optimizer]
        self.states, self.draws = learned.beginning()
        self.order = np.random.default_rng(task.seed)
        self.take_turn = take_turn
        self.rows: dict[str, Row] = {}
        self.runners: list[_Runner] = []
        for name, kernel in kernels.items():
            take_turn(name)
            try:
                self.rows[name] = self._checked(kernel)
            except Exception as error:
                reason = f"raised {type(error).__name__}: {error}"
                self.rows[name] = Row(name, "failed", reason)
            if self.rows[name].status == "measured":
                self.runners.append(_Runner(name, self.model(kernel), self.rows[name]))

    def model(self, kernel: Kernel) -> Model:
        """Return the network as it is at the start, held by ``kernel``."""
        return Model(self.network, self.states, kernel, self.batch)

    def in_turns(self, action: Callable[[_Runner], None]) -> None:
        """Let every kernel act, in random order; one that raises is out."""
        for index in self.order.permutation(len(self.runners)):
            runner = self.runners[index]
            self.take_turn(runner.name)
            try:
                action(runner)
            except Exception as error:
                reason = f"raised {type(error).__name__} while it trained: {error}"
                runner.row = replace(runner.row, status="failed", reason=reason)
        self.runners = [r for r in self.runners if self._kept(r)]
        self.take_turn("")

    def outcome(self, steps: int) -> Outcome:
        """Return what was seen of all kernels, a sample of which is of so many steps."""
        for runner in self.runners:
            self._kept(runner)
        description = described(self.network, self.states, self.batch, steps=steps)
        return Outcome(description, {}, self.rows)

    def _kept(self, runner: _Runner) -> bool:
        self.rows[runner.name] = runner.finished()
        return runner.row.status == "measured"

    def _checked(self, kernel: Kernel) -> Row:
        """Return the row of a kernel whose every product and update of a step was judged."""
        problems = products_of(self.network, self.states, self.batch)
        reasons = [kernel.unavailable(), *map(kernel.unsupported, problems)]
        if reason := next(filter(None, reasons), None) or refusal_for_size(kernel, *problems):
            return Row(kernel.name, "skipped", reason)
        model = self.model(kernel)
        examined = ExaminedKernel(kernel, model, int(self.order.integers(1 << 32)))
        model.kernel = cast(Kernel, examined)
        descent = self.optimizer(model)
        images, labels = self.dataset.train_images, self.dataset.train_labels
        x = model.xp.asarray(pixels(images[: self.batch]))
        logits, taken = model.forward(x)
        y = model.xp.asarray(labels[: self.batch])
        descent.step(loss_gradient(logits, y, model.xp), taken, self.rate)
        verdict = examined.worst()
        return Row(
            kernel.name,
            "measured" if verdict.right else "wrong",
            verdict.problem or "",
            nbytes=sum(operand.nbytes for operand in model.weights),
            stored_entries=sum(operand.stored_entries for operand in model.weights),
            relative_error=verdict.relative_error,
            share_of_bound=verdict.share_of_bound,
        )


def train_epochs(
    task: Task, kernels: Mapping[str, Kernel], take_turn: TakeTurn, report_share: ReportShare
) -> Outcome:
    """Return the times of whole epochs, and the accuracy on the test set after each."""
    it = _Beside(task, kernels, take_turn)
    rate = it.recipe.rate * it.network.rate
    schedule = Schedule(it.recipe.epochs, rate, it.recipe.sparsity, it.recipe.scope)
    method = it.recipe.method if it.recipe.sparsity else None
    trainings = {
        runner.name: Training(
            runner.model, it.dataset.train_images, it.dataset.train_labels, schedule,
            copy.deepcopy(it.draws), method, it.optimizer,
        )
        for runner in it.runners
    }  # fmt: skip

    def epoch(runner: _Runner) -> None:
        runner.timed(trainings[runner.name].epoch)
        test = it.dataset.test_images, it.dataset.test_labels
        runner.accuracies.append(accuracy(runner.model, *test))

    for done in range(schedule.epochs):
        report_share(done / schedule.epochs)
        it.in_turns(epoch)
    return it.outcome(-(-len(it.dataset.train_images) // BATCH))


def take_first_steps(
    task: Task, kernels: Mapping[str, Kernel], take_turn: TakeTurn, report_share: ReportShare
) -> Outcome:
    """Return the times of single steps, and how far weights are from those of float64."""
    it = _Beside(task, kernels, take_turn)
    exact = EXACT[task.problem.workload.optimizer](it.states)
    descents = {runner.name: it.optimizer(runner.model) for runner in it.runners}
    for step in range(STEPS):
        report_share(step / STEPS)
        rows = it.draws.permutation(len(it.dataset.train_images))[: it.batch]
        x, labels = pixels(it.dataset.train_images[rows]), it.dataset.train_labels[rows]

        def take(runner: _Runner, x: Any = x, labels: Any = labels) -> None:
            descent = descents[runner.name]
            runner.timed(lambda: _step(runner.model, descent, x, labels, it.rate))

        it.in_turns(take)
        exact.step(x, labels, it.rate)
        done = step + 1
        if done & (done - 1) == 0:
            for runner in it.runners:
                runner.differences.append(exact.difference(runner.model.states()))
                if it.optimizer is not Adam:
                    runner.row = _judged(runner, done)
    return it.outcome(1)


def _step(model: Model, descent: Any, x: Any, labels: Any, rate: float) -> None:
    logits, taken = model.forward(model.xp.asarray(x))
    y = model.xp.asarray(labels)
    descent.step(loss_gradient(logits, y, model.xp), taken, rate)


def _judged(runner: _Runner, steps: int) -> Row:
    """Return the row, wrong if its weights differ by more than they may after so many steps."""
    arithmetic = runner.model.kernel.arithmetic["float32"]
    roundoff = max(arithmetic.operand_roundoff, arithmetic.sum_roundoff)
    most = min(TOLERANCE * roundoff, _MOST_APART)
    found = runner.differences[-1]
    if found <= most or runner.row.status != "measured":  # NaN is not
        return runner.row
    reason = f"after {steps} steps its weights differ from float64's by {found:.2g}, not {most:.2g}"
    return replace(runner.row, status="wrong", reason=reason)
