"""What visits show of base, control and head: levels of each quantity, as findings judge them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from crossover.bench.gate.quantities import CROSSOVER_GROUP, Cell, Crossover
from crossover.bench.gate.statistics import Levels, around, line_crossing, place
from crossover.bench.records.rows import KernelRecord, ProblemRecord, Row, Visit

BASE, CONTROL, HEAD = "base", "control", "head"
_SIDES = BASE, CONTROL, HEAD


@dataclass(frozen=True)
class Work:
    """What a call of head's kernel has to do at least: operations, and bytes to move."""

    flops: float
    nbytes: float


@dataclass
class Measured:
    """What one look at both versions measured."""

    times: dict[Cell, Levels] = field(default_factory=dict)
    #: By kernel: W is converted alike for every pass and batch.
    conversions: dict[str, Levels] = field(default_factory=dict)
    crossovers: dict[Crossover, Levels] = field(default_factory=dict)
    #: By kernel, base and head: bytes of the operand, and seconds of all that was compiled.
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)
    compilations: dict[str, tuple[float, float]] = field(default_factory=dict)
    #: What a side computed wrong, or not at all; and the cells that only one side has.
    failures: dict[Cell, tuple[str, str]] = field(default_factory=dict)
    new: set[Cell] = field(default_factory=set)
    gone: set[Cell] = field(default_factory=set)
    work: dict[Cell, Work] = field(default_factory=dict)


def kernel_name(side: str, kernel: str) -> str:
    """Return what a side's kernel is called in a race."""
    return f"{side}:{kernel}"


def measured(visits: Iterable[Visit], kernels: Mapping[str, KernelRecord]) -> Measured:
    """Return what ``visits`` show; ``kernels`` are the declarations of all sides."""
    found = Measured()
    crossing: list[Visit] = []
    for visit in visits:
        if visit.problem.network == CROSSOVER_GROUP:
            crossing.append(visit)
        for kernel, sides in by_kernel(visit):
            _add_failure(found, Cell.recorded(kernel, visit.problem), sides)
            if visit.problem.network != CROSSOVER_GROUP:
                _add_compilation(found, kernel, sides)
                _add(found, visit, kernel, sides, kernels)
    for cell in (*found.failures, *found.new, *found.gone):
        found.times.pop(cell, None)
    found.crossovers = _crossovers(crossing, kernels)
    return found


def by_kernel(visit: Visit) -> Iterator[tuple[str, dict[str, Row]]]:
    """Yield each kernel of a visit with the rows of its sides."""
    found: dict[str, dict[str, Row]] = defaultdict(dict)
    for name, row in visit.rows.items():
        side, _, kernel = name.partition(":")
        found[kernel][side] = row
    yield from found.items()


def mean_log(row: Row) -> float:
    """Return the mean of the logs of a visit's samples."""
    return float(np.mean(np.log(row.samples)))


def complete(sides: Mapping[str, Row]) -> bool:
    """Return whether base, control and head were all measured."""
    return all(side in sides and sides[side].status == "measured" for side in _SIDES)


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
    if BASE in there and HEAD not in there:
        found.gone.add(cell)
    if not complete(sides):
        return
    rows = [sides[side] for side in _SIDES]
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


def _add_failure(found: Measured, cell: Cell, sides: Mapping[str, Row]) -> None:
    """Keep who was wrong or failed; what head did goes before what base did."""
    for side in (HEAD, BASE, CONTROL):
        row = sides.get(side)
        if row is not None and row.status in ("wrong", "failed"):
            if side == HEAD or cell not in found.failures:
                found.failures[cell] = side, row.reason
            return


def _add_compilation(found: Measured, kernel: str, sides: Mapping[str, Row]) -> None:
    if BASE in sides and HEAD in sides:
        before, after = found.compilations.get(kernel, (0.0, 0.0))
        base, head = (sides[side].compile_s or 0.0 for side in (BASE, HEAD))
        found.compilations[kernel] = before + base, after + head


# -- crossovers -------------------------------------------------------------------------------


def speedups(visit: Visit, side: str, kernels: Mapping[str, KernelRecord]) -> dict[str, float]:
    """Return, by kernel, the log of its speedup over the fastest dense kernel of its side."""
    logs = {
        kernel: mean_log(sides[side])
        for kernel, sides in by_kernel(visit)
        if side in sides and sides[side].status == "measured"
    }
    dense = {kernel for kernel in logs if kernels[kernel_name(side, kernel)].role == "dense"}
    if not dense:
        return {}
    fastest = min(logs[kernel] for kernel in dense)
    return {kernel: fastest - log for kernel, log in logs.items() if kernel not in dense}


def is_scan(visit: Visit) -> bool:
    """Return whether a visit only looked where base's crossovers lie."""
    scans = visit.problem.network == CROSSOVER_GROUP
    return scans and all(name.startswith(f"{BASE}:") for name in visit.rows)


def grids(visits: Iterable[Visit], kernels: Mapping[str, KernelRecord]) -> dict[str, list[float]]:
    """Return, by kernel, the sparsities around its crossover in base; none where it has none."""
    scanned: dict[str, dict[float, float]] = defaultdict(dict)
    for visit in visits:
        if is_scan(visit):
            for kernel, log in speedups(visit, BASE, kernels).items():
                scanned[kernel][visit.problem.network_sparsity] = log
    places = {kernel: place(at) for kernel, at in scanned.items()}
    return {k: [] if at is None else around(at) for k, at in places.items()}


def _crossovers(
    visits: Sequence[Visit], kernels: Mapping[str, KernelRecord]
) -> dict[Crossover, Levels]:
    """Return the crossovers of each side: one of each per round of visits to all sparsities."""
    found: dict[Crossover, Levels] = {}
    #: By crossover and process, and by sparsity: the log of each side's speedup, visit by visit.
    raced: dict[tuple[Crossover, str], dict[float, list[list[float]]]] = {}
    for visit in visits:
        by_side = [speedups(visit, side, kernels) for side in _SIDES]
        for kernel in by_side[0]:
            crossover = Crossover.recorded(kernel, visit.problem)
            found.setdefault(crossover, Levels())
            if all(kernel in each for each in by_side):
                at = raced.setdefault((crossover, visit.record.process), {})
                logs = at.setdefault(visit.problem.network_sparsity, [])
                logs.append([each[kernel] for each in by_side])
    for crossover, levels in found.items():
        processes = {process: at for (each, process), at in raced.items() if each == crossover}
        sparsities = sorted({sparsity for at in processes.values() for sparsity in at})
        for process, at in processes.items():
            for sides in zip(*(at.get(sparsity, []) for sparsity in sparsities), strict=False):
                crossed = [line_crossing(sparsities, logs) for logs in np.transpose(sides)]
                if np.isfinite(crossed).all():
                    levels.add(process, *crossed)
    return found
