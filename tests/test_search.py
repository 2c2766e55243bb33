"""The search, on simulated kernels with the noise that real machines have; no clock is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from crossover.bench.crossover import Crossover
from crossover.bench.search import SCAN, WIDTH, Found, Search, search, sign

Curve = Callable[[float], float]


class SimulatedMachine:
    """Times two kernels in rounds: drift, bursts and heavy tails, as seen on shared machines."""

    def __init__(self, log_ratio: Curve, rng: np.random.Generator, neighbours: float = 0.0) -> None:
        self.log_ratio = log_ratio
        self.rng = rng
        self.drift = 0.0
        self.cells: set[float] = set()
        #: The state of the machine shifts the ratio by ± so much, for a few visits each.
        self.neighbours = neighbours
        self.state = 1.0

    def measure(self, sparsity: float, rounds: int) -> Sequence[float]:
        """Return the log of dense time / sparse time of each round."""
        # A later visit comes after a while.
        changes = 0.8 if sparsity in self.cells else 0.4
        self.cells.add(sparsity)
        if self.rng.random() < changes:
            self.state = float(self.rng.choice([-1.0, 1.0]))
        walk = self.drift + np.cumsum(self.rng.normal(0, 0.02, rounds))
        self.drift = float(walk[-1])
        # Within a round the machine changes too, a little, and in either kernel's turn.
        dense = self._times(0.0, walk)
        sparse = self._times(
            -self.log_ratio(sparsity) + self.state * self.neighbours,
            walk + self.rng.normal(0, 0.005, rounds),
        )
        return list(np.log(dense) - np.log(sparse))

    def _times(self, log_time: float, walk: np.ndarray) -> np.ndarray:
        rng, rounds = self.rng, walk.size
        heavy = 0.02 * rng.standard_t(3, rounds)
        bursts = (rng.random(rounds) < 0.08) * rng.exponential(1.5, rounds)
        return np.asarray(np.exp(log_time + walk + heavy + bursts))


def crossing_at(place: float, steepness: float) -> Curve:
    """Return a log-ratio that grows with each halving of the density, zero at ``place``."""
    return lambda s: float(steepness * np.log((1 - place) / (1 - s)))


def run(curve: Curve, seed: int, neighbours: float = 0.0) -> tuple[Found, SimulatedMachine]:
    machine = SimulatedMachine(curve, np.random.default_rng(seed), neighbours)
    return search(machine.measure), machine


def test_a_planted_crossover_lies_inside_its_interval() -> None:
    rng = np.random.default_rng(0)
    inside, widths, cells = 0, [], []
    for seed in range(1000):
        place = float(rng.uniform(0.05, 0.985))
        found, machine = run(crossing_at(place, float(rng.uniform(0.5, 1.0))), seed)
        answer = found.crossover
        inside += answer.kind == "between" and answer.low <= place <= answer.high
        widths.append(answer.high - answer.low)
        cells.append(len(machine.cells))
    assert inside >= 930
    assert np.median(widths) <= WIDTH
    # Of the cells of uniform grids: of the step that was asked for, and of those reached.
    assert max(cells) <= 0.25 * (SCAN[-1] - SCAN[0]) / WIDTH
    assert np.sum(cells) <= 0.25 * np.sum((SCAN[-1] - SCAN[0]) / np.array(widths))


def test_neighbours_widen_the_answer_instead_of_moving_it() -> None:
    """A neighbour shifts every ratio by 12 % for a while, now in favour of one kernel."""
    rng = np.random.default_rng(1)
    inside, widths = 0, []
    for seed in range(300):
        place = float(rng.uniform(0.3, 0.95))
        found, _ = run(crossing_at(place, float(rng.uniform(0.5, 1.0))), seed, neighbours=0.12)
        answer = found.crossover
        inside += answer.kind in ("between", "open") and answer.low <= place <= answer.high
        widths.append(answer.high - answer.low)
    assert inside >= 0.93 * 300
    assert np.median(widths) <= 0.25


@pytest.mark.parametrize(
    ("kind", "curve"),
    [
        ("never", lambda s: -0.1 - 0.5 * (1 - s)),
        ("always", lambda s: 0.1 + 0.5 * s),
        ("several", lambda s: 0.3 - 1.5 * abs(s - 0.55)),  # faster from 35 to 75 % only
        ("several", lambda s: -0.3 + 1.5 * abs(s - 0.55)),
    ],
    ids=["never", "always", "faster-in-the-middle", "slower-in-the-middle"],
)
def test_other_shapes_are_recognised(kind: str, curve: Curve) -> None:
    right = sum(run(curve, seed)[0].crossover.kind == kind for seed in range(200))
    assert right >= 190


def test_identical_kernels_are_seldom_told_apart() -> None:
    decided = 0
    for seed in range(200):
        found, _ = run(lambda _: 0.0, seed)
        decided += any(probe.verdict != "undecided" for probe in found.probes)
    assert decided <= 30  # any sign is wrong; five probes each


def test_a_search_that_is_cut_short_says_what_stayed_open() -> None:
    machine = SimulatedMachine(crossing_at(0.6, 1.0), np.random.default_rng(1))
    steps = Search()
    with pytest.raises(ValueError, match="no speedup was measured"):
        steps.found()
    for measured in (1, 2, 3):
        assert steps.wanted() is not None
        steps.step(machine.measure)
        if measured == 1:  # slower when dense says nothing of the rest
            assert steps.found().crossover == Crossover("open", SCAN[0], SCAN[-1])
    found = steps.found()
    assert found.crossover.kind == "between"
    assert found.crossover.low <= 0.6 <= found.crossover.high
    assert found.crossover.high - found.crossover.low == steps.open_width() > 0.2


def test_the_sign_test_is_exact() -> None:
    assert sign([1.0] * 10, 0.01) == "faster"
    assert sign([-1.0] * 10, 0.01) == "slower"
    assert sign([1.0] * 5, 0.01) == "undecided"
    assert sign([0.0] * 50, 0.01) == "undecided"
    assert sign([1.0] * 10 + [-1.0] * 4, 0.01) == "undecided"
