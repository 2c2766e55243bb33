"""Ours against every peer: on pruned layers, files of patterns, and squares, in random order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossover.bench.errors import InputError
from crossover.bench.harness.race import LEAST_ROUNDS
from crossover.bench.harness.sources import runnable
from crossover.bench.machine.memory import free_bytes, too_little
from crossover.bench.options import common
from crossover.bench.options.declaration import option
from crossover.bench.options.values import non_negative_int
from crossover.bench.studies.given import source_of
from crossover.bench.studies.networks import Pruning
from crossover.bench.studies.study import PlannedStudy, PlannedVisit, Report, threads_or_all
from crossover.bench.workloads import checkpoints
from crossover.bench.workloads.matrices import MatrixPattern, RandomMatrix, pattern_file
from crossover.bench.workloads.problem import Problem, Setting, Workload
from crossover.bench.workloads.readers import smtx
from crossover.bench.workloads.recipes import WeightRecipe
from crossover.kernels.base import PASSES, Pass

_MOST_ROUNDS = 30
_SHARE_S = 0.25
_LARGEST_SIDE = 1 << 15


@dataclass(frozen=True)
class PeersSpec:
    """What is compared, and on what."""

    kernels: tuple[str, ...] = common.kernels((), "all of ours that run here")
    networks: tuple[str, ...] = option(
        ("lenet-300-100",),
        "--network",
        metavar="NAME",
        none=True,
        help="networks whose pruned layers are compared on, or none",
    )
    pattern: MatrixPattern = option(
        "random",
        "--pattern",
        choices=("random", "block"),
        help="of squares; block prunes networks in blocks, too",
    )
    sparsities: tuple[float, ...] = common.sparsities((0.5, 0.7, 0.8, 0.9, 0.95, 0.98))
    squares: tuple[int, ...] = option(
        (256, 512, 1024, 2048, 4096, 8192),
        "--squares",
        metavar="SIDE",
        convert=non_negative_int,
        none=True,
        help="sides of square matrices of random numbers, or none",
    )
    dlmc: Path | None = option(
        None, "--dlmc", metavar="DIR", convert=Path, help="a folder with .smtx files"
    )
    batches: tuple[int, ...] = common.batches((1, 8, 16, 64, 256, 1024))
    passes: tuple[Pass, ...] = common.passes(PASSES, "all")
    threads: int = common.one_threads()
    budget_s: float = common.budget(600.0)
    seed: int = common.seed()
    modules: tuple[str, ...] = common.modules()


class Peers(PlannedStudy):
    """One visit to every problem, in random order, for a budget that ends early to be fair."""

    name = "peers"

    def __init__(self, spec: PeersSpec) -> None:
        """Check what is asked.

        Raises:
            InputError: if a part of it is not possible; nothing was done yet.
        """
        super().__init__()
        self.spec = spec
        runnable(self.source, spec.kernels)
        self._networks = [source_of(name) for name in spec.networks]
        for each in self._networks:
            each.check_batches(spec.batches)
        for side in spec.squares:
            if not 1 <= side <= _LARGEST_SIDE:
                raise InputError(f"square of side {side} is outside 1 to {_LARGEST_SIDE}")
        if not (spec.networks or spec.squares or spec.dlmc):
            raise InputError("nothing to compare on: give --network, --squares or --dlmc")
        self._threads = threads_or_all([spec.threads] if spec.threads else ())
        self._files = smtx.patterns(spec.dlmc) if spec.dlmc else []
        check_room([(side, side) for side in spec.squares], spec.batches)
        checkpoints.check_cache()

    @property
    def threads(self) -> tuple[int, ...]:
        """Return the number of threads that it measures with."""
        return self._threads

    @property
    def asked(self) -> tuple[str, ...]:
        """Return the kernels that take part: ours, every peer and every dense one."""
        running = {n: k for n, k in self.kernels.items() if not k.unavailable()}
        device = {self.kernels[name].device for name in self.spec.kernels} or {"cpu"}
        there = {n: k for n, k in running.items() if k.device in device}
        ours = self.spec.kernels or tuple(n for n, k in there.items() if k.role == "ours")
        others = [n for n, k in there.items() if k.role in ("peer", "dense") and n not in ours]
        return (*ours, *others)

    def plan(self, report: Report) -> list[PlannedVisit]:
        """Return a visit per problem; by matrix, so that each is made once."""
        recipes = list(self._recipes(report))
        rng = np.random.default_rng(self.spec.seed)
        setting = Setting(self._threads[0])
        return [
            PlannedVisit(
                Problem(Workload(recipes[index], pass_, batch, seed=self.spec.seed), setting),
                self.asked,
                (LEAST_ROUNDS, _MOST_ROUNDS),
                _SHARE_S,
            )
            for index in rng.permutation(len(recipes))
            for pass_, batch in itertools.product(self.spec.passes, self.spec.batches)
        ]

    def _recipes(self, report: Report) -> Iterator[WeightRecipe]:
        """Yield every matrix."""
        spec = self.spec
        how = "block" if spec.pattern == "block" else "gradual"
        for each in self._networks:
            for layers in each.at(Pruning(spec.sparsities, how, "global", 0), report):
                yield from layers
        if spec.dlmc is not None:
            yield from (pattern_file(path, spec.dlmc, spec.seed) for path in self._files)
        for side, sparsity in itertools.product(spec.squares, spec.sparsities):
            yield RandomMatrix("squares", side, side, sparsity, spec.pattern, spec.seed)


def check_room(shapes: list[tuple[int, int]], batches: tuple[int, ...]) -> None:
    """Raise if the largest problem does not fit into the free memory.

    Operands are in float32; the reference is in float64: W, X, dY and two results.

    Raises:
        InputError: if so.
    """
    if not shapes:
        return
    (m, k), n = max(shapes, key=sum), max(batches)
    needed, free = 12 * (m + k) * n + 24 * (m * k + (m + k) * n), free_bytes()
    if needed > free:
        raise InputError(f"{m} × {k}, batch {n}: {too_little(needed, free)}")
