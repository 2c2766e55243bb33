"""A seeded model of a noisy machine with two cores, for the gate's statistics: no clock is read.

Its figures are those that a shared machine with two cores was seen to have, or worse: placement of
an operand is worth 1.2 %, a sample 3 %, a process 0.4 %; the machine drifts, and changes its state
every few seconds by up to a quarter. Versions share a state, unless it changes in the middle of a
round. A sample in thirty is an outlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossover.bench.gate.findings import Key, flagged, judged, undecided
from crossover.bench.gate.measured import Measured
from crossover.bench.gate.quantities import Cell
from crossover.bench.gate.statistics import Levels
from crossover.bench.gate.verdicts import Finding

SIDES, ROUNDS = 3, 4
FIRST, AGAIN, MORE = (4, 12), (6, 20), (4, 12)
_VISIT_S, _BETWEEN_S = 0.2, 2.0


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
    return [Cell(f"k{index}", "fc1", "forward", 64, 0.9, f"{index:016}") for index in range(count)]


def levels(
    slower: Sequence[float],
    looks: tuple[int, int],
    noise: Noise,
    rng: np.random.Generator,
    begin: int = 0,
) -> list[Levels]:
    """Return the visits of as many cells as ``slower`` says by how much head is slower.

    ``begin`` numbers the first of their processes.
    """
    count = len(slower)
    processes, visits = looks
    shape = count, processes, visits, SIDES
    samples = rng.normal(0, noise.sample, (*shape, ROUNDS))
    outliers = rng.random(samples.shape) < noise.outliers
    samples += np.where(outliers, rng.exponential(0.3, samples.shape), 0)
    logs = rng.normal(0, noise.placement, shape) + samples.mean(axis=-1)
    logs += rng.normal(0, noise.process, (count, processes, 1, SIDES))
    logs += np.linspace(0, 0.1, processes * visits).reshape(1, processes, visits, 1)
    logs += _states(shape, noise, rng)
    if noise.load:
        busy = rng.random((count, processes, visits, 1)) < noise.loaded
        logs += busy * np.abs(rng.normal(0, noise.load, shape))
    logs[..., 2] += np.log1p(slower)[:, None, None]
    found = []
    for cell in logs:
        one = Levels()
        for process in range(processes):
            for base, control, head in cell[process]:
                one.add(str(begin + process), float(base), float(control), float(head))
        found.append(one)
    return found


def _states(shape: tuple[int, ...], noise: Noise, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return what the machine's state adds: the same to a visit, but where it changes in it."""
    changes = rng.random(shape[:-1]) < _BETWEEN_S / noise.state_s
    state = rng.uniform(-noise.state, noise.state, shape[:-1])
    # Hold each state until the next change, along the visits of a process.
    index = np.where(changes, np.arange(shape[2]), 0)
    held = np.take_along_axis(state, np.maximum.accumulate(index, axis=2), axis=2)
    within = rng.random(shape[:-1]) < _VISIT_S / noise.state_s
    # The sides take turns in every round, so it parts them in one of these.
    share = np.where(within[..., None], rng.random(shape) / ROUNDS, 0)
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

    first.times = dict(zip(named, drawn(named, FIRST), strict=True))
    suspects = flagged(first)
    wanted = [cell for cell in named if Key("time", cell.name, cell.digest) in suspects]
    if wanted:
        again.times = dict(zip(wanted, drawn(wanted, AGAIN), strict=True))
    ambiguous = undecided(first, suspects)
    unsure = [cell for cell in named if cell in ambiguous]
    for cell, more in zip(unsure, drawn(unsure, MORE, begin=FIRST[0]), strict=True):
        first.times[cell].visits.extend(more.visits)
    return judged(first, again)


def loaded() -> Noise:
    """Return the model with a background load that comes and goes on one core."""
    return replace(Noise(), load=0.4)
