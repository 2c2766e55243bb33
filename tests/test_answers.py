"""Intervals, crossovers and metrics: pure functions on planted numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossover.bench.crossover import bracket
from crossover.bench.intervals import Interval, median_interval, paired_speedup
from crossover.bench.trial import FILLED
from crossover.reports import metrics

SURE = 0.02


def points(*speedups: float, width: float = SURE) -> list[tuple[float, Interval]]:
    """Return speedups at sparsities 0.1, 0.2, ... with a relative half width."""
    return [
        ((i + 1) / 10, Interval(s * (1 - width), s, s * (1 + width)))
        for i, s in enumerate(speedups)
    ]


@pytest.mark.parametrize(
    ("speedups", "kind", "low", "high"),
    [
        ((0.5, 0.8, 1.5, 3.0), "between", 0.2, 0.3),
        ((0.5, 1.01, 0.99, 3.0), "between", 0.1, 0.4),
        ((1.5, 2.0, 3.0), "always", 0.1, 0.3),
        ((0.2, 0.5, 0.9), "never", 0.1, 0.3),
        ((0.5, 1.5, 0.5), "several", 0.1, 0.3),
        ((1.5, 0.5), "several", 0.1, 0.2),
        ((0.5, 1.5, 0.5, 1.5), "several", 0.1, 0.4),
        ((1.0, 1.01), "open", 0.1, 0.2),
        ((0.5, 0.9, 1.0), "open", 0.2, 0.3),
        ((1.0, 1.5, 2.0), "open", 0.1, 0.2),
    ],
)
def test_planted_crossovers_are_found(
    speedups: tuple[float, ...], kind: str, low: float, high: float
) -> None:
    found = bracket(points(*speedups))
    assert str(found.kind) == kind
    assert (found.low, found.high) == pytest.approx((low, high))


def test_a_crossover_prints_in_percent() -> None:
    assert str(bracket(points(0.5, 1.5))) == "10-20 %"
    assert str(bracket(points(0.5, 0.6))) == "never in [10, 20] %"
    assert str(bracket(points(1.5))) == "always at 10 %"


def test_no_point_is_no_crossover() -> None:
    with pytest.raises(ValueError, match="measure at least one"):
        bracket([])


def test_pairing_removes_what_a_round_has_in_common() -> None:
    rng = np.random.default_rng(0)
    drift = rng.lognormal(0, 0.5, 40)
    dense, sparse = 2.0 * drift, 1.0 * drift * rng.lognormal(0, 0.01, 40)
    speedup = paired_speedup(list(dense), list(sparse))
    assert speedup.low <= 2.0 <= speedup.high
    assert speedup.high - speedup.low < 0.03


def test_intervals_cover_the_median() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        found = median_interval(list(rng.standard_t(3, 30) + 10))
        covered += found.low <= 10 <= found.high
    assert covered >= 180


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_intervals_of_nothing_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="all finite"):
        median_interval(values)


@given(st.floats(1e-9, 10), st.floats(1e-9, 10), st.floats(0, 10))
def test_break_even_repays(dense: float, sparse: float, prepare: float) -> None:
    calls = metrics.break_even_calls(prepare, dense, sparse)
    if sparse >= dense:
        assert calls == float("inf")
    else:
        assert calls * (dense - sparse) == pytest.approx(prepare, abs=1e-9)


def test_a_sparse_kernel_that_stores_all_of_w_is_not_the_fastest_sparse() -> None:
    rows = pd.DataFrame(
        {
            "cell_id": ["a"] * 3,
            "device": ["cpu"] * 3,
            "kernel": ["dense", "blocks", "csr"],
            "format": ["dense", "bsr", "csr"],
            "remarks": [[], [FILLED], []],
            "time_s": [1.0, 1.0, 2.0],
        }
    )
    assert list(metrics.best_sparse(rows)["kernel"]) == ["csr"]
    assert metrics.best_sparse(rows[:2]).empty


def test_break_even_refuses_what_is_no_time() -> None:
    with pytest.raises(ValueError, match="dense_s nan"):
        metrics.break_even_calls(1.0, float("nan"), 1.0)


def test_useful_work_does_not_count_zeros() -> None:
    assert metrics.useful_gflops(1000, 10, 1e-6) == pytest.approx(20)
    assert metrics.executed_gflops(100, 100, 10, 1e-6) == pytest.approx(200)


def test_every_metric_says_what_it_is() -> None:
    names = [metric.name for metric in metrics.METRICS]
    assert len(set(names)) == len(names)
    assert all(m.unit and m.description for m in metrics.METRICS)
