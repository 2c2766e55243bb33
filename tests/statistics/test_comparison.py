"""Kernels compared: only samples of one visit are ever paired."""

from __future__ import annotations

import numpy as np
import pytest

from crossover.bench.records.rows import Row
from crossover.bench.statistics.comparison import (
    ROUNDING,
    Pair,
    contests,
    cross_fitted,
    enough,
    fastest,
    fastest_over,
    log_ratios,
    open_width,
    sole_process,
    speedups,
    times,
)
from crossover.bench.statistics.contenders import speedup_of_fastest
from tests.examples import dense, kernel, measured, problem, visit

KERNELS = {each.name: each for each in (dense(), kernel("csr"), kernel("bsr"))}
RNG = np.random.default_rng(0)


def noise(seconds: float, rounds: int = 10, spread: float = 0.001) -> list[float]:
    return list(seconds * np.exp(spread * RNG.standard_normal(rounds)))


def test_only_samples_of_one_visit_are_paired() -> None:
    # The machine is ten times slower in the second visit: across visits any ratio would come out.
    visits = [
        visit(rows={"dense": [2.0, 4.0], "csr": [1.0, 1.0]}),
        visit(rows={"dense": [20.0, 20.0]}),
        visit(rows={"csr": [10.0, 10.0]}),
        visit(rows={"dense": [30.0, 30.0, 30.0], "csr": [10.0, 10.0, 10.0]}),
    ]
    ratios = [np.exp(each).tolist() for each in log_ratios("dense", "csr", visits)]
    assert ratios == [[pytest.approx(2.0), pytest.approx(4.0)], [pytest.approx(3.0)] * 3]


def test_a_kernel_that_dropped_out_pairs_as_far_as_it_goes() -> None:
    out = visit(rows={"dense": [2.0, 4.0, 8.0], "csr": [1.0, 1.0]})
    (ratios,) = log_ratios("dense", "csr", [out])
    assert np.exp(ratios) == pytest.approx([2.0, 4.0])
    failed = visit(rows=[measured("dense", [1.0]), Row("csr", "failed", "why", samples=[1.0])])
    assert log_ratios("dense", "csr", [failed]) == []


def test_other_samples_pair_in_the_same_way() -> None:
    rows = [
        measured("dense", [1.0], inside_samples=[8.0]),
        measured("csr", [1.0], inside_samples=[2.0]),
    ]
    (ratios,) = log_ratios("dense", "csr", [visit(rows=rows)], lambda row: row.inside_samples)
    assert np.exp(ratios) == pytest.approx([4.0])
    assert log_ratios("dense", "csr", [visit(rows=rows)], lambda row: row.call_samples) == []


def test_a_kernel_added_later_is_held_against_the_dense_one_of_its_own_visits() -> None:
    visits = [
        visit(rows={"dense": [1.0] * 6, "csr": [0.5] * 6}),
        # Later the machine is twice as slow, and the new kernel raced its baseline again.
        visit(rows={"dense": [2.0] * 6, "csr": [1.0] * 6, "bsr": [0.5] * 6}),
    ]
    (contest,) = contests(visits, KERNELS)
    found = contest.measurements
    first, second = speedups([Pair(found[n], contest.baseline(found[n])) for n in ("csr", "bsr")])
    assert first.median == pytest.approx(2.0)
    assert second.median == pytest.approx(4.0)  # not 1.0 / 0.5, nor 1.5 / 0.5


def test_kernels_that_never_met_have_no_speedup() -> None:
    visits = [visit(rows={"dense": [1.0] * 6}), visit(rows={"csr": [0.5] * 6})]
    (contest,) = contests(visits, KERNELS)
    csr = contest.measurements["csr"]
    pair = Pair(csr, contest.baseline(csr))
    assert pair.baseline is not None
    (found,) = speedups([pair])
    assert np.isnan(found.median)
    assert np.isnan(speedups([Pair(csr, None)])[0].low)


def test_a_speedup_is_a_mean_over_visits() -> None:
    visits = [
        visit(rows={"dense": noise(s), "csr": noise(1.0)}, process=process)
        for s, process in ((2.0, "a"), (2.0, "b"), (4.0, "c"))
    ]
    (contest,) = contests(visits, KERNELS)
    csr = contest.measurements["csr"]
    (found,) = speedups([Pair(csr, contest.baseline(csr))])
    assert found.median == pytest.approx(2 ** (4 / 3), rel=0.01)
    assert found.low < 2.0 < 4.0 < found.high  # three visits that differ so much tell little
    (time,) = times([csr])
    assert time.low < 1.0 < time.high


def test_a_problem_has_a_contest_of_its_own() -> None:
    visits = [
        visit(problem("one"), {"dense": [1.0] * 6, "csr": [2.0] * 6}),
        visit(problem("two"), {"dense": [1.0] * 6}),
        visit(problem("one"), {"dense": [3.0] * 6, "csr": [2.0] * 6}),
    ]
    one, two = contests(visits, KERNELS)
    assert (one.problem.problem_id, two.problem.problem_id) == ("one", "two")
    assert one.measurements["dense"].time_s == 2.0
    assert len(one.measurements["dense"].visits) == 2
    assert list(two.measurements) == ["dense"]


def test_who_failed_last_is_no_part_of_a_contest() -> None:
    visits = [
        visit(rows={"dense": [1.0], "csr": [2.0]}),
        visit(rows=[measured("dense", [1.0]), Row("csr", "wrong", "why")]),
        visit(rows={"foreign": [1.0]}),
    ]
    (contest,) = contests(visits, KERNELS)
    assert list(contest.measurements) == ["dense"]


