"""A seeded model of a noisy machine with two cores, for the gate's statistics: no clock is read.

Its figures are those that a shared machine with two cores was seen to have, or worse, and it is not
the kind of noise that the estimator assumes. A cell has a size of noise of its own (half to twice
the usual in most); rounds follow each other closely, and so do the visits of a process; a process
has effects with heavy tails; bursts of other work fall on a few visits in a row, and on some sides
more than on others; the machine drifts, and changes its state every few seconds by up to a quarter.
Sides share a state, unless it changes in the middle of a round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from crossover.bench.gate.findings import Key, flagged, judged, undecided
from crossover.bench.gate.measured import Measured
from crossover.bench.gate.quantities import Cell
from crossover.bench.gate.statistics import Levels
from crossover.bench.gate.verdicts import Finding

SIDES, ROUNDS = 3, 4
FIRST, AGAIN, MORE = (4, 12), (8, 15), (4, 12)
_VISIT_S, _BETWEEN_S = 0.2, 2.0


@dataclass(frozen=True)
class Noise:
    #: Of operands that are placed anew, of a sample, and of a process: standard deviations.
    placement: float = 0.012
    sample: float = 0.03
    process: float = 0.004
    #: How far a side wanders from visit to visit of a process.
    wander: float = 0.006
    #: Correlations of a round with the next, and of a visit with the next.
    rounds: float = 0.7
    visits: float = 0.8
    #: Standard deviation of the log of a cell's own size of noise.
    sizes: float = 0.4
    #: A burst begins at so many visits, lasts for so many, and slows a sample by so much.
    bursts: float = 0.04
    burst_visits: float = 3.0
    burst: float = 0.2
    #: Degrees of freedom of a process's effect, scaled to its standard deviation: heavy tails.
    tails: float = 4.0
    state: float = 0.25
    state_s: float = 3.0
    #: Of the time that a background load takes a core, how far it throws a sample.
    load: float = 0.0
    loaded: float = 0.5


#: Noise as the estimator assumes it: nothing but independent, normal visits and processes.
PLAIN = Noise(wander=0, rounds=0, visits=0, sizes=0, bursts=0, tails=float("inf"), state=0)
#: With a background load that comes and goes on one core.
LOADED = replace(Noise(), load=0.4)


def cells(count: int) -> list[Cell]:
    """Return so many cells, of a kernel each."""
    return [Cell(f"k{index}", "fc1", "forward", 64, 0.9, f"{index:016}") for index in range(count)]


def sizes(count: int, noise: Noise, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the size of noise of so many cells, in units of the usual."""
    return np.clip(np.exp(rng.normal(0, noise.sizes, count)), 0.3, 3.0)


def levels(
    slower: Sequence[float],
    looks: tuple[int, int],
    noise: Noise,
    rng: np.random.Generator,
    scale: NDArray[np.float64],
    begin: int = 0,
) -> list[Levels]:
    """Return the visits of as many cells as ``slower`` says by how much head is slower.

    ``scale`` is the size of each cell's noise; ``begin`` numbers the first of their processes.
    """
    count = len(slower)
    processes, visits = looks
    shape = count, processes, visits, SIDES
    samples = noise.sample * _following((*shape[:2], visits * ROUNDS, SIDES), noise.rounds, rng)
    samples = samples.reshape(count, processes, visits, ROUNDS, SIDES).mean(axis=3)
    logs = samples + rng.normal(0, noise.placement, shape)
    logs += noise.wander * _following(shape, noise.visits, rng)
    logs += _processes((count, processes, 1, SIDES), noise, rng)
    logs += _bursts(shape, noise, rng)
    logs *= scale[:, None, None, None]
    logs += np.linspace(0, 0.1, processes * visits).reshape(1, processes, visits, 1)
    logs += _states(shape, noise, rng)
    if noise.load:
        busy = rng.random((count, processes, visits, 1)) < noise.loaded
        logs += busy * np.abs(rng.normal(0, noise.load, shape))
    logs[..., 2] += np.log1p(slower)[:, None, None]
    names = [str(begin + process) for process in range(processes) for _ in range(visits)]
    return [
        Levels([(name, *sides) for name, sides in zip(names, cell.tolist(), strict=True)])
        for cell in logs.reshape(count, processes * visits, SIDES)
    ]


def _following(
    shape: tuple[int, ...], correlation: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return values of variance 1 that follow each other along the third axis: AR(1)."""
    steps = rng.normal(0, np.sqrt(1 - correlation**2), shape)
    steps[:, :, 0] /= np.sqrt(1 - correlation**2)
    return np.asarray(signal.lfilter([1.0], [1.0, -correlation], steps, axis=2))


def _processes(
    shape: tuple[int, ...], noise: Noise, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return what each process adds to each side."""
    if np.isinf(noise.tails):
        return rng.normal(0, noise.process, shape)
    drawn = rng.standard_t(noise.tails, shape)
    return np.asarray(noise.process * drawn / np.sqrt(noise.tails / (noise.tails - 2)))


def _bursts(shape: tuple[int, ...], noise: Noise, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return what bursts of other work add, to a few visits in a row and to each side its own."""
    begins = rng.random(shape[:-1]) < noise.bursts
    lasts = rng.geometric(1 / noise.burst_visits, shape[:-1])
    position = np.arange(shape[2])
    ends = np.maximum.accumulate(np.where(begins, position + lasts, 0), axis=2)
    return np.where((position < ends)[..., None], rng.exponential(noise.burst, shape), 0.0)


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
    drawn_sizes = sizes(len(named), noise, rng)
    truth = dict(zip(named, zip(slower, drawn_sizes, strict=True), strict=True))
    first, again = Measured(), Measured()

    def drawn(which: Sequence[Cell], looks: tuple[int, int], begin: int = 0) -> list[Levels]:
        planted, scale = np.array([truth[cell] for cell in which]).reshape(-1, 2).T
        return levels(list(planted), looks, noise, rng, scale, begin)

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
