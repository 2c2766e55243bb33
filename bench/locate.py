"""Crossovers located on this machine: the search, fed by a worker with real layers.

Every probe prunes the layer's own trained weights to a sparsity, converts them anew and times the
kernel against the dense baselines in rounds. The next probe goes where the answer is widest.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from crossover.bench import machine
from crossover.bench.answers import Answer, Question
from crossover.bench.cell_trial import Task
from crossover.bench.cells import TRAINING_KERNEL, check_axes, runnable
from crossover.bench.errors import InputError, Interrupted
from crossover.bench.intervals import CONFIDENCE
from crossover.bench.progress import Progress, Report, ignore, training_progress
from crossover.bench.search import WIDTH, Search
from crossover.bench.trial import Outcome
from crossover.bench.worker import Worker
from crossover.bench.workloads import execution, mnist, models, pruning
from crossover.bench.workloads.models import BLOCK, Recipe, TrainedModel
from crossover.bench.workloads.networks import network
from crossover.kernels import discover
from crossover.kernels.base import Kernel, Pass, Weight

Pattern = Literal["trained", "random", "row-skewed", "block"]
PATTERNS: tuple[Pattern, ...] = ("trained", "random", "row-skewed", "block")
_DENSE_FORMATS = ("dense", "masked dense")
# Probes and later visits that a search takes on the average, for the progress bar.
_USUAL_STEPS = 25
_BETWEEN_VISITS_S = 0.5


@dataclass(frozen=True)
class Inquiry:
    """What is asked: of which layers, batches and passes, of which kernels, against what."""

    model: str = "lenet-300-100"
    #: Names; empty for all.
    layers: tuple[str, ...] = ()
    batches: tuple[int, ...] = (64,)
    passes: tuple[Pass, ...] = ("forward",)
    #: Names; empty for every sparse kernel that runs here.
    kernels: tuple[str, ...] = ()
    #: A kernel's name; empty for the fastest dense kernel of each kernel's device.
    against: str = ""
    threads: tuple[int, ...] = ()
    pattern: Pattern = "trained"
    #: Shares of zeros in X and dY, drawn to be so; None for the real ones.
    zeros: tuple[float | None, ...] = (None,)
    confidence: float = CONFIDENCE
    width: float = WIDTH
    budget_s: float = 120.0
    seed: int = 0
    modules: tuple[str, ...] = ()


def check(inquiry: Inquiry) -> dict[str, Kernel]:
    """Return the kernels by name, if ``inquiry`` is possible.

    Raises:
        InputError: if it is not; nothing was done yet.
    """
    names = [layer.name for layer in network(inquiry.model).layers]
    for layer in inquiry.layers:
        if layer not in names:
            raise InputError(f"unknown layer {layer!r}: {inquiry.model} has {', '.join(names)}")
    against = (inquiry.against,) if inquiry.against else ()
    kernels = runnable((*inquiry.kernels, *against), inquiry.modules)
    for name in inquiry.kernels:
        if name == inquiry.against or (not against and kernels[name].format == "dense"):
            raise InputError(f"kernel {name!r} would be compared with itself: give a sparse one")
    if not 0.5 <= inquiry.confidence < 1:
        raise InputError(f"confidence {inquiry.confidence:g} is outside [0.5, 1): give 0.95, say")
    if not 0.001 <= inquiry.width <= 0.2:
        raise InputError(f"width {inquiry.width:g} is outside [0.001, 0.2]: give 0.02, say")
    for zeros in inquiry.zeros:
        if zeros is not None and not 0 <= zeros < 1:
            raise InputError(f"share of zeros {zeros:g} is outside [0, 1): give 0.8, say")
    check_axes(inquiry.batches, inquiry.threads, len(mnist.load().test_images))
    models.check_cache()
    return kernels


def locate(inquiry: Inquiry, report: Report = ignore) -> list[Answer]:
    """Return the answer to each question of ``inquiry``, as narrow as the budget allows.

    Raises:
        InputError: if the inquiry is not possible, or its budget too small for any probe.
        Interrupted: if the user stops it; with the answers so far.
    """
    kernels = check(inquiry)
    dataset = mnist.load()
    recipe = Recipe(inquiry.model, dataset.digest, seed=inquiry.seed)
    tell = training_progress([recipe], report)
    trained = models.obtain(recipe, dataset, discover()[TRAINING_KERNEL], tell)
    answers = [
        Answer(question, Search(inquiry.confidence, inquiry.width))
        for question in _questions(inquiry, trained, kernels)
    ]
    if not answers:
        raise InputError("no sparse kernel can run here: see 'kernels list'")
    bench = _Bench(inquiry, trained, dataset)
    try:
        _spend(inquiry, answers, bench, report)
    except KeyboardInterrupt:
        raise Interrupted(answers) from None
    finally:
        bench.close()
    if not any(answer.begun or answer.failure for answer in answers):
        raise InputError(f"budget {inquiry.budget_s:g} s ended before any probe: give more")
    return answers


def _spend(inquiry: Inquiry, answers: list[Answer], bench: _Bench, report: Report) -> None:
    """Measure probe after probe, the widest answer first, until the budget ends.

    When all are narrow, what they rest on is visited again, in turn, an answer at most every
    ``_BETWEEN_VISITS_S``: later visits are to find the machine in other states.
    """
    begin = time.monotonic()
    end = begin + inquiry.budget_s
    visited_at = dict.fromkeys(range(len(answers)), begin)
    steps = 0
    while (now := time.monotonic()) < end:
        waiting = [
            index
            for index, answer in enumerate(answers)
            if not answer.failure and answer.search.wanted() is not None
        ]
        if not waiting:
            break
        # Of equally wide answers the one with the fewest probes, so that all begin.
        index = max(
            waiting,
            key=lambda i: (
                not answers[i].search.confirming,
                0.0 if answers[i].search.confirming else answers[i].search.open_width(),
                -len(answers[i].operands),
                -visited_at[i],
            ),
        )
        answer = answers[index]
        if answer.search.confirming:
            index = min(waiting, key=lambda i: visited_at[i])
            answer = answers[index]
            time.sleep(max(0.0, min(end, visited_at[index] + _BETWEEN_VISITS_S) - now))
        expected = max(steps + len(waiting), _USUAL_STEPS * len(answers))
        report(Progress("search", answer.question.title, steps, expected))
        bench.step(answer)
        visited_at[index] = time.monotonic()
        steps += 1
    report(Progress("search", "done", 1, 1))


def _questions(
    inquiry: Inquiry, trained: TrainedModel, kernels: Mapping[str, Kernel]
) -> list[Question]:
    running = {name: kernel for name, kernel in kernels.items() if not kernel.unavailable()}
    asked = inquiry.kernels or [
        name for name, kernel in running.items() if kernel.format not in _DENSE_FORMATS
    ]
    layers = [
        (index, layer)
        for index, layer in enumerate(trained.network.layers)
        if not inquiry.layers or layer.name in inquiry.layers
    ]
    threads_or_all = inquiry.threads or (machine.available_cores(),)
    axes = (threads_or_all, layers, inquiry.batches, inquiry.passes, inquiry.zeros, asked)
    questions = []
    for threads, (index, layer), batch, pass_, zeros, name in itertools.product(*axes):
        device = kernels[name].device
        dense = tuple(
            other
            for other, kernel in running.items()
            if kernel.format == "dense" and kernel.device == device
        )
        questions.append(
            Question(
                layer.name,
                index,
                layer.shape,
                batch,
                pass_,
                zeros,
                threads,
                name,
                device,
                (inquiry.against,) if inquiry.against else dense,
            )
        )
    return questions


class _Bench:
    """The operands and the workers that probes are measured with."""

    def __init__(self, inquiry: Inquiry, trained: TrainedModel, dataset: mnist.Dataset) -> None:
        self.inquiry = inquiry
        self.trained = trained
        self.dataset = dataset
        self.workers: dict[int, Worker] = {}
        self.operands: dict[int, list[execution.LayerOperands]] = {}
        self.tasks = 0

    def step(self, answer: Answer) -> None:
        """Measure the probe that ``answer`` wants next, and record it."""
        index = answer.question.layer_index

        def measure(sparsity: float, rounds: int) -> Sequence[float]:
            return self._measure(answer, sparsity, self._pruned(index, sparsity), rounds)

        try:
            answer.search.step(measure)
        except _KernelError as failed:
            answer.failure, answer.wrong = str(failed), failed.wrong

    def close(self) -> None:
        """End the workers."""
        for worker in self.workers.values():
            worker.close()

    def _measure(
        self, answer: Answer, sparsity: float, weight: Weight, rounds: int
    ) -> Sequence[float]:
        question = answer.question
        given = self._operands(question)
        answer.columns = given.x.shape[1]
        answer.zeros_of = float(np.mean(given.x == 0)), float(np.mean(given.dy == 0))
        worker = self.workers.setdefault(
            question.threads, Worker(question.threads, self.inquiry.modules)
        )
        self.tasks += 1
        names = list(dict.fromkeys([*question.baselines, question.kernel]))
        task = Task(
            question.pass_,
            weight,
            given.x,
            given.dy,
            names,
            0.0,
            seed=self.inquiry.seed + self.tasks,
            rounds=(rounds, rounds),
        )
        outcomes = worker.measure(task)
        for name, outcome in outcomes.items():
            if outcome.status != "measured":
                raise _KernelError(name, outcome)
        baseline = min(question.baselines, key=lambda name: np.median(outcomes[name].samples))
        dense, kernel = outcomes[baseline], outcomes[question.kernel]
        gained = float(np.median(dense.samples) - np.median(kernel.samples))
        calls = (kernel.prepare_s or 0.0) / gained if gained > 0 else float("inf")
        answer.operands[sparsity] = (kernel.nbytes or 0, dense.nbytes or 0, calls)
        return list(np.log(dense.samples) - np.log(kernel.samples))

    def _operands(self, question: Question) -> execution.LayerOperands:
        """Return X and dY of the question's layer, with the zeros that it asks for."""
        batch = question.batch
        if batch not in self.operands:
            running = execution.Model(
                self.trained.network, self.trained.states, discover()[TRAINING_KERNEL]
            )
            images, labels = self.dataset.test_images[:batch], self.dataset.test_labels[:batch]
            self.operands[batch] = execution.layer_operands(running, images, labels)
        real = self.operands[batch][question.layer_index]
        if question.zeros is None:
            return real
        rng = np.random.default_rng([self.inquiry.seed, question.layer_index])
        return execution.with_zeros(real, question.zeros, rng)

    def _pruned(self, layer_index: int, sparsity: float) -> Weight:
        """Return the layer's trained weight, pruned alone to ``sparsity`` by the pattern."""
        values = self.trained.states[layer_index].weight.values
        mask = _MASKS[self.inquiry.pattern](
            values, sparsity, np.random.default_rng([self.inquiry.seed, layer_index])
        )
        return Weight(np.where(mask, values, 0), mask)


class _KernelError(Exception):
    """Raised when a kernel of a probe could not be measured."""

    def __init__(self, name: str, outcome: Outcome) -> None:
        super().__init__(f"{name}: {outcome.reason}")
        self.wrong = outcome.status == "wrong"


_MASKS: Mapping[Pattern, Callable[[Any, float, np.random.Generator], pruning.Mask]] = {
    "trained": lambda values, sparsity, _: pruning.magnitude_masks([values], sparsity)[0],
    "random": lambda values, sparsity, rng: pruning.random_masks([values.shape], sparsity, rng)[0],
    "row-skewed": lambda values, sparsity, rng: pruning.row_skewed_masks(
        [values.shape], sparsity, rng
    )[0],
    "block": lambda values, sparsity, _: pruning.block_masks([values], sparsity, BLOCK)[0],
}
