"""The crossover read off speedups at several sparsities."""

from __future__ import annotations

import pytest

from crossover.bench.statistics.crossover import (
    CrossoverEstimate,
    Kind,
    bracket,
    from_signs,
    sign_changes,
)
from crossover.bench.statistics.intervals import Interval

PLACES = (0.0, 0.5, 0.8, 0.9, 0.99)
SIGNS = {"+": True, "-": False, "?": None}


@pytest.mark.parametrize(
    ("signs", "kind", "low", "high"),
    [
        ("--+++", "between", 0.5, 0.8),
        ("-?+++", "between", 0.0, 0.8),
        ("--??+", "between", 0.5, 0.99),
        ("+++++", "always", 0.0, 0.99),
        ("-----", "never", 0.0, 0.99),
        ("+++??", "open", 0.8, 0.99),
        ("+?+?+", "open", 0.0, 0.99),
        ("--?--", "open", 0.5, 0.9),
        ("??+++", "open", 0.0, 0.8),
        ("---??", "open", 0.8, 0.99),
        ("?????", "open", 0.0, 0.99),
        ("-++-+", "several", 0.0, 0.99),
        ("+++--", "several", 0.8, 0.9),
        ("-+-++", "several", 0.0, 0.9),
    ],
)
def test_signs_make_an_answer(signs: str, kind: Kind, low: float, high: float) -> None:
    points = [(place, SIGNS[sign]) for place, sign in zip(PLACES, signs, strict=True)]
    assert from_signs(points) == CrossoverEstimate(kind, low, high)
    assert from_signs(points[::-1]) == CrossoverEstimate(kind, low, high)  # in any order


def test_a_speedup_whose_interval_holds_1_decides_nothing() -> None:
    speedups = [(0.5, Interval(0.5, 0.6, 0.7)), (0.8, Interval(0.9, 1.1, 1.3)),
                (0.9, Interval(1.1, 1.2, 1.3))]  # fmt: skip
    assert bracket(speedups) == CrossoverEstimate("between", 0.5, 0.9)


def test_no_point_is_no_answer() -> None:
    with pytest.raises(ValueError, match="no speedup was measured"):
        bracket([])
    assert sign_changes([]) == []


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (CrossoverEstimate("between", 0.5, 0.825), "50-82.5 %"),
        (CrossoverEstimate("never", 0.0, 0.99), "never in [0, 99] %"),
        (CrossoverEstimate("always", 0.9, 0.9), "always at 90 %"),
    ],
)
def test_an_answer_as_a_table_shows_it(estimate: CrossoverEstimate, text: str) -> None:
    assert str(estimate) == text
