"""A planned network under several callers at a time, against all dense by each library."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from crossover.bench.errors import InputError
from crossover.bench.harness.served.engines import Engines
from crossover.bench.harness.sources import KernelSource
from crossover.bench.options import common
from crossover.bench.options.declaration import option
from crossover.bench.options.values import positive_int
from crossover.bench.studies.given import GivenSource
from crossover.bench.studies.networks import Pruning
from crossover.bench.studies.plan.verifying import content
from crossover.bench.studies.study import PlannedStudy, PlannedVisit, Report, threads_or_all
from crossover.bench.workloads.problem import Problem, Setting, Workload
from crossover.bench.workloads.recipes import ServedNetwork
from crossover.kernels.serving import files

_ENGINES = "planned", "numpy-network", "torch-network"
_VISITS, _ROUNDS = 3, (6, 12)


@dataclass(frozen=True)
class ServeSpec:
    """Which planned network, with how many callers, in which batches."""

    network: str = option("", "--network", metavar="FILE", help="that 'crossover plan' wrote")
    callers: tuple[int, ...] = option(
        (4,), "--callers", metavar="N", convert=positive_int, help="who call it at a time"
    )
    batches: tuple[int, ...] = common.batches((1, 8, 64))
    threads: int = common.one_threads()
    budget_s: float = common.budget(60.0)
    seed: int = common.seed()
    inputs: Path | None = common.inputs()
    modules: tuple[str, ...] = ()


class ServeCheck(PlannedStudy):
    """Three visits to each batch and number of callers."""

    name = "serve-check"
    phase = "serve"
    may_end_early = False

    def __init__(self, spec: ServeSpec) -> None:
        """Read the planned network.

        Raises:
            InputError: if it is none.
        """
        super().__init__()
        self.spec = spec
        if not spec.network:
            raise InputError("no network to serve: give --network FILE that 'crossover plan' wrote")
        try:
            self._plan, _ = files.read(spec.network)
        except files.PlanFileError as error:
            raise InputError(str(error)) from error
        self._source = GivenSource(spec.network, spec.inputs)
        self._source.check_batches(spec.batches)
        self._threads = threads_or_all([spec.threads] if spec.threads else ())

    @property
    def source(self) -> KernelSource:
        """Return the engines."""
        return Engines()

    @property
    def threads(self) -> tuple[int, ...]:
        """Return the number of threads that it measures with."""
        return self._threads

    def plan(self, report: Report) -> list[PlannedVisit]:
        """Return the visits, in turn."""
        layers = self._source.at(Pruning((), "gradual", "global", self.spec.seed), report)[0]
        problems = [
            Problem(
                Workload(
                    ServedNetwork(
                        tuple(layers),
                        content(self._plan),
                        callers,
                        Path(self.spec.network).absolute(),
                    ),
                    "network" if callers == 1 else "serving",
                    batch,
                ),
                Setting(self._threads[0]),
            )
            for callers, batch in itertools.product(self.spec.callers, self.spec.batches)
        ]
        share_s = self.spec.budget_s / (_VISITS * len(problems))
        return [
            PlannedVisit(problem, _ENGINES, _ROUNDS, share_s)
            for _, problem in itertools.product(range(_VISITS), problems)
        ]