def test_the_baseline_is_the_fastest_dense_one_of_device_and_arithmetic() -> None:
    declared = [
        dense("slow"), dense("quick"), dense("tensor", arithmetic="TF32"),
        dense("gpu", device="cuda"), kernel("csr"), kernel("rounding", arithmetic="TF32"),
        kernel("half", arithmetic="fp16"), kernel("cuda-csr", device="cuda"),
        kernel("masked", role="masked dense"), kernel("alone", device="tpu"),
    ]  # fmt: skip
    seconds = {"slow": 2.0, "quick": 1.0, "tensor": 0.5, "gpu": 0.1}
    rows = {each.name: [seconds.get(each.name, 3.0)] * 6 for each in declared}
    (contest,) = contests([visit(rows=rows)], {each.name: each for each in declared})
    found = contest.measurements
    baselines = {name: contest.baseline(each) for name, each in found.items()}
    names = {name: each.kernel.name if each else None for name, each in baselines.items()}
    assert names["csr"] == "quick"
    assert names["rounding"] == "tensor"
    assert names["half"] == "quick"  # no dense one of its own: that of fp32
    assert names["cuda-csr"] == "gpu"
    assert names["alone"] is None
    masked = contest.baseline(found["csr"], "masked dense")
    assert masked is not None
    assert masked.kernel.name == "masked"
    tensor = contest.baseline(found["csr"], ROUNDING)
    assert tensor is not None
    assert tensor.kernel.name == "tensor"
    assert contest.baseline(found["rounding"], ROUNDING) is None
    assert contest.baseline(found["cuda-csr"], ROUNDING) is None


def test_blocks_that_fill_w_are_not_sparse() -> None:
    rows = [measured("csr", [1.0], stored_entries=20), measured("bsr", [1.0], stored_entries=199)]
    (contest,) = contests([visit(rows=rows)], KERNELS)
    assert [n for n, each in contest.measurements.items() if each.leaves_out] == ["csr"]
    step = problem(computes="step")
    (contest,) = contests([visit(step, rows)], KERNELS)
    assert all(
        each.leaves_out for each in contest.measurements.values()
    )  # a step's entries are of several layers


def test_an_answer_is_as_open_as_its_ratio_is_noisy() -> None:
    def width(spread: float) -> float:
        made = [
            visit(rows={"dense": noise(1.0, 40, spread), "csr": noise(0.5, 40, spread)}, process=p)
            for p in ("a", "b", "c")
        ]
        assert open_width(contests(made[:2], KERNELS)[0]) == float("inf")
        return open_width(contests(made, KERNELS)[0])

    assert width(0.2) > width(0.02) > 0
    assert open_width(contests([visit(rows={"csr": [1.0]})], KERNELS)[0]) == 0.0
    few = contests([visit(rows={"dense": [1.0], "csr": [1.0]})], KERNELS)[0]
    assert open_width(few) == float("inf")


@pytest.mark.parametrize("processes", ["", "a", "aa", "aaa", "ab"])
def test_an_interval_rests_on_three_visits_by_two_processes(processes: str) -> None:
    rows = {"dense": noise(1.0), "csr": noise(0.5)}
    made = [visit(rows=rows, process=each) for each in processes]
    assert not enough(made)
    assert sole_process(made) == (processes[0] if processes in ("aa", "aaa") else "")
    if made:
        (contest,) = contests(made, KERNELS)
        csr = contest.measurements["csr"]
        for found in (*speedups([Pair(csr, contest.baseline(csr))]), *times([csr])):
            assert np.isnan(found.low)
            assert np.isnan(found.high)
            assert found.median > 0
            assert found.decided is None
    assert enough([visit(rows=rows, process=each) for each in "aab"])


def test_who_is_chosen_for_a_visit_is_not_judged_by_it() -> None:
    # Each is the quicker one once, by luck; in the other visits they are level or slower.
    made = [
        visit(rows={"csr": [one] * 6, "bsr": [other] * 6})
        for one, other in ((0.5, 1.0), (1.0, 0.9), (1.0, 0.9))
    ]
    assert cross_fitted(["csr", "bsr"], made) == ["bsr", "csr", "csr"]
    assert fastest_over(["csr", "bsr"], made) == "csr"
    assert cross_fitted(["csr", "bsr"], made[:1]) == ["csr"]  # there is no other visit


def test_the_fastest_of_both_sides_are_chosen_by_other_visits() -> None:
    # Of visits of equal kernels one is lucky each time: to choose by luck would gain 2.
    kernels = {each.name: each for each in (dense(), dense("slow"), kernel("csr"), kernel("bsr"))}
    rows = {"dense": [8.0] * 6, "slow": [16.0] * 6}
    made = [
        visit(rows=rows | {"csr": [one] * 6, "bsr": [other] * 6}, process=f"{one}-{other}")
        for one, other in ((1.0, 2.0), (2.0, 1.0), (2.0, 2.0))
    ]
    (contest,) = contests(made, kernels)
    sides = [
        [contest.measurements[name] for name in names]
        for names in (("csr", "bsr"), ("dense", "slow"))
    ]
    found = speedup_of_fastest(*sides)
    assert found.median == pytest.approx(4.0)
    assert found.low == pytest.approx(4.0)
    assert np.isnan(speedup_of_fastest(sides[0], []).median)
    assert np.isnan(speedup_of_fastest([], sides[1]).median)


def test_the_fastest_of_nothing_is_nothing() -> None:
    assert fastest([]) is None
