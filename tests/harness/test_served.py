"""Whole networks in a race: right ones are timed, wrong ones are not, nobody knows the answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossover.bench.harness.clocks import HostClock
from crossover.bench.harness.served.engines import ENGINES, Built, Engine
from crossover.bench.harness.served.load import Load
from crossover.bench.harness.served.setup import NetworkSetup
from crossover.bench.harness.task import Outcome, Task
from crossover.bench.studies.given import GivenSource
from crossover.bench.studies.networks import Pruning
from crossover.bench.studies.study import ignore
from crossover.bench.workloads.problem import Problem, Setting, Workload
from crossover.bench.workloads.recipes import ServedNetwork
from crossover.kernels.base import Array
from crossover.kernels.serving import Plan, files
from crossover.kernels.serving.network import Layer, Network
from crossover.kernels.serving.plan import one_way
from tests.in_process import outcome
from tests.kernels.fake_cuda import installed
from tests.kernels.serving.test_network import made


@pytest.fixture
def recipe(tmp_path: Path) -> ServedNetwork:
    plans, layers = made((30, 20, 10))
    plan = one_way("net", plans, "compiled", ["numba-tiled"] * 2)
    layered = [[1, "kernels", ["numba-tiled"] * 2]]
    plan = Plan(plan.network, plan.layers, plan.choices, about={"layered": layered})
    path = tmp_path / "net.plan.safetensors"
    path.write_bytes(files.written(plan, layers))
    recipes = GivenSource(str(path)).at(Pruning((), "gradual", "global", 0), ignore)[0]
    return ServedNetwork(tuple(recipes), json.dumps(plan.as_json()), path=path)


def raced(
    recipe: ServedNetwork, *engines: Engine, batch: int = 9, computes: Any = "network"
) -> Outcome:
    by_name = {engine.name: engine for engine in engines}
    problem = Problem(Workload(recipe, computes, batch), Setting(1))
    return outcome(Task(problem, tuple(by_name), 0.0, (0,), (6, 6)), by_name)


def test_every_engine_that_is_installed_is_timed(recipe: ServedNetwork) -> None:
    found = raced(recipe, *ENGINES)
    for name, row in found.rows.items():
        if row.status == "skipped":
            assert name in ("torch-network", "cupy-network", "sell-network")
            continue
        assert (row.status, row.reason) == ("measured", "")
        assert len(row.samples) == 6
        assert (row.relative_error or 0) < 1e-5
    description = found.description
    assert description is not None
    assert (description.m, description.k, description.n) == (10, 30, 9)
    assert 0.5 < description.sparsity < 0.9


def test_the_engine_for_one_input_refuses_more(recipe: ServedNetwork) -> None:
    (sell,) = [engine for engine in ENGINES if engine.name == "sell-network"]
    (row,) = raced(recipe, sell, batch=9).rows.values()
    assert row.reason == "sell-network is for one input, not 9."
    (row,) = raced(recipe, sell, batch=1).rows.values()
    assert row.status == "measured"


class Spoilt(Engine):
    """Does something wrong, of which the name tells."""

    name, title, runtime, source = "spoilt", "spoilt", "numba", "a test"

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def build(self, plan: Plan, layers: Sequence[Layer]) -> Built:
        network = Network(one_way("net", plan.layers, "dense"), layers)
        kept: dict[str, Array] = {}
        calls = 0

        def run(x: Array) -> Array:
            nonlocal calls
            calls += 1
            if self.fault == "keeps":
                return kept.setdefault("answer", network(x).copy())
            result = network(x)
            if self.fault == "a value" or (self.fault == "later" and calls > 20):
                result[-1, -1] += 0.01
            if self.fault == "nan":
                result[0, 0] = np.nan
            if self.fault == "shape":
                return result[:, :-1]
            if self.fault == "inputs":
                x[0, 0] += 1
            return result

        return Built(run, network.nbytes)


@pytest.mark.parametrize("fault", ["a value", "later", "nan", "shape", "inputs", "keeps"])
def test_a_wrong_network_has_no_time(recipe: ServedNetwork, fault: str) -> None:
    row = raced(recipe, Spoilt(fault)).rows["spoilt"]
    assert row.status == "wrong", row


def test_an_honest_engine_in_the_same_dress_is_timed(recipe: ServedNetwork) -> None:
    assert raced(recipe, Spoilt("")).rows["spoilt"].status == "measured"


def test_the_bound_holds_what_float32_does_and_little_more(recipe: ServedNetwork) -> None:
    problem = Problem(Workload(recipe, "network", 33), Setting(1))
    setup = NetworkSetup(Task(problem, (), 0.0, (0,)))
    exact, bound = setup.reference(setup.inputs)
    single = setup.inputs.T
    for layer, declared in zip(setup.layers, setup.plan.layers, strict=True):
        single = layer.weight.values @ single + layer.bias[:, None]
        single = np.maximum(single, 0) if declared.relu else single
    assert (np.abs(single.T - exact) <= bound).all()
    assert bound.max() < 1e-3 * np.abs(exact).max()


def test_callers_at_a_time_have_latencies(recipe: ServedNetwork) -> None:
    several = ServedNetwork(recipe.layers, recipe.plan, 3, recipe.path)
    row = raced(several, ENGINES[0], computes="serving").rows["planned"]
    assert row.status == "measured"
    assert len(row.samples) == len(row.p50_samples) == len(row.p99_samples) == 6
    assert all(seconds > 0 for seconds in (*row.p50_samples, *row.p99_samples))


def test_a_load_divides_the_time_among_its_callers() -> None:
    import time

    def call() -> int:
        time.sleep(2e-3)
        return 1

    one_s, result = HostClock().seconds(call, 8)
    four_s, _ = Load(4).seconds(call, 8)
    assert result == 1
    assert four_s < one_s
    assert len(Load(4).waits_s(call)) >= 100


def test_the_network_on_a_gpu_is_right_over_a_fake_of_cupy(
    recipe: ServedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No GPU is needed for that; its times are nobody's."""
    plan, layers = files.read(recipe.path)
    x = recipe.inputs(5)
    (engine,) = [each for each in ENGINES if each.name == "cupy-network"]
    with installed(monkeypatch):
        found = engine.build(plan, layers).run(np.ascontiguousarray(x))
    expected = Network(one_way("net", plan.layers, "dense"), layers)(np.ascontiguousarray(x))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-5, atol=1e-6)
