"""Rates, bounds and counts."""

from __future__ import annotations

import math

import pytest

from crossover.bench.machine.limits import CpuLimits
from crossover.bench.statistics.rates import (
    break_even_calls,
    call_fraction,
    geometric_mean,
    gflops,
    is_weak,
    leaves_out,
    roofline_fraction,
)

LIMITS = CpuLimits(
    threads=1, fma_one_gflops=100.0, fma_gflops=100.0, blas_gflops=100.0,
    copy_gbs={"memory": 10.0}, cache_bytes={}, call_s=1e-7, parallel_s=1e-6,
)  # fmt: skip


def test_rates() -> None:
    assert gflops(2e9, 0.5) == 4.0
    assert roofline_fraction(LIMITS, 100e9, 1.0, 2.0) == pytest.approx(0.5)
    assert roofline_fraction(LIMITS, 1.0, 10e9, 4.0) == pytest.approx(0.25)
    assert math.isnan(roofline_fraction(None, 1.0, 1.0, 1.0))
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
    assert math.isnan(geometric_mean([]))


def test_an_empty_call_is_part_of_the_bound_of_a_call() -> None:
    # A tiny layer: its call costs more than its work.
    assert roofline_fraction(LIMITS, 1000.0, 100.0, 1.5e-7) < 0.1
    assert call_fraction(LIMITS, 1000.0, 100.0, 1.5e-7) == pytest.approx(1.1e-7 / 1.5e-7)
    assert math.isnan(call_fraction(None, 1.0, 1.0, 1.0))
    assert [is_weak(each) for each in (0.49, 0.5, math.nan)] == [True, False, False]


def test_break_even_is_never_where_nothing_is_gained() -> None:
    assert break_even_calls(1.0, 0.5, 0.25) == 4.0
    assert break_even_calls(1.0, 0.5, 0.5) == math.inf
    assert break_even_calls(0.0, 0.5, 0.25) == 0.0
    for given in ((-1.0, 1.0, 1.0), (1.0, math.nan, 1.0), (1.0, 1.0, math.inf)):
        with pytest.raises(ValueError, match="must be finite and at least 0"):
            break_even_calls(*given)


@pytest.mark.parametrize(
    ("stores_zeros", "stored", "nnz", "sparse"),
    [
        (False, 100, 100, True),
        (True, 1000, 100, False),
        (False, 950, 100, False),  # blocks that filled up
        (False, 949, 100, True),
        (False, 1000, 1000, True),  # W itself is full
    ],
)
def test_what_counts_as_sparse(stores_zeros: bool, stored: int, nnz: int, sparse: bool) -> None:
    assert leaves_out(stores_zeros, stored, nnz, 1000) == sparse
