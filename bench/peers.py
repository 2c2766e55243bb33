"""Ours against every peer: which kernels, on which matrices, and one interleaved run over them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from crossover.bench import machine
from crossover.bench.ceilings import Ceilings
from crossover.bench.cell_trial import Task
from crossover.bench.cells import TRAINING_KERNEL, check_axes, runnable
from crossover.bench.errors import InputError, Interrupted
from crossover.bench.progress import Progress, Report, ignore, training_progress
from crossover.bench.worker import Worker, in_fresh_process
from crossover.bench.workloads import files, mnist, models, pruning
from crossover.bench.workloads.models import Recipe
from crossover.kernels import discover
from crossover.kernels.base import PASSES, Array, Kernel, Pass, Weight

#: Sparse kernels of libraries, and the dense baselines.
PEERS = (
    "scipy-csr",
    "scipy-csc",
    "scipy-bsr",
    "mkl-csr",
    "mkl-csr-hinted",
    "torch-csr",
    "torch-bsr",
)
DENSE = ("numpy-dense", "torch-dense", "numba-dense")
_LEAST_ROUNDS, _MOST_ROUNDS = 6, 30
_SHARE_S = 0.25


@dataclass(frozen=True)
class Contest:
    """What is compared, and on what."""

    #: Ours.
    kernels: tuple[str, ...] = ("numba-tiled", "numba-sell")
    models: tuple[str, ...] = ("lenet-300-100",)
    #: Whether they, and the squares, are pruned in blocks.
    blocks: bool = False
    sparsities: tuple[float, ...] = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
    #: Sides of square matrices of random numbers.
    squares: tuple[int, ...] = (256, 512, 1024, 2048, 4096, 8192)
    #: A folder with ``.smtx`` files.
    dlmc: Path | None = None
    batches: tuple[int, ...] = (1, 8, 16, 64, 256, 1024)
    passes: tuple[Pass, ...] = PASSES
    threads: int = 0
    budget_s: float = 600.0
    seed: int = 0


@dataclass(frozen=True)
class Match:
    """One problem in which kernels met."""

    group: str
    name: str
    pass_: Pass
    m: int
    k: int
    n: int
    nnz: int
    #: Seconds per call and round of each kernel that ran, by name.
    samples: Mapping[str, list[float]]
    nbytes: Mapping[str, int]
    #: Why a kernel did not run, by name.
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class Entry:
    """A matrix that kernels meet on; made when it is needed."""

    group: str
    name: str
    shape: tuple[int, int]
    weight: Callable[[], Weight]


def check(contest: Contest) -> dict[str, Kernel]:
    """Return all kernels by name, if ``contest`` is possible.

    Raises:
        InputError: if it is not; nothing was done yet.
    """
    kernels = runnable(contest.kernels)
    for batch in contest.batches:
        if batch < 1:
            raise InputError(f"batch {batch} is below 1")
    for side in contest.squares:
        if not 1 <= side <= 1 << 15:
            raise InputError(f"square of side {side} is outside 1 to {1 << 15}")
    if not (contest.models or contest.squares or contest.dlmc):
        raise InputError("nothing to compare on: give --model, --squares or --dlmc")
    check_axes((), [contest.threads] if contest.threads else (), 0)
    return kernels


def compete(contest: Contest, report: Report = ignore) -> tuple[list[Match], int, Ceilings]:
    """Return the matches that the budget allowed, of how many there are, and the ceilings.

    The matches come in random order, so that a budget that ends early leaves a fair sample.

    Raises:
        InputError: if the contest is not possible.
        Interrupted: if the user stops it; with what it would return.
    """
    kernels = check(contest)
    threads = contest.threads or machine.available_cores()
    entries = list(_entries(contest, report))
    check_room([entry.shape for entry in entries], contest.batches)
    ceilings = in_fresh_process(_ceilings, threads)
    names = [n for n in (*contest.kernels, *PEERS, *DENSE) if not kernels[n].unavailable()]
    rng = np.random.default_rng(contest.seed)
    # By entry, so that each matrix is made once; entries in random order.
    order = [entries[i] for i in rng.permutation(len(entries))]
    total = len(entries) * len(contest.passes) * len(contest.batches)
    matches: list[Match] = []
    end = time.monotonic() + contest.budget_s
    worker = Worker(threads)
    try:
        for entry in order:
            if time.monotonic() >= end:
                break
            weight = entry.weight()
            for pass_, n in itertools.product(contest.passes, contest.batches):
                if time.monotonic() >= end and matches:
                    break
                report(Progress("contest", f"{entry.name} {pass_} {n}", len(matches), total))
                matches.append(_meet(entry, weight, pass_, n, names, worker, len(matches)))
        report(Progress("contest", "done", 1, 1))
    except KeyboardInterrupt:
        if not matches:
            raise
        raise Interrupted((matches, total, ceilings)) from None
    finally:
        worker.close()
    return matches, total, ceilings


def _ceilings(threads: int) -> Ceilings:
    from crossover.bench import ceilings

    return ceilings.measure(threads)


def _entries(contest: Contest, report: Report) -> Iterator[Entry]:
    """Yield every matrix of the contest."""
    yield from _trained(contest, report)
    if contest.dlmc is not None:
        for path in files.patterns(contest.dlmc):
            yield _file(path, contest.dlmc, contest.seed)
    for side, sparsity in itertools.product(contest.squares, contest.sparsities):
        name = f"{side} × {side}, {100 * sparsity:g} %"
        yield Entry("squares", name, (side, side), partial(_random, side, sparsity, contest))


def _trained(contest: Contest, report: Report) -> Iterator[Entry]:
    """Yield the layers of the trained and pruned networks."""
    if not contest.models:
        return
    dataset, kernel = mnist.load(), discover()[TRAINING_KERNEL]
    recipes = [
        Recipe(name, dataset.digest, sparsity, "block" if contest.blocks else "gradual")
        for name in contest.models
        for sparsity in contest.sparsities
    ]
    tell = training_progress(recipes, report)
    for recipe in recipes:
        trained = models.obtain(recipe, dataset, kernel, tell)
        for layer, state in zip(trained.network.layers, trained.states, strict=True):
            name = f"{recipe.network} {layer.name}, {100 * recipe.sparsity:g} % of the network"
            yield Entry("MNIST", name, layer.shape, partial(getattr, state, "weight"))


def _file(path: Path, folder: Path, seed: int) -> Entry:
    drawn = files.weight(path, np.random.default_rng(seed))
    return Entry("DLMC", str(path.relative_to(folder)), drawn.shape, lambda: drawn)


def _random(side: int, sparsity: float, contest: Contest) -> Weight:
    """Return a square weight with a random pattern, of blocks or of entries."""
    rng = np.random.default_rng([contest.seed, side])
    return pruning.random_weight((side, side), sparsity, rng, contest.blocks)


def check_room(shapes: Sequence[tuple[int, int]], batches: Sequence[int]) -> None:
    """Raise if the largest problem does not fit into the free memory.

    The operands are copied to the worker; the reference is in float64: W, X, dY and two results.

    Raises:
        InputError: if so.
    """
    (m, k), n = max(shapes, key=sum), max(batches)
    needed, free = 12 * (m + k) * n + 24 * (m * k + (m + k) * n), machine.free_bytes()
    if needed > free:
        raise InputError(f"{m} × {k}, batch {n}: {machine.too_little(needed, free)}")


def random_operands(weight: Weight, n: int, seed: int) -> tuple[Array, Array]:
    """Return X (k, n) and dY (m, n) without zeros."""
    rng = np.random.default_rng(seed)
    m, k = weight.shape
    return rng.standard_normal((k, n), np.float32), rng.standard_normal((m, n), np.float32)


def _meet(
    entry: Entry,
    weight: Weight,
    pass_: Pass,
    n: int,
    names: Sequence[str],
    worker: Worker,
    seed: int,
) -> Match:
    m, k = weight.shape
    x, dy = random_operands(weight, n, seed)
    rounds = _LEAST_ROUNDS, _MOST_ROUNDS
    outcomes = worker.measure(Task(pass_, weight, x, dy, names, _SHARE_S, seed, rounds))
    ran = {name: each for name, each in outcomes.items() if each.status == "measured"}
    return Match(
        entry.group,
        entry.name,
        pass_,
        m,
        k,
        n,
        weight.nnz,
        {name: each.samples for name, each in ran.items()},
        {name: each.nbytes or 0 for name, each in ran.items()},
        {name: each.reason for name, each in outcomes.items() if name not in ran},
    )
