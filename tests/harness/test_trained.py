"""Trainings as visits: their outcomes, kernels beside each other, and wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossover.bench.harness.task import Outcome, ReportShare, Task
from crossover.bench.harness.trained import beside
from crossover.bench.harness.trained.exact import EXACT
from crossover.bench.harness.worker import carry_out, ignore_share
from crossover.bench.records.rows import HELD_OUT
from crossover.bench.workloads import mnist, networks
from crossover.bench.workloads.learned import LearnedNetwork
from crossover.bench.workloads.problem import Computes, Problem, Setting, Workload
from crossover.bench.workloads.training.descent import OPTIMIZERS
from crossover.bench.workloads.training.loop import initial_state
from crossover.bench.workloads.training.model import Model, loss_gradient, pixels
from crossover.bench.workloads.training.recipe import TrainingRecipe
from crossover.kernels import discover
from tests.small_studies import TINY

KERNELS = discover(("tests.fakes",))
PAIR = "numba-tiled", "numpy-masked-update"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, small_mnist: Path) -> None:
    data = mnist.load(small_mnist)
    monkeypatch.setattr(mnist, "load", lambda *_: data)
    monkeypatch.setitem(networks.NETWORKS, TINY.name, TINY)


def task(computes: Computes, *kernels: str, method: str = "erdos-renyi", **fields: Any) -> Task:
    optimizer = fields.pop("optimizer", "adam")
    recipe = TrainingRecipe(
        "tiny", mnist.load().digest, 0.7, method, kernel=kernels[0], length=2.0, **fields
    )
    workload = Workload(LearnedNetwork(recipe), computes, 32, optimizer=optimizer)
    return Task(Problem(workload, Setting(1)), kernels, 0.0, (0,))


def outcome(given: Task, report_share: ReportShare = ignore_share) -> Outcome:
    kernels = {name: KERNELS[name] for name in given.kernels}
    return carry_out(given, kernels, lambda _: None, report_share)


def test_a_training_tells_its_accuracy_and_what_is_left() -> None:
    found = outcome(task("training", "numpy-masked-update", method="gradual"))
    row = found.rows["numpy-masked-update"]
    assert row.status == "measured"
    assert 0 < row.accuracies[-1] <= 1
    assert found.description is not None
    assert row.stored_entries == found.description.nnz
    assert found.description.sparsity == pytest.approx(0.7, abs=1e-3)
    assert 0 <= row.facts["fc1 overlap"] <= 1


def test_a_training_on_some_images_is_tried_on_those_held_out() -> None:
    data = mnist.load()
    count = len(data.train_images)
    found = outcome(task("training", "numpy-masked-update", images=count - 100))
    right = found.rows["numpy-masked-update"].facts[HELD_OUT] * 100
    assert right == pytest.approx(round(right))
    recipe = TrainingRecipe("tiny", data.digest, images=count - 100)
    assert (recipe.held_out(data).test_images == data.train_images[-100:]).all()
    assert (recipe.held_out(data).test_labels == data.train_labels[-100:]).all()
    assert HELD_OUT not in outcome(task("training", *PAIR[1:])).rows[PAIR[1]].facts


@pytest.mark.parametrize("computes", ["training", "epoch", "first steps"])
def test_a_training_tells_how_far_it_is(computes: Computes) -> None:
    told: list[float] = []
    outcome(task(computes, "numpy-masked-update", method="gradual", seed=9), told.append)
    assert told == sorted(told)
    assert len(set(told)) > 1
    assert 0 <= told[0] < 0.5 <= told[-1] <= 1


def test_epochs_of_kernels_pair_and_end_at_the_same_accuracy() -> None:
    found = outcome(task("epoch", *PAIR))
    rows = [found.rows[name] for name in PAIR]
    assert [len(row.samples) for row in rows] == [2, 2]
    assert [len(row.accuracies) for row in rows] == [2, 2]
    assert all(second > 0 for row in rows for second in row.samples)
    ends = [row.accuracies[-1] for row in rows]
    assert abs(ends[0] - ends[1]) < 0.02


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_first_steps_stay_near_float64(optimizer: str) -> None:
    found = outcome(task("first steps", *PAIR, optimizer=optimizer))
    for name in PAIR:
        row = found.rows[name]
        assert (row.status, row.reason) == ("measured", "")
        assert len(row.differences) == 7  # after 1, 2, 4 … 64 steps
        assert len(row.samples) == beside.STEPS
        assert 0 < row.differences[0] < (1e-5 if optimizer == "sgd" else 1e-1)


def test_a_kernel_whose_products_are_wrong_does_not_train() -> None:
    found = outcome(task("epoch", "numpy-masked-update", "fake-wrong"))
    assert found.rows["fake-wrong"].status == "wrong"
    assert found.rows["fake-wrong"].samples == []
    assert found.rows["numpy-masked-update"].status == "measured"


def test_a_kernel_that_drifts_while_it_trains_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is right while it is looked at: only later updates move the weights too far."""
    kernel = KERNELS["numpy-masked-update"]
    plain = type(kernel).update

    def drifting(self: Any, operand: Any, step: Any, rate: float) -> None:
        updates[0] += 1
        plain(self, operand, step, rate * 1.001 if updates[0] > 10 else rate)

    updates = [0]
    monkeypatch.setattr(type(kernel), "update", drifting)
    given = task("first steps", "numpy-masked-update", optimizer="sgd")
    row = outcome(given).rows["numpy-masked-update"]
    assert row.status == "wrong"
    assert "its weights differ from float64's by" in row.reason


def test_a_kernel_that_raises_is_out_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, calls = KERNELS["numba-tiled"], [0]
    plain = type(kernel).forward

    def failing(self: Any, operand: Any, x: Any, out: Any) -> Any:
        calls[0] += 1
        if calls[0] > 20:
            raise RuntimeError("planted")
        return plain(self, operand, x, out)

    monkeypatch.setattr(type(kernel), "forward", failing)
    found = outcome(task("epoch", *PAIR))
    assert found.rows["numba-tiled"].status == "failed"
    assert "planted" in found.rows["numba-tiled"].reason
    assert len(found.rows["numpy-masked-update"].samples) == 2


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_exact_training_takes_the_same_steps(optimizer: str) -> None:
    states = initial_state(TINY, np.random.default_rng(0))
    data = mnist.load()
    x, labels = pixels(data.train_images[:16]), data.train_labels[:16]
    model = Model(TINY, states, KERNELS["numpy-dense"])
    descent, exact = OPTIMIZERS[optimizer](model), EXACT[optimizer](states)
    rate = beside.RATES[optimizer]
    for _ in range(3):
        logits, taken = model.forward(x)
        descent.step(loss_gradient(logits, labels, np), taken, rate)
        exact.step(x, labels, rate)
    apart = exact.difference(model.states())
    assert apart < (1e-5 if optimizer == "sgd" else 1e-2)
    assert exact.difference(states) > 100 * apart or optimizer == "adam"
    assert exact.difference(states) > 1e-3
