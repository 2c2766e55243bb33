"""Each doubt is raised by what it is about, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crossover.bench.flags import FLAGS, Evidence, raised
from crossover.bench.intervals import order_half_width

STEADY = Evidence(
    samples=[1e-3 + 1e-6 * (i % 5) for i in range(30)],
    visits=[30],
    loops=2,
    canary=[1e-4] * 30,
    best_canary_s=1e-4,
    load=0.5,
    cores=2,
    threading_layer="omp",
)
WILD = np.random.default_rng(0).lognormal(-7, 0.4, 30).tolist()


def test_a_good_measurement_raises_no_doubt() -> None:
    assert raised(STEADY) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"samples": WILD}, "noisy"),
        ({"samples": [1e-3] * 15 + [1.3e-3] * 15}, "drifting"),
        ({"samples": [1e-3, 1e-3, 1e-3, 2e-3, 2e-3, 2e-3] * 3, "visits": [6] * 3}, "drifting"),
        ({"samples": [1e-3] * 4, "visits": [4]}, "too short"),
        ({"exposed": True}, "host delay"),
        ({"samples": [1e-6] * 30}, "too short"),
        ({"canary": [1.3e-4] * 30}, "throttled"),
        ({"load": 4.0}, "oversubscribed"),
        ({"threading_layer": "workqueue"}, "slow threading layer"),
    ],
)
def test_each_doubt_is_raised(change: dict[str, Any], name: str) -> None:
    assert name in raised(replace(STEADY, **change))


def test_visits_that_differ_are_no_drift() -> None:
    """W is converted anew in each visit, and may lie better in memory."""
    samples = [*STEADY.samples, *(1.3 * s for s in STEADY.samples)]
    assert "drifting" not in raised(replace(STEADY, samples=samples, visits=[30, 30]))


def test_nothing_measured_raises_nothing() -> None:
    assert raised(replace(STEADY, samples=[])) == []


def test_every_flag_has_a_remedy() -> None:
    assert len({flag.name for flag in FLAGS}) == len(FLAGS)
    assert all(flag.means and flag.remedy for flag in FLAGS)


def test_order_statistics_cover_the_median() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(500):
        values = rng.standard_t(2, 25)
        ordered = np.sort(values)
        # 25 values: the 8th from either end hold the median with 95.7 %.
        assert order_half_width(values) == pytest.approx((ordered[17] - ordered[7]) / 2)
        covered += ordered[7] <= 0 <= ordered[17]
    assert covered >= 465
    assert order_half_width([1.0] * 5) == float("inf")
    assert order_half_width([1.0] * 6) == 0.0
