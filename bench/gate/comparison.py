"""A comparison of two versions, computed from the visits that are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossover.bench.gate.faults import Coverage, coverage
from crossover.bench.gate.findings import judged
from crossover.bench.gate.measured import Work, measured
from crossover.bench.gate.quantities import Cell
from crossover.bench.gate.revisions.checkout import Version
from crossover.bench.gate.statistics import Levels
from crossover.bench.gate.verdicts import Finding
from crossover.bench.records.rows import KernelRecord, Run, StudyRecord, Visit

STUDY = "gate"
#: A first look at everything, what it flagged again, and more of what it left undecided. Or head
#: alone, where base cannot be loaded.
LOOKS = FIRST, AGAIN, MORE, ALONE = "first look", "again", "more", "head alone"


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
    coverage: Coverage
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
        """Return the versions of the libraries, which both sides ran under."""
        return self.run.versions

    @property
    def environment(self) -> str:
        """Return what a side declares to need and did not have; empty where both had all."""
        sides = {"base": self.base, "head": self.head}
        return "; ".join(f"{name}: {each}" for name, v in sides.items() for each in v.unmet)

    @property
    def wrong(self) -> bool:
        """Return whether head computed a wrong result."""
        return any(each.verdict == "wrong" for each in self.findings)

    @property
    def regressed(self) -> bool:
        """Return whether a regression is confirmed."""
        return any(each.regression for each in self.findings)


def comparison(
    run: Run,
    series: Mapping[str, Sequence[Visit]],
    kernels: Mapping[str, KernelRecord],
    look: LookSpec,
) -> Comparison:
    """Return what the visits of a run say of two versions, without measuring."""
    visits = {name: series.get(look.series(name), ()) for name in LOOKS}
    every = [visit for each in visits.values() for visit in each]
    found = measured([*visits[FIRST], *visits[MORE], *visits[ALONE]], kernels)
    again = measured(visits[AGAIN], kernels)
    return Comparison(
        base=look.base,
        head=look.head,
        findings=judged(found, again),
        coverage=coverage(found, again),
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
        if study.study == STUDY and study.spec["look"] in (FIRST, ALONE):
            return comparison(run, series, kernels, _look(study.spec))
    return None


def _look(spec: Mapping[str, Any]) -> LookSpec:
    """Return what was asked, from what is kept of it; a budget is no part of that."""
    kept = {name: value for name, value in spec.items() if name != "is"}
    for name in ("base", "head"):
        version = {k: v for k, v in kept[name].items() if k != "is"}
        kept[name] = Version(**version | {"unmet": tuple(version.get("unmet", ()))})
    for name in ("kernels", "modules"):
        kept[name] = tuple(kept[name])
    return LookSpec(**kept, budget_s=0.0)
