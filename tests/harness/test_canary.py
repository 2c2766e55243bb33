"""The canary: what it looks at, and that none of it depends on a kernel's threads."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from crossover.bench.harness import canary
from crossover.bench.harness.canary import ALL_CORES, GPU, MEMORY, ONE_CORE, Canary
from crossover.bench.machine import cuda
from crossover.bench.machine.cores import core_count
from crossover.kernels.processor import cache_sizes


def test_each_part_has_a_value_a_round() -> None:
    made = Canary(core_count())
    made()
    made()
    expected = {ONE_CORE, MEMORY} | ({ALL_CORES} if core_count() > 1 else set())
    assert made.seconds.keys() == expected
    assert {len(each) for each in made.seconds.values()} == {2}
    assert min(min(each) for each in made.seconds.values()) > 0


def test_one_thread_has_no_other_cores() -> None:
    made = Canary(1)
    made()
    assert ALL_CORES not in made.seconds


def test_all_cores_work_and_the_slowest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    if core_count() == 1:
        pytest.skip("one core only")
    given = iter([0.5, 0.25])
    at_work: set[int] = set()
    lock = threading.Lock()

    def work_s() -> float:
        with lock:
            at_work.add(threading.get_native_id())
            return next(given)

    made = Canary(2)
    monkeypatch.setattr(canary, "_work_s", work_s)
    assert made._all_cores_s() == 0.5
    assert len(at_work) == 2
    assert threading.get_native_id() not in at_work


def test_the_pass_over_memory_does_not_fit_into_a_cores_own_caches() -> None:
    own = [size for level, size in cache_sizes().items() if level != "L3"]
    assert Canary(1)._room.nbytes > max(own, default=0)


def test_a_gpu_is_looked_at_only_where_it_is_in_the_race(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [0.125, None, 0.25]
    monkeypatch.setattr(cuda, "ClockCanary", lambda: lambda: answers.pop(0))
    made = Canary(1, gpu=True)
    for _ in range(3):
        made()
    assert made.seconds[GPU] == [0.125, 0.25]  # a GPU that is lost has no time
    assert len(made.seconds[ONE_CORE]) == 3
