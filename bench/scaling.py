"""All threads against one: two workers that visit the same problems in turn."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from crossover.bench import machine
from crossover.bench.alternating import balanced_orders
from crossover.bench.cell_trial import Task
from crossover.bench.cells import check_axes, runnable
from crossover.bench.errors import InputError, Interrupted
from crossover.bench.peers import check_room, random_operands
from crossover.bench.progress import Progress, Report, ignore
from crossover.bench.trial import Outcome
from crossover.bench.worker import Worker
from crossover.bench.workloads import pruning
from crossover.kernels.base import PASSES, Pass, Weight

# Of each worker to each problem; a pair of them is the statistical unit.
_VISITS = 8
_ROUNDS = 10


@dataclass(frozen=True)
class ScalingInquiry:
    """What is asked: of which kernels, on which random matrices."""

    kernels: tuple[str, ...] = ("numba-tiled",)
    #: (m, k): the two large layers of ``wide``, and squares.
    shapes: tuple[tuple[int, int], ...] = ((1024, 784), (1024, 1024), (2048, 2048), (4096, 4096))
    sparsities: tuple[float, ...] = (0.8, 0.9)
    batches: tuple[int, ...] = (64, 256)
    passes: tuple[Pass, ...] = PASSES
    #: How many threads against one; 0 for all cores.
    threads: int = 0
    budget_s: float = 600.0
    seed: int = 0
    modules: tuple[str, ...] = ()


@dataclass
class Scaled:
    """One kernel on one problem, on one thread and on several."""

    kernel: str
    pass_: Pass
    shape: tuple[int, int]
    n: int
    nnz: int
    threads: int
    #: Median seconds per call of each visit, by the number of threads; visits pair.
    visits: dict[int, list[float]] = field(default_factory=dict)
    #: Why the kernel could not be measured, if so; ``wrong`` if its result was.
    failure: str = ""
    wrong: bool = False

    @property
    def title(self) -> str:
        """Return the problem in a few words."""
        m, k = self.shape
        return f"{self.kernel} {self.pass_} {m} × {k}, {self.sparsity:.0%}, batch {self.n}"

    @property
    def sparsity(self) -> float:
        """Return 1 - nnz / (m k)."""
        return 1 - self.nnz / (self.shape[0] * self.shape[1])


def check(inquiry: ScalingInquiry) -> int:
    """Return how many threads are held against one, if ``inquiry`` is possible.

    Raises:
        InputError: if it is not; nothing was done yet.
    """
    kernels = runnable(inquiry.kernels, inquiry.modules)
    for name in inquiry.kernels:
        if kernels[name].device != "cpu":
            raise InputError(f"kernel {name!r} runs on {kernels[name].device}: give one of the CPU")
    for batch in inquiry.batches:
        if batch < 1:
            raise InputError(f"batch {batch} is below 1")
    check_room(inquiry.shapes, inquiry.batches)
    threads = inquiry.threads or machine.available_cores()
    if threads < 2:
        raise InputError(f"threads {threads} against one: at least 2 are needed, on as many cores")
    check_axes((), [threads], 0)
    return threads


def measure(inquiry: ScalingInquiry, report: Report = ignore) -> tuple[list[Scaled], int]:
    """Return what the budget allowed to measure, and how many problems there are.

    Matrices come in random order, so that a budget that ends early leaves a fair sample.

    Raises:
        InputError: if the inquiry is not possible.
        Interrupted: if the user stops it; with what it would return.
    """
    threads = check(inquiry)
    rng = np.random.default_rng(inquiry.seed)
    matrices = list(itertools.product(inquiry.shapes, inquiry.sparsities))
    each = list(itertools.product(inquiry.passes, inquiry.batches))
    total, done = len(matrices) * len(each), 0
    found: list[Scaled] = []
    end = time.monotonic() + inquiry.budget_s
    workers = {count: Worker(count, inquiry.modules) for count in (1, threads)}
    try:
        for place in rng.permutation(len(matrices)):
            shape, sparsity = matrices[place]
            if found and time.monotonic() >= end:
                break
            drawn = np.random.default_rng([inquiry.seed, int(place)])
            weight = pruning.random_weight(shape, sparsity, drawn)
            for pass_, n in each:
                if found and time.monotonic() >= end:
                    break
                report(Progress("scaling", f"{shape[0]} × {shape[1]} {pass_} {n}", done, total))
                found += _meet(inquiry.kernels, weight, pass_, n, workers, rng)
                done += 1
        report(Progress("scaling", "done", 1, 1))
    except KeyboardInterrupt:
        if not found:
            raise
        raise Interrupted((found, total * len(inquiry.kernels))) from None
    finally:
        for worker in workers.values():
            worker.close()
    return found, total * len(inquiry.kernels)


def _meet(
    kernels: Sequence[str],
    weight: Weight,
    pass_: Pass,
    n: int,
    workers: dict[int, Worker],
    rng: np.random.Generator,
) -> list[Scaled]:
    """Measure kernels on one problem, the workers taking turns."""
    found = {
        name: Scaled(name, pass_, weight.shape, n, weight.nnz, max(workers)) for name in kernels
    }
    x, dy = random_operands(weight, n, int(rng.integers(1 << 31)))
    for order in balanced_orders(list(workers), _VISITS, rng):
        running = [name for name, each in found.items() if not each.failure]
        seed = int(rng.integers(1 << 31))
        task = Task(pass_, weight, x, dy, running, 0.0, seed, (_ROUNDS, _ROUNDS))
        for threads in order:
            for name, outcome in workers[threads].measure(task).items():
                _note(found[name], threads, outcome)
    return list(found.values())


def _note(scaled: Scaled, threads: int, outcome: Outcome) -> None:
    if outcome.status == "measured":
        scaled.visits.setdefault(threads, []).append(float(np.median(outcome.samples)))
    else:
        scaled.failure, scaled.wrong = outcome.reason, outcome.status == "wrong"
