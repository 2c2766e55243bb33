"""All threads against one: two settings whose workers visit the same problems in turn."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from crossover.bench.errors import InputError
from crossover.bench.harness.sources import runnable
from crossover.bench.options import common
from crossover.bench.options.declaration import option
from crossover.bench.options.values import shape
from crossover.bench.studies.kernels.peers import check_room
from crossover.bench.studies.study import (
    PlannedStudy,
    PlannedVisit,
    Report,
    balanced_orders,
    threads_or_all,
)
from crossover.bench.workloads.matrices import RandomMatrix
from crossover.bench.workloads.problem import Problem, Setting, Workload
from crossover.kernels.base import PASSES, Pass

# To each problem with each number of threads; a pair of them is the statistical unit.
_VISITS = 8
_ROUNDS = 10


@dataclass(frozen=True)
class ScalingSpec:
    """Which kernels, on which random matrices."""

    kernels: tuple[str, ...] = common.kernels(("numba-tiled",), "numba-tiled")
    shapes: tuple[tuple[int, int], ...] = option(
        ((1024, 784), (1024, 1024), (2048, 2048), (4096, 4096)),
        "--shape",
        metavar="MxK",
        convert=shape,
        help="of random matrices, outputs x inputs",
    )
    sparsities: tuple[float, ...] = common.sparsities((0.8, 0.9))
    batches: tuple[int, ...] = common.batches((64, 256))
    passes: tuple[Pass, ...] = common.passes(PASSES, "all")
    threads: int = common.one_threads()
    budget_s: float = common.budget(600.0)
    seed: int = common.seed()
    modules: tuple[str, ...] = common.modules()


class Scaling(PlannedStudy):
    """Eight visits with each number of threads to each problem, in balanced order.

    Matrices come in random order, so that a budget that ends early leaves a fair sample.
    """

    name = "scaling"
    phase = "scaling"
    # Both workers live as long: their visits to a problem are paired.
    process_life_s = 120.0

    def __init__(self, spec: ScalingSpec) -> None:
        """Check what is asked.

        Raises:
            InputError: if a part of it is not possible; nothing was done yet.
        """
        super().__init__()
        self.spec = spec
        kernels = runnable(self.source, spec.kernels)
        for name in spec.kernels:
            if kernels[name].device != "cpu":
                raise InputError(
                    f"kernel {name!r} runs on {kernels[name].device}: give one of the CPU"
                )
        check_room(list(spec.shapes), spec.batches)
        (most,) = threads_or_all([spec.threads] if spec.threads else ())
        if most < 2:
            raise InputError(f"threads {most} against one: at least 2 are needed, on as many cores")
        self._threads = (1, most)

    @property
    def threads(self) -> tuple[int, ...]:
        """Return the numbers of threads that are compared."""
        return self._threads

    def plan(self, report: Report) -> list[PlannedVisit]:
        """Return every visit."""
        spec, rng = self.spec, np.random.default_rng(self.spec.seed)
        matrices = list(itertools.product(spec.shapes, spec.sparsities))
        planned = []
        for place in rng.permutation(len(matrices)):
            (m, k), sparsity = matrices[place]
            matrix = RandomMatrix("random", m, k, sparsity, seed=spec.seed)
            for pass_, batch in itertools.product(spec.passes, spec.batches):
                workload = Workload(matrix, pass_, batch)
                for order in balanced_orders(self._threads, _VISITS, rng):
                    planned += [
                        PlannedVisit(
                            Problem(workload, Setting(threads)), spec.kernels, (_ROUNDS, _ROUNDS)
                        )
                        for threads in order
                    ]
        return planned
