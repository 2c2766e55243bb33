"""A comparison of two versions: checked, screened, and what is flagged measured again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from crossover.bench.errors import InputError
from crossover.bench.gate import findings
from crossover.bench.gate.crossings import Crossed
from crossover.bench.gate.findings import Key, Measured
from crossover.bench.gate.matching import Checked, Checker, Shared, greet, match
from crossover.bench.gate.preset import Cell
from crossover.bench.gate.statistics import Estimate, Levels
from crossover.bench.gate.trio import ROLES, Role, Trio, TurnError, Version
from crossover.bench.gate.verdicts import LEAST_ROUNDS, Finding
from crossover.bench.progress import Progress, Report, ignore

#: Seconds of measuring; checks and what Numba compiles for them come on top.
BUDGET_S = 240.0
# Of the budget, for the first look at everything.
_SCREEN_SHARE = 0.6
# Generations of fresh processes: of the first look, and of the second one.
_SCREENS, _CONFIRMATIONS = 4, 6
_MOST_SWEEPS = 30


@dataclass(frozen=True)
class Comparison:
    """What came of it."""

    base: Version
    head: Version
    findings: list[Finding]
    #: Per cell: the rounds of the first look.
    levels: Mapping[Cell, Levels]
    threads: int
    versions: Mapping[str, str]
    measuring_s: float
    generations: int


@dataclass
class Comparer:
    """Measures two versions against each other."""

    base: Version
    head: Version
    threads: int
    #: For results on their way from a worker, and what Numba compiles.
    scratch: Path
    budget_s: float = BUDGET_S
    seed: int = 0
    report: Report = ignore
    measured: Measured = field(default_factory=Measured)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._checker = Checker(self.scratch)
        self._loops: dict[Cell, int] = {}
        self._generation = 0

    def run(self) -> Comparison:
        """Return what differs between the versions.

        Raises:
            InputError: if one has no benchmark, or too little was measured.
        """
        shared, versions = self._begin()
        begin = time.monotonic()
        end = begin + self.budget_s
        first, cells = self.measured, shared.cells
        first.crossed = [Crossed(each) for each in shared.crossings]
        self._generations(
            "measure", _SCREENS, first, cells, first.crossed, begin + _SCREEN_SHARE * self.budget_s
        )
        self._refuse_too_little(cells)
        flagged = findings.flagged(first)
        again = Measured()
        if flagged:
            self._confirm(first, again, flagged, end)
        if time.monotonic() < end and (unsure := findings.undecided(first, flagged)):
            self._generations("narrow", _SCREENS, first, unsure, [], end)
        return Comparison(
            base=self.base,
            head=self.head,
            findings=findings.collect(shared, first, again),
            levels=first.times,
            threads=self.threads,
            versions=versions,
            measuring_s=time.monotonic() - begin,
            generations=self._generation,
        )

    def _begin(self) -> tuple[Shared, dict[str, str]]:
        """Match the cells, and check all of them once: that compiles all there is to compile."""
        titles: dict[Role, str] = {
            "base": f"base {self.base.title}",
            "control": f"base {self.base.title}",
            "head": f"head {self.head.title}",
        }
        with self._trio() as trio:
            hellos = greet(trio, titles)
            shared = match(hellos)
            if not shared.cells:
                raise InputError(
                    f"{titles['base']} and {titles['head']} have no cell in common: name others"
                )
            self._check_first(trio, shared)
        return shared, hellos["head"]["versions"]

    def _check_first(self, trio: Trio, shared: Shared) -> None:
        everything = [*shared.cells, *shared.new]
        for position, cell in enumerate(everything):
            self.report(Progress("check", cell.name, position, len(everything)))
            new = cell in shared.new
            found = self._checked(trio, cell, self.measured, ("head",) if new else ROLES)
            if found and not new:
                self.measured.checks[cell] = found
                if len({each.inputs for each in found.values()}) > 1:
                    self.measured.incomparable.add(cell)
        self.report(Progress("check", "done", len(everything), len(everything)))

    def _checked(
        self, trio: Trio, cell: Cell, into: Measured, roles: Sequence[Role] = ROLES
    ) -> dict[Role, Checked] | None:
        """Return what a check found; None where a result was wrong, which is noted."""
        try:
            return self._checker.check(trio, cell, roles)
        except TurnError as error:
            into.failures.setdefault(cell, error)
            return None

    def _generations(
        self,
        phase: str,
        count: int,
        into: Measured,
        cells: Iterable[Cell],
        crossed: list[Crossed],
        end: float,
    ) -> None:
        """Measure for as long as there is time, in ``count`` generations of fresh processes."""
        cells = [each for each in cells if self.measured.usable(each)]
        begin = time.monotonic()
        for number in range(count):
            left = (end - time.monotonic()) / (count - number)
            with self._trio() as trio:
                until = time.monotonic() + max(0.0, left)
                for cell in cells:
                    if into.usable(cell):
                        self._checked(trio, cell, into)
                for each in crossed:
                    if each.place is None and not number:
                        self._guarded(into, each.crossing.cell, partial(each.scan, trio))
                self._sweeps(trio, into, cells, crossed, until)
            passed = min(time.monotonic() - begin, end - begin)
            self.report(Progress(phase, f"generation {number + 1}", passed, end - begin))
            self._generation += 1
        self.report(Progress(phase, "done", end - begin, end - begin))

    def _sweeps(
        self, trio: Trio, into: Measured, cells: list[Cell], crossed: list[Crossed], until: float
    ) -> None:
        """Time every cell once, in random order, and again, until the time is over."""
        for _ in range(_MOST_SWEEPS):
            for index in self._rng.permutation(len(cells)):
                cell = cells[index]
                if into.usable(cell) and self.measured.usable(cell):
                    self._guarded(into, cell, partial(self._round, trio, into, cell))
            for each in crossed:
                if each.place is not None:
                    cell = each.crossing.cell
                    self._guarded(into, cell, partial(each.round, trio, self._generation))
            if time.monotonic() >= until:
                return

    def _round(self, trio: Trio, into: Measured, cell: Cell) -> None:
        if cell not in self._loops:
            self._loops[cell] = trio.ask("base", "calibrate", cell)["loops"]
        seconds, prepare = trio.time(cell, self._loops[cell])
        into.times.setdefault(cell, Levels()).add(self._generation, *seconds)
        into.conversions.setdefault(cell, Levels()).add(self._generation, *prepare)

    def _guarded(self, into: Measured, cell: Cell, action: Callable[[], None]) -> None:
        try:
            action()
        except TurnError as error:
            into.failures.setdefault(cell, error)

    def _confirm(
        self,
        first: Measured,
        again: Measured,
        flagged: Mapping[Key, Estimate | None],
        end: float,
    ) -> None:
        """Measure what was flagged again, in fresh processes."""
        compiled = {key.name for key in flagged if key.metric == "compilation"}
        if compiled:
            cells = [cell for cell in first.checks if cell.kernel in compiled]
            again.checks = self._compiled_again(cells)
        cells = [
            cell
            for cell in first.times
            if any(key.of(cell) for key in flagged if key.metric in ("time", "conversion"))
        ]
        again.crossed = [
            Crossed(each.crossing, each.place, loops=each.loops)
            for each in first.crossed
            if Key("crossover", each.crossing.name) in flagged
        ]
        if cells or again.crossed:
            self._generations("confirm", _CONFIRMATIONS, again, cells, again.crossed, end)
            first.failures.update(again.failures)

    def _compiled_again(self, cells: list[Cell]) -> dict[Cell, dict[Role, Checked]]:
        """Return checks with nothing compiled before, head first this time."""
        base = replace(self.base, compiled=self.scratch / "again-base")
        head = replace(self.head, compiled=self.scratch / "again-head")
        with Trio(base, head, self.threads, self._rng) as trio:
            found = {}
            for cell in cells:
                try:
                    found[cell] = self._checker.check(trio, cell, ("head", "base"))
                except TurnError as error:
                    self.measured.failures.setdefault(cell, error)
        return found

    def _trio(self) -> Trio:
        return Trio(self.base, self.head, self.threads, self._rng)

    def _refuse_too_little(self, cells: list[Cell]) -> None:
        """Raise if most cells were hardly measured.

        Raises:
            InputError: if so.
        """
        usable = [each for each in cells if self.measured.usable(each)]
        enough = [
            each
            for each in usable
            if len(self.measured.times.get(each, Levels()).rounds) >= LEAST_ROUNDS
        ]
        if usable and 2 * len(enough) < len(usable):
            raise InputError(
                f"budget {self.budget_s:g} s ended with {len(enough)} of {len(usable)} cells "
                "measured: give more --budget (default: 4m)"
            )
