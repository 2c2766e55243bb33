"""Intervals over visits: they cover what they say, pooled, alone, and over rounds."""

from __future__ import annotations

import numpy as np
import pytest

from crossover.bench.statistics.intervals import (
    Interval,
    VisitMedians,
    order_half_width,
    pooled_intervals,
)


def covered(visits: int, between: float, inside: float, rows: int = 400, rounds: int = 20) -> float:
    """Return the share of ``rows`` similar quantities whose interval holds the true ratio."""
    rng = np.random.default_rng([visits, round(1e3 * between), round(1e3 * inside)])
    truths = rng.normal(0.3, 0.5, rows)
    quantities = [
        VisitMedians.of(
            [
                truth + rng.normal(0, between) + inside * rng.standard_t(5, rounds)
                for _ in range(visits)
            ]
        )
        for truth in truths
    ]
    intervals = pooled_intervals(quantities, ["group"] * rows)
    held = [i.low <= np.exp(truth) <= i.high for i, truth in zip(intervals, truths, strict=True)]
    return float(np.mean(held))


@pytest.mark.parametrize("visits", [2, 3])
@pytest.mark.parametrize(("between", "inside"), [(0.05, 0.02), (0.2, 0.05), (0.02, 0.05)])
def test_intervals_cover_at_their_confidence(visits: int, between: float, inside: float) -> None:
    assert covered(visits, between, inside) >= 0.93


@pytest.mark.parametrize("visits", [2, 3])
def test_they_are_no_wider_than_they_must_be(visits: int) -> None:
    rng = np.random.default_rng(visits)
    medians = [VisitMedians.of(list(rng.normal(0, 0.1, (visits, 1)))) for _ in range(400)]
    # Of single rounds nothing is known from inside.
    exact = [VisitMedians(each.medians, np.zeros(visits)) for each in medians]
    widths = [np.log(i.high / i.low) for i in pooled_intervals(exact, [0] * 400)]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(visits), rel=0.1)


def test_one_visit_alone_has_the_variance_of_its_group() -> None:
    rng = np.random.default_rng(0)
    many = [VisitMedians.of(list(rng.normal(0, 0.1, (2, 1)))) for _ in range(200)]
    known = VisitMedians(np.array([0.5]), np.array([0.001]))
    *_, alone = pooled_intervals([*many, known], ["group"] * 201)
    assert np.log(alone.high / alone.low) == pytest.approx(2 * 1.97 * 0.1, rel=0.15)
    assert alone.median == pytest.approx(np.exp(0.5))


def test_a_group_that_is_too_small_is_drawn_towards_the_variance_of_all() -> None:
    rng = np.random.default_rng(0)
    noisy = [VisitMedians.of(list(rng.normal(0, 0.2, (3, 1)))) for _ in range(50)]
    quiet = [VisitMedians(rng.normal(0, 0.01, 3), np.zeros(3)) for _ in range(50)]
    few = [VisitMedians(np.array([0.0, 0.001]), np.zeros(2))]
    groups = ["noisy"] * 50 + ["quiet"] * 50 + ["few"]
    found = pooled_intervals([*noisy, *quiet, *few], groups)
    widths = [np.log(i.high / i.low) for i in found]
    assert np.mean(widths[:50]) > 10 * np.mean(widths[50:100])
    # Alone its two visits agree to 0.1 %.
    assert widths[100] > 3 * np.mean(widths[50:100])


def test_a_noisy_quantity_is_no_burden_to_the_quiet_ones_of_its_group() -> None:
    rng = np.random.default_rng(0)
    quiet = [VisitMedians(rng.normal(0, 0.01, 3), np.zeros(3)) for _ in range(50)]
    noisy = [VisitMedians(rng.normal(0, 0.5, 3), np.zeros(3)) for _ in range(5)]
    found = pooled_intervals([*quiet, *noisy], ["group"] * 55)
    widths = [np.log(i.high / i.low) for i in found]
    assert np.median(widths[:50]) < 0.06, "pooled, it would be 0.3"
    assert min(widths[50:]) > 3 * np.median(widths[:50])


