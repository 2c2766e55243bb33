"""Answers of stored searches: probes, bytes, calls, predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crossover.bench.machine.limits import CpuLimits
from crossover.bench.records.rows import Row, Visit
from crossover.bench.statistics.search_answers import (
    FASTEST,
    FASTEST_SERIES,
    ProbedOperands,
    SearchAnswer,
    raced,
    search_answers,
)
from crossover.bench.statistics.sign_search import SignSearch
from tests.examples import dense, kernel, measured, problem, visit

KERNELS = {each.name: each for each in (dense("d"), dense("e"), kernel("k"))}


def answer() -> SearchAnswer:
    return SearchAnswer(("k",), "cpu", ("d",), SignSearch())


def probed(sparsity: float, dense_s: float, sparse_s: float, **changes: Any) -> Visit:
    """Return a visit of ``d`` and ``k`` at a sparsity, noise-free."""
    rows = [
        measured("d", [dense_s] * 10, nbytes=800),
        measured("k", [sparse_s] * 10, nbytes=round(1600 * (1 - sparsity)), prepare_s=0.5),
    ]
    return visit(problem(f"at {sparsity}", sparsity, **changes), rows, series="search")


def test_visits_become_answers() -> None:
    visits = [probed(0.0, 1.0, 3.0), probed(0.99, 1.0, 0.5), probed(0.7, 1.0, 0.7)]
    (found,) = search_answers(visits, KERNELS)
    assert (found.kernel, found.device, found.baselines) == ("k", "cpu", ("d",))
    assert [each.sparsity for each in found.probes] == [0.0, 0.7, 0.99]
    assert [each.verdict for each in found.probes] == ["slower", "faster", "faster"]
    estimate = found.search.estimate()
    assert (estimate.kind, estimate.low, estimate.high) == ("between", 0.0, 0.7)
    assert found.break_even() == (0.99, 1.0)
    assert found.memory_crossover() == pytest.approx(0.5)


def test_each_question_is_a_search_of_its_own() -> None:
    one = probed(0.0, 1.0, 2.0)
    others = [
        probed(0.0, 1.0, 2.0, threads=1),
        probed(0.0, 1.0, 2.0, caches="cold"),
        probed(0.0, 1.0, 2.0, recipe={"weights": {"sparsity": 0.0}, "batch": 8}),
        replace(one, rows={"e": measured("e", [1.0] * 10), "k": one.rows["k"]}),
    ]
    assert len(search_answers([one, *others], KERNELS)) == 5
    assert len(search_answers([one, probed(0.9, 1.0, 0.5)], KERNELS)) == 1


def test_the_fastest_baseline_of_a_visit_is_held_against() -> None:
    rows = {"d": [2.0] * 10, "e": [1.0] * 10, "k": [1.5] * 10}
    (found,) = search_answers([visit(problem(sparsity=0.9), rows)], KERNELS)
    assert found.probes[0].verdict == "slower"
    assert raced(visit(rows=rows), KERNELS) == (("k",), ("d", "e"))


def test_the_baseline_of_a_probe_is_the_same_in_all_its_visits() -> None:
    # In one visit of three the slower dense kernel happened to be quick.
    times = [(1.0, 1.1), (1.0, 1.1), (1.2, 0.9)]
    made = [
        visit(problem(sparsity=0.9), {"d": [d] * 10, "e": [e] * 10, "k": [1.0] * 10})
        for d, e in times
    ]
    (found,) = search_answers(made, KERNELS)
    (probe,) = found.probes
    medians = sorted(np.log([1.1, 1.1, 0.9]))  # over e alone, the quicker one in all
    assert np.log(probe.speedup) == pytest.approx(medians[1])


def test_the_fastest_of_several_candidates_is_chosen_by_the_other_visits() -> None:
    kernels = KERNELS | {"l": kernel("l")}
    lucky = [(0.8, 1.2), (1.2, 0.8), (1.2, 1.1)]
    made = [
        visit(problem(sparsity=0.9), {"d": [1.0] * 10, "k": [k] * 10, "l": [l_] * 10},
              series=FASTEST_SERIES)
        for k, l_ in lucky
    ]  # fmt: skip
    (found,) = search_answers(made, kernels)
    assert (found.kernel, found.candidates, found.baselines) == (FASTEST, ("k", "l"), ("d",))
    assert raced(made[0], kernels) == (("k", "l"), ("d",))
    # Each visit's own winner would have been quicker than the dense kernel in two of three.
    assert found.probes[0].verdict == "slower"
    assert found.ahead == {0.9: "l"}


def test_a_failure_ends_a_search() -> None:
    failing = visit(problem(sparsity=0.0), [measured("d", [1.0]), Row("k", "wrong", "planted")])
    (found,) = search_answers([failing], KERNELS)
    assert (found.failure, found.wrong, found.begun) == ("k: planted", True, False)
    gone = answer()
    gone.add(visit(rows={"k": [1.0]}))
    assert gone.failure == "d: was not there"
    assert not gone.wrong


def test_the_prediction_is_where_the_rooflines_meet() -> None:
    limits = CpuLimits(
        threads=1, fma_one_gflops=100.0, fma_gflops=100.0, blas_gflops=100.0,
        copy_gbs={"memory": 10.0}, cache_bytes={}, call_s=1e-7, parallel_s=1e-6,
    )  # fmt: skip
    found = answer()
    assert found.predicted(limits) is None
    # Bound by memory: fp32 with 32-bit indices crosses at 50 %.
    found.problem = problem(executed_flops=2e6, side_bytes=8000)
    found.operands = {
        0.0: ProbedOperands(8_000_000, 4_000_000, 1.0, 1.0),
        0.99: ProbedOperands(80_000, 4_000_000, 1.0, 1.0),
    }
    assert found.predicted(limits) == pytest.approx(0.5, abs=0.002)
    assert found.predicted(None) is None
    # Bound by multiply-adds: any zero that is left out pays.
    found.problem = problem(executed_flops=2e10, side_bytes=80_000_000)
    assert found.predicted(limits) == 0.0


def test_a_baseline_far_from_its_bound_is_weak() -> None:
    limits = CpuLimits(
        threads=1, fma_one_gflops=100.0, fma_gflops=100.0, blas_gflops=100.0,
        copy_gbs={"memory": 10.0}, cache_bytes={}, call_s=1e-7, parallel_s=1e-6,
    )  # fmt: skip
    bound_s = limits.call_bound_s(1600.0, 800 + 480)
    visits = [probed(0.0, 1.9 * bound_s, 1.0), probed(0.9, 2.1 * bound_s, 1e-9)]
    (found,) = search_answers(visits, KERNELS)
    assert found.weak_baseline_at(limits) == [0.9]
    assert found.weak_baseline_at(None) == []


def test_memory_crossover_is_where_the_bytes_are_equal() -> None:
    found = answer()
    assert found.memory_crossover() is None
    found.operands = {
        0.0: ProbedOperands(400, 400, 1.0, 1.0),
        0.9: ProbedOperands(400, 400, 1.0, 1.0),
    }
    assert found.memory_crossover() is None  # both hold W dense
    bytes_at = {0.0: 800, 0.5: 400, 0.9: 80}
    found.operands = {s: ProbedOperands(nbytes, 400, 1.0, 1.0) for s, nbytes in bytes_at.items()}
    assert found.memory_crossover() == pytest.approx(0.5)


def test_a_kernel_that_is_not_faster_never_pays_back() -> None:
    (found,) = search_answers([probed(0.99, 1.0, 2.0)], KERNELS)
    assert found.break_even() is None
    assert found.operands[0.99].calls == np.inf
