"""What a kernel chooses by itself, against every other choice, on a sample of problems."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from crossover.bench.errors import InputError
from crossover.bench.harness.sources import Discovered, KernelSource, known, runnable
from crossover.bench.options import common
from crossover.bench.options.declaration import option
from crossover.bench.options.values import shape
from crossover.bench.studies.kernels.peers import check_room
from crossover.bench.studies.study import PlannedStudy, PlannedVisit, Report, threads_or_all
from crossover.bench.workloads.matrices import RandomMatrix
from crossover.bench.workloads.problem import Problem, Setting, Workload
from crossover.kernels import variants
from crossover.kernels.base import PASSES, Kernel, Pass
from crossover.kernels.base import Problem as Product

# A visit chooses the best of the others: of three, two others.
_VISITS = 3
_ROUNDS = 12, 40
_SHARE_S = 0.15


@dataclass(frozen=True)
class RegretSpec:
    """Whose choices, on which random matrices."""

    kernel: str = option(
        "numba-tiled", "--kernel", metavar="NAME", help="a kernel that makes choices"
    )
    shapes: tuple[tuple[int, int], ...] = option(
        ((100, 300), (300, 784), (512, 512), (512, 2048), (1024, 1024), (2048, 512)),
        "--shape",
        metavar="MxK",
        convert=shape,
        help="of random matrices, outputs x inputs",
    )
    sparsities: tuple[float, ...] = common.sparsities((0.5, 0.8, 0.9, 0.95, 0.98))
    batches: tuple[int, ...] = common.batches((1, 4, 8, 16, 32, 64, 256))
    passes: tuple[Pass, ...] = common.passes(PASSES, "all")
    threads: int = common.one_threads()
    budget_s: float = common.budget(600.0)
    seed: int = common.seed()
    modules: tuple[str, ...] = common.modules()


class Regret(PlannedStudy):
    """Three visits to each problem, by processes of their own, in random order of problems.

    A budget that ends early leaves a fair sample.
    """

    name = "regret"
    phase = "regret"

    def __init__(self, spec: RegretSpec) -> None:
        """Check what is asked.

        Raises:
            InputError: if a part of it is not possible; nothing was done yet.
        """
        super().__init__()
        self.spec = spec
        kernel = known(Discovered(spec.modules), [spec.kernel])[spec.kernel]
        self._module = variants.module_of(kernel)
        if not self._module:
            able = [n for n, each in Discovered(spec.modules).load().items() if each.variants]
            raise InputError(
                f"kernel {spec.kernel!r} makes no choices that were given variants: "
                f"give {' or '.join(able)}"
            )
        runnable(self.source, [spec.kernel])
        check_room(list(spec.shapes), spec.batches)
        self._threads = threads_or_all([spec.threads] if spec.threads else ())

    @property
    def source(self) -> KernelSource:
        """Return where its kernels are from: the variants are among them."""
        return Discovered((*self.spec.modules, self._module))

    @property
    def threads(self) -> tuple[int, ...]:
        """Return the number of threads that it measures with."""
        return self._threads

    def plan(self, report: Report) -> list[PlannedVisit]:
        """Return three visits to every problem."""
        setting, rounds = Setting(self._threads[0]), _ROUNDS
        asked = list(self._asked())
        order = np.random.default_rng(self.spec.seed).permutation(len(asked))
        return [
            PlannedVisit(Problem(asked[place][0], setting), asked[place][1], rounds, _SHARE_S)
            for place in order
            for _ in range(_VISITS)
        ]

    def _asked(self) -> Iterator[tuple[Workload, tuple[str, ...]]]:
        """Yield every problem, with the kernel and the variants that it has a choice of."""
        spec = self.spec
        others = variants.of(self.kernels[spec.kernel])
        for (m, k), sparsity in itertools.product(spec.shapes, spec.sparsities):
            matrix = RandomMatrix("random", m, k, sparsity, seed=spec.seed)
            for pass_, batch in itertools.product(spec.passes, spec.batches):
                product = Product(pass_, m, k, batch, round(m * k * (1 - sparsity)))
                names = [name for name, each in others.items() if _fits(each, product)]
                yield Workload(matrix, pass_, batch, seed=spec.seed), (spec.kernel, *names)


def _fits(kernel: Kernel, product: Product) -> bool:
    return not kernel.unavailable() and not kernel.unsupported(product)
