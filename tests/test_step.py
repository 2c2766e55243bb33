"""A training step as a trial: what it computes, what is noticed, and the command."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossover.bench import step, step_trial
from crossover.bench.__main__ import main
from crossover.bench.progress import ignore
from crossover.bench.step import Pattern, StepInquiry, StepTimes, check
from crossover.bench.step_trial import ExaminedKernel, StepTask
from crossover.bench.trial import Outcome, measure
from crossover.bench.workloads import mnist, models, training
from crossover.bench.workloads.execution import Model, loss_gradient
from crossover.bench.workloads.models import Recipe, TrainedModel
from crossover.bench.workloads.networks import NETWORKS, Convolution, Linear, Network
from crossover.kernels import discover
from crossover.kernels.base import PASSES, Problem, Weight
from crossover.kernels.cpu.numpy_dense import NumpyMaskedUpdate
from crossover.kernels.oracle import check_update
from crossover.reports import step as shown
from tests.kernels.problems import Shape, draw

TINY = Network("tiny", (Linear("fc1", 784, 24), Linear("fc2", 24, 10)), 1, 1)
TINY_CONVOLUTION = Network("small", (Convolution("conv1", 1, 2, 28), Linear("fc1", 288, 10)), 1, 1)
RUNNING = {
    name: kernel
    for name, kernel in discover(["tests.fakes"]).items()
    if kernel.device == "cpu" and not kernel.unavailable()
}
PROBLEMS = [
    Problem(pass_, *layer.shape, layer.columns(5), 1)
    for network in (TINY, TINY_CONVOLUTION)
    for layer in network.layers
    for pass_ in PASSES
]
REAL = [
    name
    for name, kernel in RUNNING.items()
    if not name.startswith("fake") and not any(map(kernel.unsupported, PROBLEMS))
]
COMMAND = ["step", "--model", "lenet-300-100", "--batch", "8", "--pattern", "initial",
           "--budget", "1s", "--kernel-module", "tests.fakes"]  # fmt: skip


def task(network: Network = TINY, optimizer: str = "sgd", rounds: int = 2) -> StepTask:
    """Return a step of a network with a random pattern."""
    rng = np.random.default_rng(1)
    states = training.initial_state(network, rng)
    for state in states:
        pattern = rng.random(state.weight.shape) < 0.3
        state.weight = Weight(np.where(pattern, state.weight.values, 0), pattern)
        state.bias = rng.standard_normal(state.bias.shape).astype(np.float32)
    pixels, labels = rng.random((784, 5), np.float32), rng.integers(0, 10, 5).astype(np.uint8)
    return StepTask(
        network, states, pixels, labels, optimizer, REAL, 0.0, 0, rounds=(rounds, rounds)
    )


def race(asked: StepTask, *names: str) -> dict[str, Outcome]:
    """Return what becomes of kernels in this process."""
    return measure(asked, {name: RUNNING[name] for name in names}, lambda _: None)


@pytest.mark.parametrize("optimizer", training.OPTIMIZERS)
@pytest.mark.parametrize("network", [TINY, TINY_CONVOLUTION], ids=lambda each: each.name)
def test_every_kernel_takes_a_step_that_is_right(network: Network, optimizer: str) -> None:
    outcomes = race(task(network, optimizer), *REAL)
    assert {name: each.reason for name, each in outcomes.items() if each.reason} == {}
    assert all(len(each.samples) == 2 for each in outcomes.values())


@pytest.mark.parametrize("name", REAL)
def test_a_step_is_that_of_the_formulas(name: str) -> None:
    asked, rate = task(), 0.5
    model = Model(TINY, asked.states, RUNNING[name])
    logits, taken = model.forward(asked.pixels)
    training.GradientDescent(model).step(loss_gradient(logits, asked.labels, np), taken, rate)
    (w1, b1), (w2, b2) = (
        (state.weight.values.astype(np.float64), state.bias[:, None].astype(np.float64))
        for state in asked.states
    )
    x = asked.pixels.astype(np.float64)
    hidden = np.maximum(w1 @ x + b1, 0)
    power = np.exp(w2 @ hidden + b2)
    dy2 = (power / power.sum(axis=0) - np.eye(10)[asked.labels].T) / 5
    dy1 = (w2.T @ dy2) * (hidden > 0)
    for state, start, bias, dy, given in zip(
        model.states(), (w1, w2), (b1, b2), (dy1, dy2), (x, hidden), strict=True
    ):
        expected = np.where(state.weight.pattern, start - rate * dy @ given.T, 0)
        np.testing.assert_allclose(state.weight.values, expected, atol=1e-5)
        np.testing.assert_allclose(state.bias, bias[:, 0] - rate * dy.sum(axis=1), atol=1e-5)


def test_every_product_and_update_of_a_step_is_examined() -> None:
    asked = task()
    model = Model(TINY, asked.states, RUNNING["numba-csr"])
    examined: Any = ExaminedKernel(model.kernel, model)
    model.kernel = examined
    logits, taken = model.forward(asked.pixels)
    training.GradientDescent(model).step(loss_gradient(logits, asked.labels, np), taken, 0.1)
    assert sorted(what for what, _ in examined.verdicts) == [
        "fc1 backward_weight", "fc1 forward", "fc1 update",
        "fc2 backward_input", "fc2 backward_weight", "fc2 forward", "fc2 update",
    ]  # fmt: skip
    products = {f"{'fc1' if each.m == 24 else 'fc2'} {each.pass_}" for each in asked.problems}
    assert products == {what for what, _ in examined.verdicts if "update" not in what}
    nnz1, nnz2 = (state.weight.nnz for state in asked.states)
    assert asked.useful_flops == 2 * 5 * (2 * nnz1 + 3 * nnz2)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fake-wrong", "fc1 forward: .* results are wrong"),
        ("fake-unwritten", "fc1 forward: .* should be"),
        ("fake-no-step", "fc2 update: .* should be"),
        ("fake-lost-zeros", "fc2 update: .* outside the pattern are no longer zero"),
        ("fake-raising", "raised RuntimeError: planted"),
    ],
)
def test_a_wrong_step_is_never_timed(name: str, says: str) -> None:
    outcome = race(task(), name)[name]
    assert outcome.status == ("failed" if name == "fake-raising" else "wrong")
    assert outcome.samples == []
    assert re.search(says, outcome.reason)


def test_a_step_that_turns_wrong_is_noticed_after_it_was_timed() -> None:
    outcome = race(task(), "fake-forgetful")["fake-forgetful"]
    assert outcome.status == "wrong"
    assert "after it was timed: fc2 update" in outcome.reason


def test_the_timed_steps_leave_the_weights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    kernel = RUNNING["numpy-masked-update"]
    update = kernel.update

    def noted(operand: Any, step: Any, rate: float) -> None:
        rates.append(rate)
        update(operand, step, rate)

    monkeypatch.setattr(kernel, "update", noted)
    race(task(), kernel.name)
    assert rates.count(0.1) == 2 * 2  # layers, before and after
    assert len(rates) > 8
    assert set(rates) == {0.0, 0.1}


def test_the_inside_of_a_step_is_its_passes_and_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    class Clockwork(NumpyMaskedUpdate):
        """Takes a second for each pass, ten for each update, and a hundred for all else."""

        def run(self, *given: Any) -> Any:
            clock[0] += 1
            return super().run(*given)

        def backward_weight(self, *given: Any) -> Any:
            clock[0] += 1
            return super().backward_weight(*given)

        def update(self, *given: Any) -> None:
            clock[0] += 10
            super().update(*given)

        def put(self, array: Any) -> Any:
            clock[0] += 100
            return array

    monkeypatch.setattr("crossover.bench.step_trial.time.perf_counter", lambda: clock[0])
    taken = step_trial._Step(task(), Clockwork())
    seconds, logits = step_trial.InsideClock(taken).seconds(lambda: taken(0.0), 3)
    assert seconds == 3 * (2 + 1 + 2 + 2 * 10)
    assert logits.shape == (10, 5)
    assert taken.model.kernel is taken.kernel


def test_an_update_is_held_to_its_rounding() -> None:
    drawn = draw(Shape("update", 20, 30, 4, 0.3))
    weight, kernel = drawn.weight, RUNNING["numpy-masked-update"]
    step = np.random.default_rng(0).standard_normal(weight.shape).astype(np.float32)
    right = np.where(weight.pattern, weight.values - np.float32(0.1) * step, 0)
    assert check_update(weight, step, 0.1, right, kernel).right
    row, column = np.argwhere(weight.pattern)[7]
    wrong = right.copy()
    wrong[row, column] *= 1 + 1e-5
    assert not check_update(weight, step, 0.1, wrong, kernel).right
    wrong[row, column] = np.nan
    assert not check_update(weight, step, 0.1, wrong, kernel).right


def times(samples: Mapping[str, float], formats: Mapping[str, str]) -> StepTimes:
    """Return the times of kernels that take as long in every round."""
    outcomes = {
        name: Outcome("measured", samples=[seconds] * 6, inside_samples=[seconds**2] * 6)
        for name, seconds in samples.items()
    }
    devices = dict.fromkeys(formats, "cpu")
    return StepTimes("wide", 0.9, 64, 2, "sgd", "initial", 100, 1e6, formats, devices, outcomes)


def test_the_baseline_is_the_fastest_masked_dense_kernel() -> None:
    formats = {"ours": "csr", "call": "masked dense", "update": "masked dense", "dense": "dense"}
    found = times({"ours": 1e-3, "call": 5e-3, "update": 4e-3, "dense": 3e-3}, formats)
    records = {each["kernel"]: each for each in shown.records([found])}
    assert list(records) == ["ours", "dense", "update", "call"]
    assert records["ours"]["baseline"] == "update"
    assert records["ours"]["speedup"] == {"low": 4.0, "median": 4.0, "high": 4.0}
    assert records["ours"]["speedup_inside"]["median"] == pytest.approx(16.0)
    assert records["ours"]["useful_gflops"] == pytest.approx(1.0)
    found.outcomes["update"] = Outcome("wrong", "planted")
    assert {each["kernel"]: each for each in shown.records([found])}["ours"]["baseline"] == "call"
    assert len(shown.table([found])) == 3


def test_the_usual_kernels_all_take_whole_steps() -> None:
    chosen = check(StepInquiry())
    assert {"numba-tiled", "numba-csr", "numpy-masked-update", "numpy-masked-call"} <= set(chosen)
    assert all(len(kernel.passes) == 3 for kernel in chosen.values())


def weights(pattern: Pattern | None) -> tuple[list[Weight], Pattern]:
    """Return the weights that a step of LeNet-300-100 at 90 % is taken with, and their origin."""
    inquiry = StepInquiry(model="lenet-300-100", pattern=pattern)
    states, origin = step._weights(inquiry, 0.9, mnist.load(), ignore)
    return [state.weight for state in states], origin


def test_untrained_weights_are_pruned_by_size_or_at_random() -> None:
    largest, origin = weights(None)
    assert origin == "initial"
    dense = training.initial_state(NETWORKS["lenet-300-100"], np.random.default_rng(0))
    kept = np.concatenate([np.abs(each.values[each.pattern]) for each in largest])
    pruned = np.concatenate(
        [np.abs(d.weight.values[~w.pattern]) for d, w in zip(dense, largest, strict=True)]
    )
    assert kept.size == round(0.1 * (kept.size + pruned.size))
    assert kept.min() >= pruned.max()
    drawn, origin = weights("random")
    assert origin == "random"
    assert [round(each.sparsity, 2) for each in drawn] == [0.9] * 3
    assert np.abs(drawn[0].values[drawn[0].pattern]).min() < np.median(pruned)


def test_trained_weights_are_used_where_they_are_kept_or_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def obtained(recipe: Recipe, *given: object) -> TrainedModel:
        assert (recipe.sparsity, recipe.pruning) == (0.9, "gradual")
        return TrainedModel(recipe, (), 1.0, 0.0)

    monkeypatch.setattr(models, "obtain", obtained)
    assert weights("trained") == ([], "trained")
    monkeypatch.setattr(models, "checkpoint_path", lambda _: tmp_path)
    assert weights(None) == ([], "trained")
    assert weights("initial")[1] == "initial"


def test_the_command_measures_and_reports(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*COMMAND, "--kernels", "numba-csr", "numpy-masked-update", "--json"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["status"] for each in found["steps"]] == ["measured", "measured"]
    assert {each["baseline"] for each in found["steps"]} == {"numpy-masked-update"}
    assert {each["weights"] for each in found["steps"]} == {"initial"}
    assert all(len(each["samples_s"]) >= 18 for each in found["steps"])
    assert all(len(each["inside_samples_s"]) >= 18 for each in found["steps"])


def test_a_wrong_kernel_is_exit_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--kernels", "fake-wrong", "numpy-masked-update", "--quiet"]) == 3
    captured = capsys.readouterr()
    assert "fake-wrong: wrong: fc1 forward" in captured.err
    assert "numpy-masked-update" in captured.out
    assert "fake-wrong" not in captured.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--kernels", "magic"], "unknown kernel 'magic'"),
        (["--kernels", "numba-tiled"], "nothing to compare 'numba-tiled' with"),
        (["--kernels", "fake-absent"], "'fake-absent' cannot run here: The library"),
        (["--kernels", "fake-forward"], "'fake-forward' has no backward_input pass"),
        (["--batch", "0"], "batch 0 is outside"),
        (["--threads", "4096"], "threads 4096 is outside"),
        (["--model", "alexnet"], "unknown network 'alexnet'"),
        (["--sparsity", "1"], "sparsity 1 is outside"),
        (["--pattern", "pretty"], "invalid choice"),
        (["--optimizer", "luck"], "invalid choice"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMMAND, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert says in captured.err
