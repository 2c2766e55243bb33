"""A seeded model of log-ratios as a shared machine gives them, not as an estimator would like them.

Rounds of a visit are autocorrelated, and a burst hits a stretch of them in one visit of six; how
far rounds and visits scatter differs from cell to cell; a visit in twenty finds the machine in
another state; the visits of one process share what that process has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover.bench.statistics.intervals import VisitMedians

CELLS_PER_GROUP, GROUPS = 24, 8
CELLS = CELLS_PER_GROUP * GROUPS
ROUNDS = 10


@dataclass(frozen=True)
class Noise:
    """Standard deviations of log-ratios, and how often something happens."""

    visit: float = 0.012
    round: float = 0.03
    process: float = 0.004
    #: Of the logs of a cell's own standard deviations.
    between_cells: float = 0.5
    autocorrelation: float = 0.8
    bursts: float = 1 / 6
    states: float = 1 / 20


@dataclass(frozen=True)
class Drawn:
    """Cells with their true log-ratios, and what visits saw of them."""

    truths: NDArray[np.float64]
    #: By cell, visit and round.
    logs: NDArray[np.float64]

    @property
    def groups(self) -> list[int]:
        """Return the group of each cell."""
        return [index // CELLS_PER_GROUP for index in range(CELLS)]

    @property
    def quantities(self) -> list[VisitMedians]:
        """Return what intervals are made of."""
        return [VisitMedians.of(list(cell)) for cell in self.logs]


def drawn(visits: int, rng: np.random.Generator, noise: Noise | None = None) -> Drawn:
    """Return cells with so many visits each, by two processes in turn."""
    noise = noise or Noise()
    truths = rng.normal(0.3, 0.5, CELLS)
    levels = truths[:, None] + noise.visit * _own(noise, rng) * rng.standard_normal((CELLS, visits))
    levels += rng.normal(0, noise.process, (CELLS, 2))[:, np.arange(visits) % 2]
    other_state = rng.random((CELLS, visits)) < noise.states
    levels += other_state * rng.uniform(-0.25, 0.25, (CELLS, visits))
    rounds = noise.round * _own(noise, rng)[..., None] * _autocorrelated(visits, noise, rng)
    return Drawn(truths, levels[..., None] + rounds + _bursts(visits, noise, rng))


def _own(noise: Noise, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return by what a cell's standard deviation is larger than is usual, (cells, 1)."""
    return np.exp(rng.normal(0, noise.between_cells, (CELLS, 1)))


def _autocorrelated(visits: int, noise: Noise, rng: np.random.Generator) -> NDArray[np.float64]:
    values = rng.standard_normal((CELLS, visits, ROUNDS))
    rest = np.sqrt(1 - noise.autocorrelation**2)
    for index in range(1, ROUNDS):
        values[..., index] *= rest
        values[..., index] += noise.autocorrelation * values[..., index - 1]
    return values


def _bursts(visits: int, noise: Noise, rng: np.random.Generator) -> NDArray[np.float64]:
    shape = CELLS, visits, 1
    first = rng.integers(0, ROUNDS, shape)
    length = rng.integers(1, ROUNDS // 2 + 1, shape)
    hit = (np.arange(ROUNDS) >= first) & (np.arange(ROUNDS) < first + length)
    strength = rng.exponential(0.3, shape) * rng.choice([-1.0, 1.0], shape)
    return np.asarray(hit * strength * (rng.random(shape) < noise.bursts))
