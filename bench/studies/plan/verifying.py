"""Plans raced end to end: each against all dense by every library, on the same real inputs."""

from __future__ import annotations

import itertools
import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from crossover.bench.harness.race import LEAST_ROUNDS
from crossover.bench.harness.served.engines import Engines
from crossover.bench.harness.sources import KernelSource
from crossover.bench.records.files import write_whole
from crossover.bench.records.rows import Visit
from crossover.bench.statistics.comparison import contests
from crossover.bench.studies.plan.choosing import BatchChoice, chosen, merged
from crossover.bench.studies.plan.layers import PlanLayers
from crossover.bench.studies.study import PlannedStudy, PlannedVisit, Report
from crossover.bench.workloads.problem import Problem, Setting, Workload
from crossover.bench.workloads.recipes import ServedNetwork
from crossover.kernels.serving import Choice, Plan, compiled, files

_MOST_ROUNDS = 20
_LAYERED, _PLANNED, _DENSE, _NUMBA = "layered", "planned", "numpy-network", "numba-network"


class _Race(PlannedStudy):
    """Visits to whole networks, one per batch and repetition."""

    engines: tuple[str, ...]
    visits: int

    def __init__(self, layers: PlanLayers, path: Path) -> None:
        """Take the study of the layers, and where the planned network is written."""
        super().__init__()
        self.spec, self.layers_study, self.path = layers.spec, layers, path

    @property
    def source(self) -> KernelSource:
        """Return the engines."""
        return Engines()

    @property
    def threads(self) -> tuple[int, ...]:
        """Return the number of threads that it measures with."""
        return (self.layers_study.most_threads,)

    @abstractmethod
    def planned_network(self) -> Plan:
        """Return the plan that is raced."""

    def plan(self, report: Report) -> list[PlannedVisit]:
        """Write the planned network, and return the visits to each batch."""
        network, chosen_ = self.planned_network(), self.layers_study.chosen
        assert chosen_ is not None
        write_whole(self.path, files.written(network, chosen_.layers))
        recipe = ServedNetwork(chosen_.recipes, content(network), path=self.path.absolute())
        problems = [
            Problem(Workload(recipe, "network", batch), Setting(self.threads[0]))
            for batch in self.spec.batches
        ]
        rounds = LEAST_ROUNDS, _MOST_ROUNDS
        return [
            PlannedVisit(problem, self.engines, rounds, 0.1)
            for _, problem in itertools.product(range(self.visits), problems)
        ]

    def made(self) -> list[Visit]:
        """Return the visits that were made."""
        return [visit for visits in self._made.values() for visit in visits]

    def _plan(self, choices: Sequence[Choice]) -> Plan:
        it, most = self.layers_study.chosen, self.threads[0]
        assert it is not None
        about = {
            "sparsity": it.sparsity,
            "accuracy": it.accuracy,
            "dense_accuracy": it.dense_accuracy,
            "shares": [
                [n, compiled.inputs_of_a_thread(n, most), compiled.parts_of(n, most)]
                for n in self.spec.batches
            ],
        }
        return Plan(it.name, it.plans, merged(choices), self.threads[0], "", about)


def content(plan: Plan) -> str:
    """Return what names a plan."""
    return json.dumps(plan.as_json(), sort_keys=True)


class PlanCandidates(_Race):
    """Both ways that kernels can be used, raced, so that each batch gets the faster one."""

    name = "plan candidates"
    engines = (_PLANNED, _LAYERED, _DENSE, _NUMBA)
    visits = 2
    may_end_early = False

    def begin(self, report: Report) -> None:
        """Choose kernels, and list the visits."""
        study = self.layers_study
        measured, it = study.measured(), study.chosen
        assert it is not None
        names = [each.name for each in it.plans]
        asked = measured, names, self.spec.batches, study.most_threads
        self.by_way = {way: chosen(*asked, way) for way in ("compiled", "kernels")}
        super().begin(report)

    def planned_network(self) -> Plan:
        """Return the plan of the compiled way, which keeps the other one beside it."""
        choices = [each.choice for each in self.by_way["compiled"]]
        plan = self._plan(choices)
        layered = merged([each.choice for each in self.by_way["kernels"]])
        others = [[each.least, each.way, list(each.kernels)] for each in layered]
        return replace(plan, about={**plan.about, "layered": others})

    def fastest(self) -> list[BatchChoice]:
        """Return what serves each batch the fastest, all dense among it."""
        ways = {_PLANNED: "compiled", _LAYERED: "kernels"}
        by_batch = {it.problem.batch: it for it in contests(self.made(), self.declared)}
        found = []
        for index, batch in enumerate(self.spec.batches):
            there = by_batch[batch].measurements
            names = [name for name in (*ways, _DENSE) if name in there]
            best = min(names, key=lambda name: there[name].time_s, default=_DENSE)
            if best in ways:
                found.append(self.by_way[ways[best]][index])
            else:
                found.append(BatchChoice(batch, "dense", ()))
        return found


class PlanVerified(_Race):
    """The plan against all dense."""

    name = "plan"
    engines = (_PLANNED, _DENSE, _NUMBA, "torch-network", "glue")
    visits = 3
    may_end_early = False

    def __init__(self, candidates: PlanCandidates, path: Path) -> None:
        """Take the study that chooses the way."""
        super().__init__(candidates.layers_study, path)
        self.candidates = candidates

    def planned_network(self) -> Plan:
        """Return the plan by the fastest way of each batch."""
        shown = self.candidates.fastest()
        return self._plan([each.choice for each in shown])
