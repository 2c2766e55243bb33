"""Wrong results and failures of the sides, as verdicts; and how much was compared at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from crossover.bench.gate.measured import MOST_FAILURES, Faults, Measured
from crossover.bench.gate.quantities import BASE, CONTROL, HEAD, Cell
from crossover.bench.gate.verdicts import LEAST_VISITS, Finding

_FINE = Faults()
# Of one cell at several sparsities, the worst is said.
_WORST = ("wrong", "failed", "ambiguous", "new")


@dataclass(frozen=True)
class Coverage:
    """How many of the cells that base has were compared, and why the others were not."""

    compared: int
    asked: int
    #: Cells by reason.
    missing: Mapping[str, int]

    @property
    def enough(self) -> bool:
        """Return whether at least half was compared."""
        return bool(self.compared) and 2 * self.compared >= self.asked

    def __str__(self) -> str:
        """Return it as a sentence has it."""
        why = ", ".join(f"{count} {reason}" for reason, count in self.missing.items())
        return f"{self.compared} of {self.asked} cells compared{f' ({why})' if why else ''}"


def all_faults(first: Measured, again: Measured) -> dict[Cell, dict[str, Faults]]:
    """Return the faults of each side in either look, by cell."""
    found: dict[Cell, dict[str, Faults]] = {}
    for looked in (first, again):
        for cell, sides in looked.faults.items():
            for side, each in sides.items():
                known = found.setdefault(cell, {}).get(side, _FINE)
                found[cell][side] = Faults(
                    known.wrong or each.wrong,
                    known.failed or each.failed,
                    known.failures + each.failures,
                )
    return found


def fault_findings(first: Measured, again: Measured) -> dict[str, Finding]:
    """Return, by name, the verdict on each cell in which a side computed nothing right.

    What head alone did decides; where only base was wrong or failed, head cannot be compared with
    it, which is no fault of head's.
    """
    found: dict[str, Finding] = {}
    for cell, sides in all_faults(first, again).items():
        if HEAD not in sides and not any(each.final for each in sides.values()):
            continue  # base failed once, and is compared as it was measured after that
        finding = _finding(cell, sides)
        known = found.get(cell.name)
        if known is None or _WORST.index(finding.verdict) < _WORST.index(known.verdict):
            found[cell.name] = finding
    return found


def _finding(cell: Cell, sides: Mapping[str, Faults]) -> Finding:
    head = sides.get(HEAD, _FINE)
    other = next((side for side in (BASE, CONTROL) if side in sides), "")
    note = head.wrong or head.failed
    too = f"; {other}: {sides[other].wrong or sides[other].failed}" if other else ""
    if head.wrong:
        return Finding("time", cell.name, cell.digest, "wrong", note=note + too)
    if head.failures >= MOST_FAILURES:
        note = f"failed in {head.failures} processes: {note}"
        failed = Finding("time", cell.name, cell.digest, "failed", note=note + too)
        return failed if other else failed.as_regression()
    if head.failures:
        note = f"head failed once, not when it was tried again: {note}"
        return Finding("time", cell.name, cell.digest, "ambiguous", note=note + too)
    return Finding("time", cell.name, cell.digest, "new", note=too.removeprefix("; "))


def coverage(first: Measured, again: Measured) -> Coverage:
    """Return how much of what base has was compared."""
    faults = all_faults(first, again)
    missing: Counter[str] = Counter()
    for cell in first.asked:
        if reason := _why_not_compared(cell, first, faults.get(cell, {})):
            missing[reason] += 1
    asked = len(first.asked)
    return Coverage(asked - sum(missing.values()), asked, dict(missing))


def _why_not_compared(cell: Cell, first: Measured, sides: Mapping[str, Faults]) -> str:
    head = sides.get(HEAD, _FINE)
    if head.wrong:
        return ""
    if cell in first.gone:
        return "gone in head"
    for side in (BASE, CONTROL):
        if side in sides and sides[side].final:
            return f"in which {side} is wrong" if sides[side].wrong else f"in which {side} failed"
    if head.final:
        return ""
    visits = len(first.times[cell].visits) if cell in first.times else 0
    return f"with fewer than {LEAST_VISITS} visits" if visits < LEAST_VISITS else ""
