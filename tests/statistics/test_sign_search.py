"""The search, on simulated kernels with the noise that real machines have; no clock is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from crossover.bench.statistics.crossover import CrossoverEstimate
from crossover.bench.statistics.sign_search import SCAN, WIDTH, Probe, SignSearch, probe, sign

Curve = Callable[[float], float]


class SimulatedMachine:
    """Times two kernels in rounds: drift, bursts and heavy tails, as seen on shared machines."""

    def __init__(self, log_ratio: Curve, rng: np.random.Generator, neighbours: float = 0.0) -> None:
        self.log_ratio = log_ratio
        self.rng = rng
        self.drift = 0.0
        self.visited: dict[float, list[Sequence[float]]] = {}
        #: The state of the machine shifts the ratio by ± so much, for a few visits each.
        self.neighbours = neighbours
        self.state = 1.0

    def measure(self, sparsity: float, rounds: int) -> Sequence[float]:
        """Return the log of dense time / sparse time of each round."""
        # A later visit comes after a while.
        changes = 0.8 if sparsity in self.visited else 0.4
        self.visited.setdefault(sparsity, [])
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


def step(search: SignSearch, machine: SimulatedMachine) -> bool:
    """Make the visit that is wanted; return whether one was."""
    wanted = search.wanted()
    if wanted is not None:
        ratios = machine.measure(wanted.sparsity, wanted.rounds)
        machine.visited[wanted.sparsity].append(ratios)
        tell(search, wanted.sparsity, machine.visited[wanted.sparsity])
    return wanted is not None


def tell(search: SignSearch, sparsity: float, visits: Sequence[Sequence[float]]) -> None:
    """Tell of visits that two processes made in turn."""
    search.tell(sparsity, visits, [f"p{number % 2}" for number in range(len(visits))])


def run(curve: Curve, seed: int, neighbours: float = 0.0) -> tuple[SignSearch, SimulatedMachine]:
    machine = SimulatedMachine(curve, np.random.default_rng(seed), neighbours)
    search = SignSearch()
    while step(search, machine):
        pass
    return search, machine


def test_a_planted_crossover_lies_inside_its_interval() -> None:
    rng = np.random.default_rng(0)
    inside, widths, probed = 0, [], []
    for seed in range(1000):
        place = float(rng.uniform(0.05, 0.985))
        search, machine = run(crossing_at(place, float(rng.uniform(0.5, 1.0))), seed)
        answer = search.estimate()
        inside += answer.kind == "between" and answer.low <= place <= answer.high
        widths.append(answer.high - answer.low)
        probed.append(len(machine.visited))
    assert inside >= 930
    assert np.median(widths) <= WIDTH
    # Of the sparsities of uniform grids: of the step that was asked for, and of those reached.
    assert max(probed) <= 0.25 * (SCAN[-1] - SCAN[0]) / WIDTH
    assert np.sum(probed) <= 0.25 * np.sum((SCAN[-1] - SCAN[0]) / np.array(widths))


def test_neighbours_widen_the_answer_instead_of_moving_it() -> None:
    """A neighbour shifts every ratio by 12 % for a while, now in favour of one kernel."""
    rng = np.random.default_rng(1)
    inside, widths = 0, []
    for seed in range(300):
        place = float(rng.uniform(0.3, 0.95))
        search, _ = run(crossing_at(place, float(rng.uniform(0.5, 1.0))), seed, neighbours=0.12)
        answer = search.estimate()
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
    right = sum(run(curve, seed)[0].estimate().kind == kind for seed in range(200))
    assert right >= 190


def test_identical_kernels_are_seldom_told_apart() -> None:
    decided, level = 0, 0
    for seed in range(200):
        search, _ = run(lambda _: 0.0, seed)
        decided += any(probe.verdict in ("faster", "slower") for probe in search.probes)
        level += search.estimate().kind == "level"
    assert decided <= 30  # any sign is wrong; five probes each
    assert level >= 100


def test_curves_side_by_side_are_level_where_they_are() -> None:
    def flat_in_the_middle(sparsity: float) -> float:
        return float(np.clip(3 * (sparsity - 0.5), -1, 0) + np.clip(3 * (sparsity - 0.8), 0, 1))

    found = [run(flat_in_the_middle, seed)[0].estimate() for seed in range(100)]
    level = [each for each in found if each.kind == "level"]
    assert len(level) >= 60
    assert sum(0.49 <= each.low <= each.high <= 0.81 for each in level) >= 0.95 * len(level)
    # Kernels 5 % apart are not level, however long nothing is decided.
    apart = [run(lambda _: 0.05, seed)[0].estimate().kind for seed in range(50)]
    assert "level" not in apart


def test_a_search_that_is_cut_short_says_what_stayed_open() -> None:
    machine = SimulatedMachine(crossing_at(0.6, 1.0), np.random.default_rng(1))
    search = SignSearch()
    assert search.open_width() == 1.0
    with pytest.raises(ValueError, match="no speedup was measured"):
        search.estimate()
    for measured in (1, 2, 3):
        assert step(search, machine)
        if measured == 1:  # slower when dense says nothing of the rest
            assert search.estimate() == CrossoverEstimate("open", SCAN[0], SCAN[-1])
    found = search.estimate()
    assert found.kind == "between"
    assert found.low <= 0.6 <= found.high
    assert found.high - found.low == search.open_width() > 0.2


def test_a_search_goes_on_where_it_stopped() -> None:
    """It is a function of the visits it was told of: nothing else decides what it wants."""
    machine = SimulatedMachine(crossing_at(0.6, 1.0), np.random.default_rng(2))
    search = SignSearch()
    while step(search, machine):
        again = SignSearch()
        for sparsity, visits in machine.visited.items():
            tell(again, sparsity, visits)
        assert again.wanted() == search.wanted()
        assert again.probes == search.probes
    assert sum(map(len, machine.visited.values())) > 10


def test_later_visits_must_bear_a_verdict_out() -> None:
    first = [1.0] * 10
    assert probe(0.9, [first], 0.01) == Probe(0.9, "faster", float(np.exp(1.0)), 10)
    for dissenting, verdict in ((1, "faster"), (2, "undecided")):
        later = [[-0.1]] * dissenting + [[0.2]] * (10 - dissenting)
        found = probe(0.9, [first, *later], 0.01, ["a", "b"])
        assert found.verdict == verdict
        assert len(found.later) == 10
        assert found.confirmed
    assert not probe(0.9, [[0.2] * 10, [0.2]], 0.01, ["a", "b"]).confirmed
    assert not probe(0.9, [first], 0.01, ["a", "b"]).confirmed  # however clear it is
    assert probe(0.9, [first] * 3, 0.01, ["a", "b"]).confirmed


def test_what_one_process_saw_alone_is_not_confirmed() -> None:
    search = SignSearch(scan=(0.0, 0.5))
    for sparsity, ratio in ((0.0, -1.0), (0.5, 1.0)):
        search.tell(sparsity, [[ratio] * 10] * 3, ["a"] * 3)
    assert not search.confirmed
    search = SignSearch(width=0.2, scan=(0.0, 0.15))
    search.tell(0.0, [[-1.0] * 10] * 3, ["a"] * 3)
    search.tell(0.15, [[1.0] * 10] * 3, ["a", "a", "b"])
    wanted = search.wanted()
    assert wanted is not None
    assert (wanted.sparsity, wanted.not_in, wanted.confirming) == (0.0, "a", True)
    search.tell(0.0, [[-1.0] * 10] * 4, ["a", "a", "a", "b"])
    assert search.wanted() is None
    assert search.confirmed


def test_more_rounds_could_decide_it_until_there_were_enough() -> None:
    assert probe(0.9, [[1.0, -1.0] * 5], 0.01).unfinished
    assert not probe(0.9, [[1.0, -1.0] * 160], 0.01).unfinished


def test_the_sign_test_is_exact() -> None:
    assert sign([1.0] * 10, 0.01) == "faster"
    assert sign([-1.0] * 10, 0.01) == "slower"
    assert sign([1.0] * 5, 0.01) == "undecided"
    assert sign([0.0] * 50, 0.01) == "undecided"
    assert sign([1.0] * 10 + [-1.0] * 4, 0.01) == "undecided"
