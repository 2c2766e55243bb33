"""Figures over seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from crossover.bench.statistics.experiments.seeds import (
    Spread,
    difference,
    pooled_over_seeds,
    without_seeds,
)
from tests.reports import made, made_experiments


def test_a_spread_is_the_mean_the_least_and_the_most() -> None:
    found = Spread.of([0.9, 0.7, 0.8])
    assert found.mean == pytest.approx(0.8)
    assert (found.low, found.high) == (0.7, 0.9)
    with pytest.raises(ValueError, match="need at least one"):
        Spread.of([])


def test_a_difference_is_welchs() -> None:
    first, second = [0.95, 0.96, 0.97, 0.955], [0.90, 0.92, 0.91]
    found = difference(Spread.of(first), Spread.of(second))
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert found.low == pytest.approx(expected.low)
    assert found.high == pytest.approx(expected.high)
    assert found.median == pytest.approx(np.mean(first) - np.mean(second))


def test_a_difference_covers_its_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        one, two = (Spread.of(rng.normal(m, s, 3).tolist()) for m, s in ((1.0, 0.1), (0.8, 0.3)))
        found = difference(one, two)
        held += found.low <= 0.2 <= found.high
    assert held / 400 > 0.92


def test_one_seed_has_no_interval_and_equal_seeds_have_no_width() -> None:
    alone = difference(Spread.of([0.9]), Spread.of([0.8, 0.7]))
    assert math.isnan(alone.low)
    equal = difference(Spread.of([0.9, 0.9]), Spread.of([0.8, 0.8]))
    assert equal.low == equal.high == pytest.approx(0.1)


def test_networks_that_differ_in_their_seed_alone_are_pooled() -> None:
    visits = list(made_experiments.epoch())
    assert len({visit.problem.problem_id for visit in visits}) == 3
    pooled = pooled_over_seeds(visits)
    assert len({visit.problem.problem_id for visit in pooled}) == 1
    other = made_experiments.about("wide", 0.8, "erdos-renyi-scaled", 0, "epoch")
    (alone,) = pooled_over_seeds([made.visit("epoch", other, {"csr": 1.0})])
    assert alone.problem.problem_id != pooled[0].problem.problem_id


def test_a_recipe_loses_its_seeds_wherever_they_are() -> None:
    recipe = {"a": [{"seed": 1, "b": 2}], "seed": 3, "c": {"d": {"seed": 4}}}
    assert without_seeds(recipe) == {"a": [{"b": 2}], "c": {"d": {}}}
