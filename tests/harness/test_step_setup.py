"""A training step: what it computes, what is noticed, and that five of them are right."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crossover.bench.harness.examination import examiner
from crossover.bench.harness.examination.step import ExaminedKernel
from crossover.bench.harness.step_setup import InsideClock, Step, StepSetup
from crossover.bench.harness.task import Task
from crossover.bench.records.rows import Row
from crossover.bench.workloads import networks
from crossover.bench.workloads.networks import Convolution, Linear, Network
from crossover.bench.workloads.problem import Problem, Setting, Workload
from crossover.bench.workloads.recipes import NetworkWeights
from crossover.bench.workloads.training.descent import OPTIMIZERS, Adam, GradientDescent
from crossover.bench.workloads.training.model import LayerState, Model, loss_gradient
from crossover.bench.workloads.training.recipe import TrainingRecipe
from crossover.kernels import base
from crossover.kernels.base import PASSES, Array, Kernel, Weight
from crossover.kernels.cpu.numpy_dense import NumpyMaskedUpdate
from crossover.kernels.oracle import Oracle
from crossover.kernels.verdicts import check_update
from tests.fakes import CLOCK
from tests.in_process import FAKES, outcome

TINY = Network("tiny", (Linear("fc1", 784, 24), Linear("fc2", 24, 10)), 1, 1)
TINY_CONVOLUTION = Network("small", (Convolution("conv1", 1, 2, 28), Linear("fc1", 288, 10)), 1, 1)
NETWORKS = [TINY, TINY_CONVOLUTION]
RUNNING = {
    name: kernel
    for name, kernel in FAKES.load().items()
    if kernel.device == "cpu" and not kernel.unavailable()
}
PROBLEMS = [
    base.Problem(pass_, *layer.shape, layer.columns(5), 1)
    for network in NETWORKS
    for layer in network.layers
    for pass_ in PASSES
]
REAL = [
    name
    for name, kernel in RUNNING.items()
    if not name.startswith("fake") and not any(map(kernel.unsupported, PROBLEMS))
]


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch: pytest.MonkeyPatch, small_data: None) -> None:
    for each in NETWORKS:
        monkeypatch.setitem(networks.NETWORKS, each.name, each)


def step_task(
    *kernels: str, network: str = "tiny", optimizer: str = "sgd", rounds: int = 2
) -> Task:
    """Return a step with a random pattern and a batch of five images."""
    weights = NetworkWeights(TrainingRecipe(network, "any data", 0.7), "random")
    workload = Workload(weights, "step", 5, optimizer=optimizer)
    problem = Problem(workload, Setting(1))
    return Task(problem, kernels, 0.0, (0,), (rounds, rounds))


def rows_of(task: Task) -> dict[str, Row]:
    return outcome(task, RUNNING).rows


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", ["tiny", "small"])
def test_every_kernel_takes_a_step_that_is_right(network: str, optimizer: str) -> None:
    rows = rows_of(step_task(*REAL, network=network, optimizer=optimizer))
    assert {name: row.reason for name, row in rows.items() if row.reason} == {}
    assert all(len(row.samples) == len(row.inside_samples) == 2 for row in rows.values())
    assert all(len(row.part_samples["update"]) == 2 for row in rows.values())
    assert all(row.nbytes and row.stored_entries for row in rows.values())


def start(setup: StepSetup, kernel: Kernel) -> tuple[Model, ExaminedKernel]:
    """Return a model whose every product and update is examined."""
    model = Model(setup.network, setup.states, kernel)
    examined = ExaminedKernel(kernel, model)
    model.kernel = examined  # type: ignore[assignment]
    return model, examined


def losses(setup: StepSetup, kernel: Kernel, steps: int) -> tuple[list[float], ExaminedKernel]:
    """Return the loss before each of some steps of Adam, and what was examined."""
    model, examined = start(setup, kernel)
    adam, found = Adam(model), []
    for _ in range(steps):
        logits, taken = model.forward(setup.pixels)
        shifted = logits.astype(np.float64) - logits.max(axis=0)
        log_sum = np.log(np.exp(shifted).sum(axis=0))
        found.append(float((log_sum - shifted[setup.labels, np.arange(5)]).mean()))
        adam.step(loss_gradient(logits, setup.labels, np), taken, 1e-3)
    return found, examined


@pytest.mark.parametrize("network", ["tiny", "small"])
@pytest.mark.parametrize("name", REAL)
def test_five_steps_of_adam_are_right_product_by_product(name: str, network: str) -> None:
    """Adam divides a gradient by its size: the rounding of one near zero decides a whole step.

    So two right kernels soon have other weights; each product, for the operands that it had, is
    what can be right or wrong.
    """
    setup = StepSetup(step_task(network=network))
    found, examined = losses(setup, RUNNING[name], 5)
    assert [f"{what}: {each.problem}" for what, each in examined.verdicts if each.problem] == []
    assert len(examined.verdicts) == 5 * (2 + 2 + 1 + 2)  # the first layer needs no dX
    assert found[-1] < found[0]
    if RUNNING[name].keeps_zeros:
        expected, _ = losses(setup, RUNNING["numpy-masked-update"], 5)
        np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("name", ["fake-wrong", "fake-no-step", "fake-lost-zeros"])
def test_five_steps_can_be_wrong(name: str) -> None:
    _, examined = losses(StepSetup(step_task()), RUNNING[name], 5)
    assert not examined.worst().right


@pytest.mark.parametrize("name", REAL)
def test_a_step_is_that_of_the_formulas(name: str) -> None:
    setup, rate = StepSetup(step_task()), 0.5
    model = Model(TINY, setup.states, RUNNING[name])
    logits, taken = model.forward(setup.pixels)
    GradientDescent(model).step(loss_gradient(logits, setup.labels, np), taken, rate)
    (w1, b1), (w2, b2) = (
        (state.weight.values.astype(np.float64), state.bias[:, None].astype(np.float64))
        for state in setup.states
    )
    x = setup.pixels.astype(np.float64)
    hidden = np.maximum(w1 @ x + b1, 0)
    power = np.exp(w2 @ hidden + b2)
    dy2 = (power / power.sum(axis=0) - np.eye(10)[setup.labels].T) / 5
    dy1 = (w2.T @ dy2) * (hidden > 0)
    stays = RUNNING[name].keeps_zeros
    rounds = RUNNING[name].arithmetic["float32"].operand_roundoff
    for state, begin, bias, dy, given in zip(
        states_of(model), (w1, w2), (b1, b2), (dy1, dy2), (x, hidden), strict=True
    ):
        moved = begin - rate * dy @ given.T
        expected = np.where(state.weight.pattern, moved, 0) if stays else moved
        values = np.where(state.weight.pattern, state.weight.values, expected)
        np.testing.assert_allclose(values, expected, atol=1e-5 + rounds)
        moved = bias[:, 0] - rate * dy.sum(axis=1)
        np.testing.assert_allclose(state.bias, moved, atol=1e-5 + rounds)


def states_of(model: Model) -> list[LayerState]:
    return model.states()


def test_every_product_and_update_of_a_step_is_examined() -> None:
    setup = StepSetup(step_task())
    model, examined = start(setup, RUNNING["numba-csr"])
    logits, taken = model.forward(setup.pixels)
    GradientDescent(model).step(loss_gradient(logits, setup.labels, np), taken, 0.1)
    assert sorted(what for what, _ in examined.verdicts) == [
        "fc1 backward_weight", "fc1 forward", "fc1 update",
        "fc2 backward_input", "fc2 backward_weight", "fc2 forward", "fc2 update",
    ]  # fmt: skip
    products = {f"{'fc1' if each.m == 24 else 'fc2'} {each.pass_}" for each in setup.problems}
    assert products == {what for what, _ in examined.verdicts if "update" not in what}
    nnz1, nnz2 = (state.weight.nnz for state in setup.states)
    described = setup.description
    assert described.useful_flops == 2 * 5 * (2 * nnz1 + 3 * nnz2)
    assert (described.nnz, described.n) == (nnz1 + nnz2, 5)
    assert described.sparsity == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fake-wrong", "fc1 forward: .* results are wrong"),
        ("fake-unwritten", "fc1 forward: .* should be"),
        ("fake-no-step", "fc2 update: .* should be"),
        ("fake-lost-zeros", "fc2 update: .* outside the pattern are no longer zero"),
        ("fake-raising", "raised RuntimeError: planted"),
        ("fake-forward", "no backward_weight pass"),
    ],
)
def test_a_wrong_step_is_never_timed(name: str, says: str) -> None:
    row = rows_of(step_task(name))[name]
    assert row.status == {"fake-raising": "failed", "fake-forward": "skipped"}.get(name, "wrong")
    assert row.samples == []
    assert re.search(says, row.reason)


@pytest.mark.parametrize("large", [False, True])
def test_large_results_are_looked_at_in_part(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examiner, "_LARGE_RESULT", 0 if large else 1 << 22)
    monkeypatch.setattr(examiner, "_CHECKED_ROWS", 1)
    looked_at: list[int] = []
    with_sides = Oracle.with_sides

    def noted(oracle: Oracle, x: Array, dy: Array, rows: int | None = None) -> Oracle:
        looked_at.append(rows or 0)
        return with_sides(oracle, x, dy, rows)

    monkeypatch.setattr(Oracle, "with_sides", noted)
    rows = rows_of(step_task("numba-csr", "fake-wrong"))
    assert (rows["numba-csr"].status, rows["fake-wrong"].status) == ("measured", "wrong")
    assert set(looked_at) == ({1} if large else {0})


class Drifting(NumpyMaskedUpdate):
    """Changes W where it should only read it, from its nth product on."""

    name = "fake-drifting"

    def __init__(self, products: int) -> None:
        self.left = products

    def forward(self, operand: Any, x: Any, out: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            operand.values[0] += 1
        return super().forward(operand, x, out)


@pytest.mark.parametrize("products", [0, 1, 6])
def test_a_product_may_not_change_the_weights(products: int) -> None:
    kernel = Drifting(products)
    row = outcome(step_task(kernel.name), {kernel.name: kernel}).rows[kernel.name]
    assert row.status == "wrong"
    assert re.search(r"fc[12] forward: .* results are wrong", row.reason)


def test_a_step_that_turns_wrong_is_noticed_after_it_was_timed() -> None:
    row = rows_of(step_task("fake-forgetful"))["fake-forgetful"]
    assert row.status == "wrong"
    assert "after it was timed: fc2 update" in row.reason


class Keeping(NumpyMaskedUpdate):
    """Keeps what it computed for an X: by its content, or by its address."""

    name = "fake-keeping-in-steps"

    def __init__(self, by_address: bool) -> None:
        self.by_address = by_address
        self.answers: dict[Any, Any] = {}

    def prepare(self, weight: Weight) -> Any:
        self.answers.clear()
        return super().prepare(weight)

    def forward(self, operand: Any, x: Any, out: Any) -> Any:
        key = (operand.values.shape, x.ctypes.data if self.by_address else x.tobytes())
        if key not in self.answers:
            CLOCK.pause(0.02)
            self.answers[key] = super().forward(operand, x, out).copy()
        CLOCK.pause(0.001)
        out[...] = self.answers[key]
        return out


@pytest.mark.parametrize("by_address", [True, False])
def test_a_kernel_that_keeps_its_products_is_found_out(by_address: bool) -> None:
    kernel = Keeping(by_address)
    row = outcome(step_task(kernel.name, rounds=6), {kernel.name: kernel}).rows[kernel.name]
    assert row.status == "wrong"
    if by_address:
        assert "while it was timed: fc1 forward: " in row.reason
    else:
        assert "it keeps answers" in row.reason


def test_a_kernel_that_stops_in_the_timed_steps_is_found_out() -> None:
    row = rows_of(step_task("fake-stops-rows", rounds=6))["fake-stops-rows"]
    assert row.status == "wrong"
    assert row.reason.startswith("while it was timed: ")


def test_the_timed_steps_leave_the_weights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    kernel = RUNNING["numpy-masked-update"]
    update = kernel.update

    def noted(operand: Any, step: Any, rate: float) -> None:
        rates.append(rate)
        update(operand, step, rate)

    monkeypatch.setattr(kernel, "update", noted)
    rows_of(step_task(kernel.name))
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

    monkeypatch.setattr("crossover.bench.harness.step_setup.time.perf_counter", lambda: clock[0])
    taken = Step(StepSetup(step_task()), Clockwork())
    inside = InsideClock(taken)
    seconds, logits = inside.seconds(lambda: taken(0.0), 3)
    assert inside.parts == {
        "forward": [2.0], "backward_input": [1.0], "backward_weight": [2.0], "update": [20.0],
    }  # fmt: skip
    assert seconds == 3 * (2 + 1 + 2 + 2 * 10)
    assert logits.shape == (10, 5)
    assert taken.model.kernel is taken.kernel


def test_steps_of_an_optimizer_are_problems_of_their_own() -> None:
    one = step_task(optimizer="sgd").problem
    other = replace(one, workload=replace(one.workload, optimizer="adam"))
    assert one.problem_id != other.problem_id


def test_an_update_is_held_to_its_rounding() -> None:
    rng = np.random.default_rng(0)
    pattern = rng.random((20, 30)) < 0.3
    weight = Weight(np.where(pattern, rng.standard_normal((20, 30)), 0).astype(np.float32), pattern)
    kernel = RUNNING["numpy-masked-update"]
    step = rng.standard_normal(weight.shape).astype(np.float32)
    right = np.where(weight.pattern, weight.values - np.float32(0.1) * step, 0)
    assert check_update(weight, step, 0.1, right, kernel).right
    row, column = np.argwhere(weight.pattern)[7]
    wrong = right.copy()
    wrong[row, column] *= 1 + 1e-5
    assert not check_update(weight, step, 0.1, wrong, kernel).right
    wrong[row, column] = np.nan
    assert not check_update(weight, step, 0.1, wrong, kernel).right
