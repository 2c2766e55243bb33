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
    best_canary_s,
    of_comparison,
    of_measurement,
)
from tests.examples import dense, kernel, measured, problem, visit

RNG = np.random.default_rng(0)
SAMPLES = [1e-3 + 1e-6 * (i % 5) for i in range(30)]
STEADY = Evidence(
    samples=[SAMPLES],
    loops=2,
    canary=[1e-4] * 30,
    best_canary_s=1e-4,
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
    assert of_measurement(measurement(measured("ours", SAMPLES)), 1e-4, 2) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"samples": [WILD]}, "noisy"),
        ({"samples": [[1e-3] * 15 + [1.3e-3] * 15]}, "drifting"),
        ({"samples": [[1e-3] * 3 + [2e-3] * 3] * 3}, "drifting"),
        ({"samples": [[1e-3] * 4]}, "too short"),
        ({"samples": [[1e-6] * 30]}, "too short"),
        ({"canary": [1.3e-4] * 30}, "throttled"),
        ({"load": 4.0}, "oversubscribed"),
        ({"threading_layer": "workqueue"}, "slow threading layer"),
    ],
)
def test_each_warning_is_given(change: dict[str, Any], name: str) -> None:
    assert name in given(replace(STEADY, **change))


def test_visits_that_differ_are_no_drift() -> None:
    """W is converted anew in each visit, and may lie better in memory."""
    assert "drifting" not in given(replace(STEADY, samples=[SAMPLES, [1.3 * s for s in SAMPLES]]))


def test_the_evidence_is_of_all_visits() -> None:
    short = measured("ours", [1e-3] * 3)
    assert "too short" in of_measurement(measurement(short), 1e-4, 2)
    assert "too short" not in of_measurement(measurement(short, short), 1e-4, 2)
    assert "oversubscribed" in of_measurement(measurement(short, load=9.0), 1e-4, 2)
    assert "throttled" in of_measurement(measurement(short, canary=[1.0]), 1e-4, 2)
    queue = replace(short, threading_layer="workqueue")
    assert "slow threading layer" in of_measurement(measurement(queue), 1e-4, 2)


def test_what_the_worker_saw_is_passed_on_once() -> None:
    seen = measured("ours", SAMPLES, warnings=["host delay"])
    assert of_measurement(measurement(seen, seen), 1e-4, 2) == ["host delay"]


def test_blocks_that_fill_w_are_said() -> None:
    full = measured("ours", SAMPLES, stored_entries=200)
    assert of_measurement(measurement(full), 1e-4, 2) == ["blocks fill W"]
    assert of_measurement(measurement(full, of=dense()), 1e-4, 2) == []


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


def test_the_best_canary_is_the_best_of_the_run() -> None:
    visits = [visit(canary=canary) for canary in ([3.0, 1.0, 2.0], [], [4.0])]
    assert best_canary_s(visits) == 2.0
    assert best_canary_s([]) == float("inf")


def test_every_warning_has_a_remedy() -> None:
    assert len({each.name for each in WARNINGS}) == len(WARNINGS)
    assert all(each.means and each.remedy for each in WARNINGS)
