"""One training step of a network, kernel by kernel: what is asked, and the visits that answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from crossover.bench import machine
from crossover.bench.cells import TRAINING_KERNEL, check_axes, runnable
from crossover.bench.errors import InputError, Interrupted
from crossover.bench.intervals import Interval, paired_speedup
from crossover.bench.peers import DENSE, PEERS
from crossover.bench.progress import Progress, Report, ignore, training_progress
from crossover.bench.step_trial import LEAST_ROUNDS, StepTask
from crossover.bench.timing import MOST_ROUNDS
from crossover.bench.trial import Outcome
from crossover.bench.worker import Worker
from crossover.bench.workloads import execution, mnist, models, pruning, training
from crossover.bench.workloads.execution import LayerState
from crossover.bench.workloads.models import Recipe
from crossover.bench.workloads.networks import network
from crossover.kernels import discover
from crossover.kernels.base import PASSES, Kernel

#: ``trained``: trained and pruned; ``initial``: He-initialised, the largest stay; ``random``:
#: He-initialised, a random choice stays.
Pattern = Literal["trained", "initial", "random"]
PATTERNS: tuple[Pattern, ...] = ("trained", "initial", "random")
MASKED = "masked dense"
_OURS = ("numba-tiled", "numba-csr")
_MASKED_DENSE = ("numpy-masked-update", "numpy-masked-call")
# Visits to each problem: between them the operands move in memory, and the machine may change.
_VISITS = 3
_NEW = Outcome("measured")


@dataclass(frozen=True)
class StepInquiry:
    """What is asked: of which network, with which batches, of which kernels."""

    model: str = "wide"
    sparsities: tuple[float, ...] = (0.9,)
    batches: tuple[int, ...] = (64, 256)
    #: Names; empty for ours, the masked dense ones, and every peer that runs here.
    kernels: tuple[str, ...] = ()
    #: None for ``trained`` where such a network is kept, else ``initial``.
    pattern: Pattern | None = None
    optimizer: str = "sgd"
    #: 0 for all cores.
    threads: int = 0
    budget_s: float = 60.0
    seed: int = 0
    modules: tuple[str, ...] = ()


@dataclass
class StepTimes:
    """A step of one network with one batch, and what was measured of each kernel."""

    model: str
    sparsity: float
    batch: int
    threads: int
    optimizer: str
    #: Where the weights are from.
    pattern: Pattern
    nnz: int
    useful_flops: float
    formats: Mapping[str, str]
    devices: Mapping[str, str]
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def measured(self) -> dict[str, Outcome]:
        """Return the outcomes of the kernels that were right and ran to the end."""
        return {n: each for n, each in self.outcomes.items() if each.status == "measured"}

    def baseline(self, kernel: str) -> str | None:
        """Return the fastest masked dense kernel on the device of ``kernel``, if one ran."""
        masked = [
            name
            for name in self.measured
            if self.formats[name] == MASKED and self.devices[name] == self.devices[kernel]
        ]
        return min(masked, key=lambda name: np.median(self.outcomes[name].samples), default=None)

    def speedup(self, kernel: str) -> Interval | None:
        """Return baseline time / ``kernel``'s time, paired by rounds; None without a baseline."""
        baseline = self.baseline(kernel)
        if baseline is None:
            return None
        return _paired(self.outcomes[baseline].samples, self.outcomes[kernel].samples)

    def speedup_inside(self, kernel: str) -> Interval | None:
        """Return the speedup of passes and updates alone; None on a GPU or without a baseline."""
        baseline = self.baseline(kernel)
        if baseline is None:
            return None
        return _paired(self.outcomes[baseline].inside_samples, self.outcomes[kernel].inside_samples)


def _paired(one: Sequence[float], two: Sequence[float]) -> Interval | None:
    return paired_speedup(one, two) if one and len(one) == len(two) else None


def check(inquiry: StepInquiry) -> dict[str, Kernel]:
    """Return the kernels to measure by name, if ``inquiry`` is possible.

    Raises:
        InputError: if it is not; nothing was done yet.
    """
    network(inquiry.model)
    kernels = runnable(inquiry.kernels, inquiry.modules)
    for name in inquiry.kernels:
        if missing := [pass_ for pass_ in PASSES if pass_ not in kernels[name].passes]:
            raise InputError(f"kernel {name!r} has no {missing[0]} pass: a step needs all three")
    usual = [*_OURS, *_MASKED_DENSE, *DENSE, *PEERS]
    chosen = inquiry.kernels or [name for name in usual if _takes_steps(kernels[name])]
    masked = {kernels[name].device for name in chosen if kernels[name].format == MASKED}
    for name in chosen:
        if (device := kernels[name].device) not in masked:
            raise InputError(
                f"nothing to compare {name!r} with: give a masked dense kernel of {device} too, "
                f"of {', '.join(n for n, k in kernels.items() if k.format == MASKED)}"
            )
    threads = [inquiry.threads] if inquiry.threads else []
    check_axes(inquiry.batches, threads, len(mnist.load().test_images))
    models.check_cache()
    return {name: kernels[name] for name in chosen}