def test_where_all_are_alike_the_variance_is_pooled() -> None:
    rng = np.random.default_rng(0)
    exact = [VisitMedians(rng.normal(0, 0.1, 3), np.zeros(3)) for _ in range(2000)]
    widths = [np.log(i.high / i.low) for i in pooled_intervals(exact, ["group"] * 2000)]
    assert np.std(widths) < 0.05 * np.mean(widths)


def test_visits_that_agree_to_every_digit_are_not_taken_for_certain() -> None:
    agreeing = [VisitMedians(np.zeros(2), np.zeros(2)) for _ in range(20)]
    others = [VisitMedians(np.array([0.0, 0.1]), np.zeros(2)) for _ in range(20)]
    found = pooled_intervals([*agreeing, *others], ["group"] * 40)
    assert all(np.log(i.high / i.low) > 0.005 for i in found)
    (first, *_) = pooled_intervals(agreeing, ["group"] * 20)
    assert (first.low, first.high) == (1.0, 1.0)


def test_where_nothing_is_pooled_rounds_stand_in() -> None:
    rng = np.random.default_rng(1)
    held = []
    for _ in range(400):
        (found,) = pooled_intervals([VisitMedians.of([rng.normal(0.2, 0.1, 20)])], [None])
        held.append(found.low <= np.exp(0.2) <= found.high)
    assert np.mean(held) >= 0.93
    (single,) = pooled_intervals([VisitMedians.of([[0.2]])], [None])
    assert single.decided is None  # of a single round nothing is known
    assert single.low == pytest.approx(0, abs=1e-300)
    assert single.high == pytest.approx(np.exp(700))


def test_an_estimate_is_never_better_known_than_its_rounds_allow() -> None:
    # Visits that agree by chance.
    quantity = VisitMedians(np.array([0.1, 0.1, 0.1]), np.array([0.05, 0.05, 0.05]))
    (found,) = pooled_intervals([quantity], [None])
    assert np.log(found.high / found.low) >= 2 * 1.96 * 0.05 / np.sqrt(3)


def test_what_is_no_number_is_refused() -> None:
    refused: list[list[list[float]]] = [[], [[]], [[1.0], [float("nan")]], [[float("inf")]]]
    for visits in refused:
        with pytest.raises(ValueError, match="need at least one"):
            VisitMedians.of(visits)
    assert pooled_intervals([], []) == []


def test_a_ratio_is_decided_by_its_interval() -> None:
    assert Interval(1.1, 1.2, 1.3).decided is True
    assert Interval(0.7, 0.8, 0.9).decided is False
    assert Interval(0.9, 1.2, 1.5).decided is None
    assert Interval(1.0, 1.0, 1.0).decided is None


def test_order_statistics_cover_the_median() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(500):
        values = rng.standard_t(2, 25)
        ordered = np.sort(values)
        # 25 values: the 8th from either end hold the median with 95.7 %.
        assert order_half_width(values) == pytest.approx((ordered[17] - ordered[7]) / 2)
        held += ordered[7] <= 0 <= ordered[17]
    assert held >= 465
    assert order_half_width([1.0] * 5) == float("inf")
    assert order_half_width([1.0] * 6) == 0.0


def test_visits_of_one_process_are_one_witness() -> None:
    quantity = VisitMedians(np.array([0.0, 0.2, 0.5]), np.array([0.03, 0.04, 0.02]))
    folded = quantity.folded(["a", "a", "b"])
    assert folded.medians == pytest.approx([0.1, 0.5])
    assert folded.errors == pytest.approx([0.025, 0.02])
    alone = quantity.folded(["a", "b", "c"])
    np.testing.assert_array_equal(alone.medians, quantity.medians)
    # What a process shifts, many visits of it do not average away.
    rng = np.random.default_rng(3)
    shifted = [
        VisitMedians(np.repeat(rng.normal(0, 0.1, 2), 3) + rng.normal(0, 0.01, 6), np.zeros(6))
        for _ in range(400)
    ]
    processes = ["a"] * 3 + ["b"] * 3

    def covered(quantities: list[VisitMedians]) -> float:
        found = pooled_intervals(quantities, [0] * len(quantities))
        return float(np.mean([each.low <= 1 <= each.high for each in found]))

    assert covered([each.folded(processes) for each in shifted]) >= 0.93
    assert covered(shifted) < 0.85
