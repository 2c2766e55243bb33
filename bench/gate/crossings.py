"""The crossover as a quantity of each round: where the line through a few speedups crosses 1.

Base is scanned once to find where its crossover lies; then both versions are timed at the same few
sparsities around it, in the same rounds, and each round yields a crossover of each. A round's three
figures share the state of the machine, so their differences are known far better than they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from crossover.bench.gate.preset import Cell, Crossing
from crossover.bench.gate.statistics import Levels
from crossover.bench.gate.trio import Trio
from crossover.bench.search import SCAN

# Of the scan, and of its refinement.
_SCAN_ROUNDS = 3
_REFINEMENTS = 2
#: Where the speedups are measured, around base's crossover: wide enough for a slope.
_AROUND = (-0.12, -0.06, 0.0, 0.06, 0.12)
_LOWEST, _HIGHEST = 0.0, 0.99


@dataclass
class Crossed:
    """A crossover, and what was measured of it."""

    crossing: Crossing
    #: Base's, roughly; None where it has none between the lowest and the highest sparsity.
    place: float | None = None
    levels: Levels = field(default_factory=Levels)
    loops: dict[Cell, int] = field(default_factory=dict)

    @property
    def grid(self) -> list[float]:
        """Return the sparsities to measure at."""
        assert self.place is not None
        return sorted({float(np.clip(self.place + d, _LOWEST, _HIGHEST)) for d in _AROUND})

    def scan(self, trio: Trio) -> None:
        """Find where base's crossover lies, with rounds in base's first worker alone."""
        known = {s: self._speedup(trio, s) for s in SCAN}
        for _ in range(_REFINEMENTS):
            bracket = _bracket(known)
            if bracket is None:
                return
            middle = line_crossing(bracket, [known[s] for s in bracket])
            known.setdefault(middle, self._speedup(trio, middle))
        bracket = _bracket(known)
        if bracket is not None:
            self.place = line_crossing(bracket, [known[s] for s in bracket])

    def round(self, trio: Trio, generation: int) -> None:
        """Add a round to what was measured."""
        cells = [self.crossing.cell.at(s) for s in self.grid]
        found = trio.speedups(cells, self._dense, lambda cell: self._loops(trio, cell))
        crossed = [line_crossing(self.grid, each) for each in found]
        if np.isfinite(crossed).all():
            self.levels.add(generation, *crossed)

    @property
    def _dense(self) -> Cell:
        return self.crossing.cell.at(self.crossing.cell.sparsity, self.crossing.against)

    def _speedup(self, trio: Trio, sparsity: float) -> float:
        cell, logs = self.crossing.cell.at(sparsity), []
        for _ in range(_SCAN_ROUNDS):
            pair = [
                trio.ask("base", "turn", each, loops=self._loops(trio, each), place=None)["seconds"]
                for each in (self._dense, cell)
            ]
            logs.append(np.log(pair[0]) - np.log(pair[1]))
        return float(np.median(logs))

    def _loops(self, trio: Trio, cell: Cell) -> int:
        if cell not in self.loops:
            self.loops[cell] = trio.ask("base", "calibrate", cell)["loops"]
        return self.loops[cell]


def line_crossing(sparsities: Sequence[float], speedups: Sequence[float]) -> float:
    """Return where a line through the logs of ``speedups`` is zero; NaN if it does not rise.

    A line over the log of the density: a sparse kernel's time is close to a power of it. Held to
    sparsities from 0 to 1, beyond which it says nothing.
    """
    slope, height = np.polyfit(-np.log1p(-np.asarray(sparsities)), speedups, 1)
    if slope <= 0:
        return float("nan")
    return float(np.clip(-np.expm1(height / slope), 0.0, 1.0))


def _bracket(known: dict[float, float]) -> tuple[float, float] | None:
    """Return the neighbouring sparsities between which the speedup first rises through 1."""
    ordered = sorted(known)
    for low, high in pairwise(ordered):
        if known[low] <= 0 < known[high]:
            return low, high
    return None