def measure(inquiry: StepInquiry, report: Report = ignore) -> list[StepTimes]:
    """Return the times of a step for each sparsity and batch of ``inquiry``.

    Raises:
        InputError: if the inquiry is not possible.
        Interrupted: if the user stops it; with what was measured.
    """
    kernels = check(inquiry)
    threads = inquiry.threads or machine.available_cores()
    found = [
        (times, task)
        for sparsity in inquiry.sparsities
        for times, task in _problems(inquiry, kernels, threads, sparsity, report)
    ]
    share_s = inquiry.budget_s / (_VISITS * max(1, len(found)))
    worker = Worker(threads, inquiry.modules)
    try:
        visits = found * _VISITS
        for done, (times, task) in enumerate(visits):
            report(Progress("step", f"batch {times.batch}", done, len(visits)))
            _visit(times, replace(task, seed=[inquiry.seed, done], budget_s=share_s), worker)
    except KeyboardInterrupt:
        begun = [times for times, _ in found if times.measured]
        if not begun:
            raise
        raise Interrupted(begun) from None
    finally:
        worker.close()
    report(Progress("step", "done", 1, 1))
    return [times for times, _ in found]


def _takes_steps(kernel: Kernel) -> bool:
    return kernel.unavailable() is None and kernel.passes == PASSES


def _visit(times: StepTimes, task: StepTask, worker: Worker) -> None:
    """Measure the kernels that are still in the race, and join what was found before."""
    running = [name for name in task.kernels if times.outcomes.get(name, _NEW).status == "measured"]
    for name, outcome in worker.measure(replace(task, kernels=running)).items():
        before = times.outcomes.get(name)
        times.outcomes[name] = before.joined(outcome) if before else outcome


def _problems(
    inquiry: StepInquiry,
    kernels: Mapping[str, Kernel],
    threads: int,
    sparsity: float,
    report: Report,
) -> Iterator[tuple[StepTimes, StepTask]]:
    """Yield a network of one sparsity with each batch, the first images of the test set."""
    dataset = mnist.load()
    states, origin = _weights(inquiry, sparsity, dataset, report)
    for batch in inquiry.batches:
        images, labels = dataset.test_images[:batch], dataset.test_labels[:batch]
        task = StepTask(
            network(inquiry.model),
            states,
            execution.pixels(images),
            labels,
            inquiry.optimizer,
            list(kernels),
            0.0,
            0,
            rounds=(LEAST_ROUNDS, MOST_ROUNDS // _VISITS),
        )
        times = StepTimes(
            model=inquiry.model,
            sparsity=sparsity,
            batch=batch,
            threads=threads,
            optimizer=inquiry.optimizer,
            pattern=origin,
            nnz=sum(state.weight.nnz for state in states),
            useful_flops=task.useful_flops,
            formats={name: kernel.format for name, kernel in kernels.items()},
            devices={name: kernel.device for name, kernel in kernels.items()},
        )
        yield times, task


def _weights(
    inquiry: StepInquiry, sparsity: float, dataset: mnist.Dataset, report: Report
) -> tuple[Sequence[LayerState], Pattern]:
    """Return the layers to take a step with, and where they are from."""
    recipe = Recipe(inquiry.model, dataset.digest, sparsity, seed=inquiry.seed)
    kept = models.checkpoint_path(recipe).exists()
    if inquiry.pattern == "trained" or (inquiry.pattern is None and kept):
        tell = training_progress([recipe], report)
        trained = models.obtain(recipe, dataset, discover()[TRAINING_KERNEL], tell)
        return trained.states, "trained"
    rng = np.random.default_rng(inquiry.seed)
    states = training.initial_state(network(inquiry.model), rng)
    if inquiry.pattern == "random":
        masks = pruning.random_masks([state.weight.shape for state in states], sparsity, rng)
        return models.masked(states, masks), "random"
    masks = pruning.magnitude_masks([state.weight.values for state in states], sparsity)
    return models.masked(states, masks), "initial"
