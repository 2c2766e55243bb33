"""Each warning is given for what it is about, and for nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crossover.bench.machine.limits import CpuLimits
from crossover.bench.records.rows import KernelRecord, Row
from crossover.bench.statistics.comparison import Measurement, Pair, contests
from crossover.bench.statistics.warnings import (
    WARNINGS,
    Evidence,
    letters,
    of_comparison,
    of_measurement,
    usual_canary_s,
)
from tests.examples import dense, kernel, measured, problem, visit

RNG = np.random.default_rng(0)
SAMPLES = [1e-3 + 1e-6 * (i % 5) for i in range(30)]
PARTS = "one core", "all cores", "memory", "GPU"
#: Of the canary that examples have, for their two threads.
BEST = {2: {"one core": 1e-4, "memory": 2e-4}}
STEADY = Evidence(
    samples=[SAMPLES],
    loops=2,
    canary={part: [1e-4] * 30 for part in PARTS},
    usual_canary_s=dict.fromkeys(PARTS, 1e-4),
    load=0.5,
    cores=2,
    threading_layer="omp",
)
LIMITS = CpuLimits(
    threads=2, fma_one_gflops=100.0, fma_gflops=200.0, blas_gflops=190.0,
    copy_gbs={"L1": 400.0, "memory": 2.0}, cache_bytes={"L1": 1 << 15}, call_s=1e-7,
    parallel_s=1e-6,
)  # fmt: skip
WILD = RNG.lognormal(-7, 0.4, 30).tolist()


def given(evidence: Evidence) -> list[str]:
    return [each.name for each in WARNINGS if each.holds and each.holds(evidence)]


def measurement(*rows: Row, of: KernelRecord | None = None, **changes: Any) -> Measurement:
    """Return what several visits with these rows amount to."""
    declared = of or kernel("ours")
    visits = [visit(problem(), [replace(row, kernel=declared.name)], **changes) for row in rows]
    (contest,) = contests(visits, {declared.name: declared})
    return contest.measurements[declared.name]


def test_a_good_measurement_has_no_warning() -> None:
    assert given(STEADY) == []
    assert of_measurement(measurement(measured("ours", SAMPLES)), BEST, 2) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"samples": [WILD]}, "noisy"),
        ({"samples": [[1e-3] * 15 + [1.3e-3] * 15]}, "drifting"),
        ({"samples": [[1e-3] * 3 + [2e-3] * 3] * 3}, "drifting"),
        ({"samples": [[1e-3] * 30, [1e-3] * 2]}, "too short"),
        ({"samples": [[1e-6] * 30]}, "too short"),
        ({"canary": {"one core": [1.6e-4] * 30}}, "throttled: one core"),
        ({"canary": {"all cores": [1.6e-4] * 30}}, "throttled: all cores"),
        ({"canary": {"memory": [1.6e-4] * 30}}, "throttled: memory"),
        ({"canary": {"GPU": [1.6e-4] * 30}, "device": "cuda"}, "throttled: GPU"),
        ({"vendor": "AMD", "made_for": "Intel"}, "foreign processor"),
        ({"load": 4.0}, "oversubscribed"),
        ({"threading_layer": "workqueue"}, "slow threading layer"),
    ],
)
def test_each_warning_is_given(change: dict[str, Any], name: str) -> None:
    assert name in given(replace(STEADY, **change))


@pytest.mark.parametrize("part", PARTS)
def test_a_throttled_machine_is_said_to_be_slow_where_it_is(part: str) -> None:
    canary = STEADY.canary | {part: [1.6e-4] * 30}  # type: ignore[operator]
    slow = replace(STEADY, canary=canary, device="cuda" if part == "GPU" else "cpu")
    assert given(slow) == [f"throttled: {part}"]


def test_what_slowed_the_host_says_nothing_of_a_gpu_nor_the_other_way() -> None:
    slow = {part: [2e-4] * 30 for part in PARTS}
    assert given(replace(STEADY, canary=slow, device="cuda")) == ["throttled: GPU"]
    assert "throttled: GPU" not in given(replace(STEADY, canary=slow))


@pytest.mark.parametrize(
    ("vendor", "made_for"), [("Intel", "Intel"), ("AMD", ""), ("", "Intel"), ("", "")]
)
def test_a_processor_that_is_fine_or_not_known_is_no_warning(vendor: str, made_for: str) -> None:
    assert given(replace(STEADY, vendor=vendor, made_for=made_for)) == []


def test_what_a_kernel_declares_is_held_against_the_machine() -> None:
    made = measurement(measured("mkl", SAMPLES), of=kernel("mkl", made_for="Intel"))
    assert of_measurement(made, BEST, 2, "AMD") == ["foreign processor"]
    assert of_measurement(made, BEST, 2, "Intel") == []


def test_visits_that_differ_are_no_drift() -> None:
    """W is converted anew in each visit, and may lie better in memory."""
    assert "drifting" not in given(replace(STEADY, samples=[SAMPLES, [1.3 * s for s in SAMPLES]]))


def test_the_evidence_is_of_all_visits() -> None:
    short, first = measured("ours", [1e-3] * 2), measured("ours", [1e-3] * 3)
    assert "too short" in of_measurement(measurement(short), BEST, 2)
    assert "too short" in of_measurement(measurement(first, short), BEST, 2)
    # Of a first look a median is shown, and no more is claimed.
    assert of_measurement(measurement(first), BEST, 2) == []
    assert "oversubscribed" in of_measurement(measurement(short, load=9.0), BEST, 2)
    assert "throttled: memory" in of_measurement(
        measurement(short, canary={"memory": [1.0]}), BEST, 2
    )
    queue = replace(short, threading_layer="workqueue")
    assert "slow threading layer" in of_measurement(measurement(queue), BEST, 2)


def test_what_the_worker_saw_is_passed_on_once() -> None:
    seen = measured("ours", SAMPLES, warnings=["host delay"])
    assert of_measurement(measurement(seen, seen), BEST, 2) == ["host delay"]


def test_blocks_that_fill_w_are_said() -> None:
    full = measured("ours", SAMPLES, stored_entries=200)
    assert of_measurement(measurement(full), BEST, 2) == ["blocks fill W"]
    assert of_measurement(measurement(full, of=dense()), BEST, 2) == []


def test_the_usual_canary_is_the_median_of_the_run_by_part_and_threads() -> None:
    visits = [
        visit(of, canary=canary)
        for of, canary in (
            (problem(), {"memory": [3.0, 1.0, 2.0], "one core": [5.0]}),
            (problem(), {}),
            (problem(), {"memory": [4.0]}),
            (problem("other", threads=1), {"memory": [1.0]}),
        )
    ]
    assert usual_canary_s(visits) == {2: {"memory": 3.0, "one core": 5.0}, 1: {"memory": 1.0}}
    assert usual_canary_s([]) == {}


def test_every_warning_has_a_letter_and_only_throttling_shares_one() -> None:
    shared = [each.letter for each in WARNINGS if not each.name.startswith("throttled")]
    assert len(set(shared)) == len(shared)
    assert "t" not in shared
    assert all(len(each.letter) == 1 for each in WARNINGS)
    assert (
        letters(["noisy", "throttled: memory", "noisy", "no CUDA graph", "throttled: GPU"]) == "nt"
    )


@pytest.mark.parametrize(
    ("share", "role", "changes", "found"),
    [
        (0.4, "dense", {}, ["weak baseline"]),
        (0.6, "dense", {}, []),
        (0.4, "peer", {}, []),
        # A step is many calls, and more than calls.
        (0.4, "dense", {"computes": "step"}, []),
        # The limits are of fp32.
        (0.4, "dense", {"dtype": "float64"}, []),
    ],
)
def test_a_comparison_with_a_slow_dense_kernel_is_marked(
    share: float, role: str, changes: dict[str, Any], found: list[str]
) -> None:
    about = problem(**changes)
    seconds = LIMITS.call_bound_s(about.executed_flops, 800 + about.side_bytes) / share
    rows = [measured("d", [seconds] * 10, nbytes=800), measured("ours", [1e-9] * 10)]
    kernels = {"d": dense("d", role=role), "ours": kernel("ours")}
    (contest,) = contests([visit(about, rows)], kernels)
    candidate, baseline = contest.measurements["ours"], contest.measurements["d"]
    assert of_comparison(Pair(candidate, baseline), LIMITS) == found
    assert of_comparison(Pair(candidate, baseline), None) == []
    assert of_comparison(Pair(candidate, None), LIMITS) == []


def test_a_cold_dense_kernel_is_held_against_the_memory() -> None:
    cold = problem(caches="cold")
    rows = [measured("d", [1.3e-7 + 1280 / 2e9] * 10, nbytes=800)]
    (contest,) = contests([visit(cold, rows)], {"d": dense("d")})
    assert contest.measurements["d"].call_fraction(LIMITS) > 0.9
    (hot,) = contests([visit(problem(), rows)], {"d": dense("d")})
    assert hot.measurements["d"].call_fraction(LIMITS) < 0.2


def test_every_warning_has_a_remedy() -> None:
    assert len({each.name for each in WARNINGS}) == len(WARNINGS)
    assert all(each.means and each.remedy for each in WARNINGS)


def test_two_samples_of_seconds_each_are_long_enough() -> None:
    assert given(replace(STEADY, samples=[[2.0, 2.01]] * 3, loops=1)) == []
    assert given(replace(STEADY, samples=[[0.2, 0.201]] * 3, loops=1)) == ["too short"]
