"""A comparison of two versions, computed from the visits that are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossover.bench.gate.findings import findings
from crossover.bench.gate.measured import Work, measured
from crossover.bench.gate.quantities import Cell
from crossover.bench.gate.revisions.checkout import Version
from crossover.bench.gate.statistics import Levels
from crossover.bench.gate.verdicts import Finding
from crossover.bench.records.rows import KernelRecord, Run, StudyRecord, Visit

STUDY = "gate"
#: A first look at everything, what it flagged again, and more of what it left undecided.
FIRST, AGAIN, MORE = "first look", "again", "more"


@dataclass(frozen=True)
class LookSpec:
    """What one look is asked with, as it is kept."""

    look: str
    base: Version
    head: Version
    #: Only these kernels; all if none is named.
    kernels: tuple[str, ...]
    threads: int
    budget_s: float
    seed: int
    modules: tuple[str, ...]

    def series(self, look: str) -> str:
        """Return the name under which visits of a ``look`` at the two versions are kept."""
        return f"{STUDY} {self.base.digest}-{self.head.digest} {look}"


@dataclass(frozen=True)
class Comparison:
    """What came of it."""

    base: Version
    head: Version
    findings: list[Finding]
    #: Per cell: the visits of the first look.
    levels: Mapping[Cell, Levels]
    #: Per cell: what a call has to do at least.
    work: Mapping[Cell, Work]
    threads: int
    #: The conditions: machine, libraries, and what it was measured to do at best.
    run: Run
    measuring_s: float
    #: How many fresh processes there were.
    processes: int

    @property
    def versions(self) -> Mapping[str, str]:
        """Return the versions of the libraries."""
        return self.run.versions


def comparison(
    run: Run,
    series: Mapping[str, Sequence[Visit]],
    kernels: Mapping[str, KernelRecord],
    look: LookSpec,
) -> Comparison:
    """Return what the visits of a run say of two versions, without measuring."""
    visits = {name: series.get(look.series(name), ()) for name in (FIRST, AGAIN, MORE)}
    every = [visit for each in visits.values() for visit in each]
    first = [*visits[FIRST], *visits[MORE]]
    found = measured(first, kernels)
    return Comparison(
        base=look.base,
        head=look.head,
        findings=findings(first, visits[AGAIN], kernels),
        levels=found.times,
        work=found.work,
        threads=look.threads,
        run=run,
        measuring_s=sum(visit.record.wall_s for visit in every),
        processes=len({visit.record.process for visit in every}),
    )


def latest(
    run: Run,
    series: Mapping[str, Sequence[Visit]],
    kernels: Mapping[str, KernelRecord],
    asked: Sequence[StudyRecord],
) -> Comparison | None:
    """Return the comparison that was asked for last in a run, or None where there is none."""
    for study in reversed(asked):
        if study.study == STUDY and study.spec["look"] == FIRST:
            return comparison(run, series, kernels, _look(study.spec))
    return None


def _look(spec: Mapping[str, Any]) -> LookSpec:
    """Return what was asked, from what is kept of it; a budget is no part of that."""
    kept = {name: value for name, value in spec.items() if name != "is"}
    for name in ("base", "head"):
        kept[name] = Version(**{k: v for k, v in kept[name].items() if k != "is"})
    for name in ("kernels", "modules"):
        kept[name] = tuple(kept[name])
    return LookSpec(**kept, budget_s=0.0)
