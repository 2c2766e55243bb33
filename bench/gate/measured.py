"""What visits show of base, control and head: levels of each quantity, as findings judge them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from crossover.bench.gate.crossovers import Crossing, crossings
from crossover.bench.gate.quantities import (
    BASE,
    CROSSOVER_GROUP,
    HEAD,
    SIDES,
    Cell,
    Crossover,
    by_kernel,
    kernel_name,
)
from crossover.bench.gate.statistics import Levels
from crossover.bench.records.rows import KernelRecord, ProblemRecord, Row, Visit

#: A side that failed in so many visits, of different processes, is not tried again.
MOST_FAILURES = 2


@dataclass(frozen=True)
class Work:
    """What a call of head's kernel has to do at least: operations, and bytes to move."""

    flops: float
    nbytes: float


@dataclass
class Faults:
    """What one side did wrong in a cell: held against the oracle by itself, whatever others did."""

    #: Of its first wrong result, and its first failure; empty where there was none.
    wrong: str = ""
    failed: str = ""
    #: Visits in which it raised, crashed or stalled.
    failures: int = 0

    def add(self, row: Row) -> None:
        """Take in a row."""
        if row.status == "wrong":
            self.wrong = self.wrong or row.reason
        elif row.status == "failed":
            self.failed = self.failed or row.reason
            self.failures += 1

    @property
    def final(self) -> bool:
        """Return whether nothing can be compared with it."""
        return bool(self.wrong) or self.failures >= MOST_FAILURES


@dataclass
class Measured:
    """What one look at both versions measured."""

    times: dict[Cell, Levels] = field(default_factory=dict)
    #: By kernel: W is converted alike for every pass and batch.
    conversions: dict[str, Levels] = field(default_factory=dict)
    crossings: dict[Crossover, Crossing] = field(default_factory=dict)
    #: By kernel, base and head: bytes of the operand, and seconds of all that was compiled.
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)
    compilations: dict[str, tuple[float, float]] = field(default_factory=dict)
    #: By cell and side; and the cells that only one side has.
    faults: dict[Cell, dict[str, Faults]] = field(default_factory=dict)
    new: set[Cell] = field(default_factory=set)
    gone: set[Cell] = field(default_factory=set)
    #: The cells that base has: what head is to be compared in.
    asked: set[Cell] = field(default_factory=set)
    work: dict[Cell, Work] = field(default_factory=dict)


def measured(visits: Iterable[Visit], kernels: Mapping[str, KernelRecord]) -> Measured:
    """Return what ``visits`` show; ``kernels`` are the declarations of all sides."""
    found = Measured()
    crossing: list[Visit] = []
    for visit in visits:
        if visit.problem.network == CROSSOVER_GROUP:
            crossing.append(visit)
        for kernel, sides in by_kernel(visit):
            _add_faults(found, Cell.recorded(kernel, visit.problem), sides)
            if visit.problem.network != CROSSOVER_GROUP:
                _add_compilation(found, kernel, sides)
                _add(found, visit, kernel, sides, kernels)
    out = {c for c, sides in found.faults.items() if any(each.final for each in sides.values())}
    for cell in (*out, *found.new, *found.gone):
        found.times.pop(cell, None)
    found.crossings = crossings(crossing, kernels)
    return found


def mean_log(row: Row) -> float:
    """Return the mean of the logs of a visit's samples."""
    return float(np.mean(np.log(row.samples)))


def complete(sides: Mapping[str, Row]) -> bool:
    """Return whether base, control and head were all measured."""
    return all(side in sides and sides[side].status == "measured" for side in SIDES)


def _add(
    found: Measured,
    visit: Visit,
    kernel: str,
    sides: Mapping[str, Row],
    kernels: Mapping[str, KernelRecord],
) -> None:
    cell = Cell.recorded(kernel, visit.problem)
    there = {side for side, row in sides.items() if row.status != "skipped"}
    if HEAD in there and BASE not in there:
        found.new.add(cell)
    if BASE in there:
        found.asked.add(cell)
        if HEAD not in there:
            found.gone.add(cell)
    if not complete(sides):
        return
    rows = [sides[side] for side in SIDES]
    levels = found.times.setdefault(cell, Levels())
    levels.add(visit.record.process, *map(mean_log, rows))
    seconds = [row.prepare_s for row in rows]
    if all(seconds):
        converted = found.conversions.setdefault(kernel, Levels())
        converted.add(visit.record.process, *np.log(np.asarray(seconds, float)).tolist())
    nbytes = float(sides[BASE].nbytes or 0), float(sides[HEAD].nbytes or 0)
    found.memory.setdefault(kernel, nbytes)
    stores_zeros = kernels[kernel_name(HEAD, kernel)].stores_zeros
    found.work.setdefault(cell, _work(visit.problem, stores_zeros, nbytes[1]))


def _work(problem: ProblemRecord, stores_zeros: bool, nbytes: float) -> Work:
    """Return what a call does at least; a kernel that stores zeros multiplies with them."""
    flops = problem.executed_flops if stores_zeros else problem.useful_flops
    return Work(flops, nbytes + problem.side_bytes)


def _add_faults(found: Measured, cell: Cell, sides: Mapping[str, Row]) -> None:
    for side, row in sides.items():
        if row.status in ("wrong", "failed"):
            found.faults.setdefault(cell, {}).setdefault(side, Faults()).add(row)


def _add_compilation(found: Measured, kernel: str, sides: Mapping[str, Row]) -> None:
    if BASE in sides and HEAD in sides:
        before, after = found.compilations.get(kernel, (0.0, 0.0))
        base, head = (sides[side].compile_s or 0.0 for side in (BASE, HEAD))
        found.compilations[kernel] = before + base, after + head
