"""The gate as three studies, one after the other: a first look, what it flagged again, the rest.

The first look visits every workload in turn, with all kernels of all sides in one race. What it
flags is visited again in fresh processes, and those visits alone decide. Time that is left goes to
what the first look left undecided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from crossover.bench.gate import findings, preset
from crossover.bench.gate.comparison import AGAIN, MORE, LookSpec
from crossover.bench.gate.crossovers import grids
from crossover.bench.gate.faults import coverage
from crossover.bench.gate.findings import Key
from crossover.bench.gate.looks.look import SHORTEST_LIFE_S, Look, Station
from crossover.bench.gate.measured import Measured, measured
from crossover.bench.gate.quantities import (
    BASE,
    CONTROL,
    HEAD,
    SCAN,
    Crossover,
    by_kernel,
    kernel_name,
)
from crossover.bench.gate.revisions.sides import Declared, Revisions
from crossover.bench.studies.study import Report
from crossover.bench.workloads.problem import Problem

# Of the budget, for the first look at everything.
_FIRST_SHARE = 0.6
# Fresh processes of what is visited again.
_AGAIN_PROCESSES = 8
# A crossover is five visits, and known well by a few of them.
_CROSSOVER_SWEEPS = 2


class FirstLook(Look):
    """Everything: each workload with all its kernels, and each sparsity around a crossover."""

    def __init__(self, spec: LookSpec, revisions: Revisions, known: Mapping[str, Declared]) -> None:
        super().__init__(spec, revisions, known)
        by_problem: dict[Problem, list[str]] = {}
        for cell, problem in self._cells():
            by_problem.setdefault(problem, []).append(cell.kernel)
        self._workloads = [Station(p, tuple(kernels)) for p, kernels in by_problem.items()]
        self._crossing = self._crossing_kernels()

    @property
    def budget_s(self) -> float:
        """Return the seconds that it may take."""
        return _FIRST_SHARE * self.spec.budget_s

    def stations(self) -> Sequence[Station]:
        """Return the workloads; once each was visited, the scan; then both and what it showed."""
        unseen = [each for each in self._workloads if each.problem_id not in self._counts]
        if unseen or not self._crossing:
            return unseen or self._workloads
        left = [each for each in self._scan if each.problem_id not in self._scanned]
        return left or self._with_crossovers

    @cached_property
    def _scan(self) -> list[Station]:
        """Return the stations in which base's crossovers are looked for."""
        kernels = (*self._dense(), *self._crossing)
        problems = [self._problem(preset.crossover_workload(s)) for s in SCAN]
        return [Station(problem, kernels, (BASE,)) for problem in problems]

    @cached_property
    def _with_crossovers(self) -> list[Station]:
        """Return all workloads, and the sparsities around what the scan has shown."""
        return [*self._workloads, *self._around(self._crossing)]

    def _around(self, kernels: Sequence[str]) -> list[Station]:
        """Return a station per sparsity around the crossovers, shared where these are close."""
        at: dict[float, list[str]] = {}
        for kernel, sparsities in grids(self.visits, self.declared).items():
            for sparsity in sparsities:
                if kernel in kernels:
                    at.setdefault(sparsity, []).append(kernel)
        return [
            Station(
                self._problem(preset.crossover_workload(sparsity)),
                (*self._dense(), *at[sparsity]),
                every=_CROSSOVER_SWEEPS,
            )
            for sparsity in sorted(at)
        ]

    def _crossing_kernels(self) -> list[str]:
        """Return the kernels whose crossovers are gated: those that both versions have."""
        return [
            kernel
            for name, each in self.known.items()
            if (kernel := name.partition(":")[2]) and name.startswith(f"{HEAD}:")
            if kernel_name(BASE, kernel) in self.known
            and (not self.spec.kernels or kernel in self.spec.kernels)
            and preset.has_crossover(each.record, each.points, each.variant)
        ]

    def known_stations(self) -> Sequence[Station]:
        """Return every station that may have been visited by now."""
        return [*self._workloads, *self.stations()]


class Again(Look):
    """What the first look flagged, in fresh processes; compiled anew where that was flagged."""

    phase = "confirm"
    order = CONTROL, HEAD, BASE
    processes = _AGAIN_PROCESSES

    def __init__(self, first: FirstLook, compiled: Revisions) -> None:
        """``compiled`` has nothing compiled yet."""
        super().__init__(replace(first.spec, look=AGAIN), first.source, first.known)
        self.first, self._compiled = first, compiled
        self._stations: list[Station] = []

    @property
    def budget_s(self) -> float:
        """Return the seconds that the first look left."""
        return max(0.0, self.spec.budget_s - self.first.spent_s)

    def begin(self, report: Report) -> None:
        """Find what was flagged; nothing where the first look saw too little."""
        found = measured(self.first.visits, self.declared)
        if not coverage(found, Measured()).enough:
            return
        flagged = findings.flagged(found)
        if any(key.metric == "compilation" for key in flagged):
            self._source = self._compiled
        self._stations = [*self._flagged_cells(flagged), *self._flagged_crossovers(flagged)]

    def stations(self) -> Sequence[Station]:
        """Return a station per flagged cell, and those of flagged crossovers."""
        return self._stations

    def _flagged_cells(self, flagged: set[Key]) -> Iterator[Station]:
        for cell, problem in self._cells():
            names = cell.name, cell.kernel
            if any(key.metric != "crossover" and key.name in names for key in flagged):
                yield Station(problem, (cell.kernel,))

    def _flagged_crossovers(self, flagged: set[Key]) -> list[Station]:
        names = {key.name for key in flagged if key.metric == "crossover"}
        kernels = {
            kernel
            for visit in self.first.visits
            for kernel, _ in by_kernel(visit)
            if Crossover.recorded(kernel, visit.problem).name in names
        }
        return self.first._around(sorted(kernels))


class More(Look):
    """What the first look left undecided, as long as there is time."""

    phase = "narrow"

    def __init__(self, first: FirstLook, again: Again) -> None:
        super().__init__(replace(first.spec, look=MORE), first.source, first.known)
        self.first, self.again = first, again
        self._stations: list[Station] = []

    @property
    def budget_s(self) -> float:
        """Return the seconds that are left."""
        return max(0.0, self.spec.budget_s - self.first.spent_s - self.again.spent_s)

    def begin(self, report: Report) -> None:
        """Find what is undecided, if there is time for it."""
        if self.budget_s < SHORTEST_LIFE_S:
            return
        found = measured(self.first.visits, self.declared)
        undecided = findings.undecided(found, findings.flagged(found))
        cells = {cell: problem for cell, problem in self._cells() if cell in undecided}
        self._stations = [Station(problem, (cell.kernel,)) for cell, problem in cells.items()]

    def stations(self) -> Sequence[Station]:
        """Return a station per undecided cell; none where there is no time."""
        return self._stations
