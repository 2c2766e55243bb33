"""A seeded model of a noisy machine with two cores, for the gate's statistics: no clock is read.

Its figures are those that the machine in ``shared`` findings was seen to have, or worse: placement
of an operand is worth 1.2 %, a sample 3 %, a process 0.4 %; the machine drifts, and changes its
state every few seconds by up to a quarter. Versions share a state, unless it changes in the middle
of a round. A sample in thirty is an outlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossover.bench.gate.findings import Key, Measured, collect, flagged, undecided
from crossover.bench.gate.matching import Shared
from crossover.bench.gate.preset import Cell
from crossover.bench.gate.statistics import Levels
from crossover.bench.gate.verdicts import Finding

ROLES = 3
SCREEN, CONFIRM = (4, 20), (6, 20)
_ROUND_S, _BETWEEN_S = 0.03, 0.75


@dataclass(frozen=True)
class Noise:
    placement: float = 0.012
    sample: float = 0.03
    process: float = 0.004
    state: float = 0.25
    state_s: float = 3.0
    outliers: float = 1 / 30
    #: Of the time that a background load takes a core, how far it throws a sample.
    load: float = 0.0
    loaded: float = 0.5


def cells(count: int) -> list[Cell]:
    """Return so many cells, of a kernel each."""
    return [Cell(f"k{index}", "fc1", 300, 784, 64, "forward") for index in range(count)]


def levels(
    slower: Sequence[float],
    looks: tuple[int, int],
    noise: Noise,
    rng: np.random.Generator,
    begin: int = 0,
) -> list[Levels]:
    """Return the rounds of as many cells as ``slower`` says by how much head is slower.

    ``begin`` numbers the first of their generations.
    """
    count = len(slower)
    generations, rounds = looks
    shape = count, generations, rounds, ROLES
    logs = rng.normal(0, noise.placement, shape) + rng.normal(0, noise.sample, shape)
    logs += rng.normal(0, noise.process, (count, generations, 1, ROLES))
    logs += np.linspace(0, 0.1, generations * rounds).reshape(1, generations, rounds, 1)
    logs += _states(shape, noise, rng)
    logs += np.where(rng.random(shape) < noise.outliers, rng.exponential(0.3, shape), 0)
    if noise.load:
        busy = rng.random((count, generations, rounds, 1)) < noise.loaded
        logs += busy * np.abs(rng.normal(0, noise.load, shape))
    logs[..., 2] += np.log1p(slower)[:, None, None]
    found = []
    for cell in logs:
        one = Levels()
        for generation in range(generations):
            for base, control, head in cell[generation]:
                one.add(begin + generation, float(base), float(control), float(head))
        found.append(one)
    return found


def _states(shape: tuple[int, ...], noise: Noise, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return what the machine's state adds: the same to a round, but where it changes in it."""
    changes = rng.random(shape[:-1]) < _BETWEEN_S / noise.state_s
    state = rng.uniform(-noise.state, noise.state, shape[:-1])
    # Hold each state until the next change, along the rounds of a generation.
    index = np.where(changes, np.arange(shape[2]), 0)
    held = np.take_along_axis(state, np.maximum.accumulate(index, axis=2), axis=2)
    within = rng.random(shape[:-1]) < _ROUND_S / noise.state_s
    share = np.where(within[..., None], rng.random(shape), 0)
    return np.asarray(held[..., None] + share * rng.uniform(-noise.state, noise.state, shape))


def gate(
    slower: Sequence[float], rng: np.random.Generator, noise: Noise | None = None
) -> list[Finding]:
    """Return the findings of one simulated run, with all looks that the gate takes.

    A finding per cell, in order: head is slower by so much in each.
    """
    noise, named = noise or Noise(), cells(len(slower))
    truth = dict(zip(named, slower, strict=True))
    first, again = Measured(), Measured()

    def drawn(which: Sequence[Cell], looks: tuple[int, int], begin: int = 0) -> list[Levels]:
        return levels([truth[cell] for cell in which], looks, noise, rng, begin)

    first.times = dict(zip(named, drawn(named, SCREEN), strict=True))
    suspects = flagged(first)
    wanted = [cell for cell in named if Key("time", cell.name) in suspects]
    if wanted:
        again.times = dict(zip(wanted, drawn(wanted, CONFIRM), strict=True))
    unsure = undecided(first, suspects)
    for cell, more in zip(unsure, drawn(unsure, SCREEN, begin=SCREEN[0]), strict=True):
        first.times[cell].rounds.extend(more.rounds)
    return collect(Shared(named, [], [], []), first, again)


def loaded() -> Noise:
    """Return the model with a background load that comes and goes on one core."""
    return replace(Noise(), load=0.4)
