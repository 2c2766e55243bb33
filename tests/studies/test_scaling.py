"""All threads against one: which visits are made, and in which order."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

from crossover.bench.errors import InputError
from crossover.bench.harness.visits import Visitor
from crossover.bench.studies import study
from crossover.bench.studies.kernels import scaling
from crossover.bench.studies.kernels.scaling import Scaling, ScalingSpec
from crossover.bench.studies.study import balanced_orders, ignore
from tests.examples import measured, problem, visit
from tests.small_studies import scaled

pytestmark = pytest.mark.usefixtures("planted")
SPEC = ScalingSpec(kernels=("numpy-dense",), shapes=((12, 8),), batches=(4,))


def test_two_contenders_are_first_equally_often() -> None:
    orders = [tuple(o) for o in balanced_orders("ab", 8, np.random.default_rng(3))]
    assert orders.count(("a", "b")) == orders.count(("b", "a")) == 4
    for first, second in zip(orders[::2], orders[1::2], strict=True):
        assert first == second[::-1]
    others = {next(balanced_orders("ab", 1, np.random.default_rng(seed)))[0] for seed in range(9)}
    assert others == {"a", "b"}, "the first order is not drawn"


def test_visits_alternate_and_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "available_cores", lambda: 4)
    monkeypatch.setattr(scaling, "_VISITS", 8)
    asked = scaled("fake-halving", "numpy-dense")
    asked.begin(ignore)
    assert asked.threads == (1, 4)
    assert len(asked.planned) == 2 * 16  # matrices, visits
    threads = [each.problem.setting.threads for each in asked.planned]
    pairs = list(zip(threads[::2], threads[1::2], strict=True))
    assert pairs.count((1, 4)) == pairs.count((4, 1)) == 8
    # Problem by problem, so that a budget that ends leaves whole ones.
    workloads = [each.problem.workload for each in asked.planned]
    assert [len(list(group)) for _, group in groupby(workloads)] == [16, 16]
    assert {each.rounds for each in asked.planned} == {(10, 10)}


def test_a_kernel_that_fails_leaves_the_race(visitor: Visitor) -> None:
    asked = scaled("fake-wrong", "fake-halving")
    asked.begin(ignore)
    first = asked.next(1.0)
    assert first is not None
    asked.take(visitor.visit(first, "run", asked.series))
    rest = []
    while (task := asked.next(1.0)) is not None:
        rest.append((task.problem, task.kernels))
        rows = [measured(name, [1.0]) for name in task.kernels]
        asked.take(visit(problem(task.problem.problem_id), rows))
    assert {kernels for of, kernels in rest if of == first.problem} == {("fake-halving",)}
    assert ("fake-wrong", "fake-halving") in {kernels for _, kernels in rest}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kernels": ("magic",)}, "unknown kernel 'magic'"),
        ({"threads": 1}, "threads 1 against one: at least 2"),
        ({"threads": 4096}, "threads 4096 is outside"),
        ({"batches": (99_999_999_999,)}, "GiB are free"),
    ],
)
def test_what_is_not_possible_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Scaling(replace(SPEC, **changes))  # type: ignore[arg-type]


def test_a_kernel_of_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = dict(scaled().kernels)
    monkeypatch.setattr(scaling, "runnable", lambda *_: kernels)
    with pytest.raises(InputError, match="runs on cuda: give one of the CPU"):
        Scaling(replace(SPEC, kernels=("numba-cuda-csr",)))
