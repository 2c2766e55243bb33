"""Intervals cover under noise that is not the kind they assume; faulty ones do not.

``python -m pytest tests/statistics/test_coverage.py -s -m soak`` prints what was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from crossover.bench.statistics import intervals
from crossover.bench.statistics.intervals import Interval, VisitMedians, pooled_intervals
from tests.statistics.noise import CELLS, Drawn, Noise, drawn

LEAST = 0.93
Estimator = Callable[[Drawn], Sequence[Interval]]
NOISES = {
    "all of it": Noise(),
    "autocorrelated": Noise(between_cells=0, bursts=0, states=0, process=0),
    "different per cell": Noise(between_cells=0.7, autocorrelation=0, bursts=0, states=0),
    "bursts": Noise(between_cells=0, autocorrelation=0, bursts=0.4, states=0),
    "states": Noise(between_cells=0, autocorrelation=0, bursts=0, states=0.2),
}


@dataclass(frozen=True)
class Coverage:
    """The share of intervals that hold the truth, of all cells and of the noisiest quarter."""

    all: float
    noisiest: float
    #: The median of high / low - 1.
    width: float


def ours(cells: Drawn) -> Sequence[Interval]:
    return pooled_intervals(cells.quantities, cells.groups)


def of_independent_rounds(cells: Drawn) -> Sequence[Interval]:
    """Return what one gets who takes all rounds for independent."""
    visits = [VisitMedians.of([cell.ravel()]) for cell in cells.logs]
    return [pooled_intervals([each], [None])[0] for each in visits]


def of_one_variance(cells: Drawn) -> Sequence[Interval]:
    """Return what one gets who takes all cells of a group for equally noisy."""
    found = []
    for group in np.split(cells.logs, cells.groups[-1] + 1):
        medians = np.median(group, axis=2)
        freedom = medians.size - len(medians)
        squares = ((medians - medians.mean(axis=1, keepdims=True)) ** 2).sum()
        half = stats.t.ppf(0.975, freedom) * np.sqrt(squares / freedom / medians.shape[1])
        found += [Interval(*np.exp([m - half, m, m + half])) for m in medians.mean(axis=1)]
    return found


def coverage(
    estimator: Estimator, visits: int, repetitions: int, noise: Noise | None = None
) -> Coverage:
    rng = np.random.default_rng([visits, repetitions])
    held, scatter, widths = [], [], []
    for _ in range(repetitions):
        cells = drawn(visits, rng, noise)
        found = estimator(cells)
        held += [
            i.low <= truth <= i.high for i, truth in zip(found, np.exp(cells.truths), strict=True)
        ]
        widths += [i.high / i.low - 1 for i in found]
        scatter += list(np.median(cells.logs, axis=2).std(axis=1))
    noisiest = np.array(held)[np.array(scatter) >= np.quantile(scatter, 0.75)]
    return Coverage(float(np.mean(held)), float(noisiest.mean()), float(np.median(widths)))


@pytest.mark.parametrize("visits", [3, 4, 6])
def test_intervals_cover_under_noise_of_another_kind(visits: int) -> None:
    found = coverage(ours, visits, 6)
    assert found.all >= LEAST
    assert found.noisiest >= LEAST, "those that are seen to be noisy"


@pytest.mark.parametrize("noise", NOISES)
def test_intervals_cover_under_each_kind_of_noise(noise: str) -> None:
    assert coverage(ours, 3, 6, NOISES[noise]).all >= LEAST


def test_rounds_taken_for_independent_are_found_out() -> None:
    assert coverage(of_independent_rounds, 3, 3).all < 0.8


def test_one_variance_for_all_cells_is_found_out() -> None:
    found = coverage(of_one_variance, 3, 6)
    assert found.noisiest < 0.85
    assert found.width > 1.2 * coverage(ours, 3, 6).width


def test_a_normal_quantile_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "_student", lambda share, _: float(stats.norm.ppf(share)))
    assert coverage(ours, 3, 6).all < LEAST


@pytest.mark.soak
@pytest.mark.parametrize("visits", [2, 3, 4, 6])
@pytest.mark.parametrize("noise", NOISES)
def test_intervals_cover_in_many_cells(noise: str, visits: int) -> None:
    found = coverage(ours, visits, 100, NOISES[noise])
    print(
        f"{noise}, {visits} visits, {100 * CELLS} cells: {found.all:.1%} hold the truth, of the "
        f"noisiest quarter {found.noisiest:.1%}; median width {found.width:.1%}"
    )
    assert found.all >= LEAST
    assert visits < 3 or found.noisiest >= LEAST
