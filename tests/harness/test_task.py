"""A visit inside the worker: checked, timed together, checked again; by kernels in this process."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossover.bench.harness import layer_setup, task
from crossover.bench.harness import race as racing
from crossover.bench.harness.task import Task
from crossover.bench.workloads import given, matrices, recipes
from crossover.bench.workloads.given import GivenLayer, GivenWeights
from crossover.bench.workloads.matrices import PatternFile, RandomMatrix
from crossover.bench.workloads.problem import Computes, Problem, Setting, Workload
from crossover.bench.workloads.recipes import (
    NetworkWeights,
    PrunedLayer,
    ServedNetwork,
    TrainedLayer,
)
from crossover.bench.workloads.training.recipe import TrainingRecipe
from crossover.kernels.base import PASSES, Kernel
from tests.fakes import Quick
from tests.in_process import FAKES, matrix_task, outcome


@pytest.fixture
def kernels() -> dict[str, Kernel]:
    """Kernels that no other test has used."""
    return FAKES.load()


def test_fast_and_slow_are_told_apart(kernels: dict[str, Kernel]) -> None:
    found = outcome(matrix_task("numpy-dense", "fake-quick", "fake-slow"), kernels)
    assert [row.status for row in found.rows.values()] == ["measured"] * 3
    times = {name: float(np.median(row.samples)) for name, row in found.rows.items()}
    assert times["fake-slow"] > 0.03
    assert times["fake-quick"] < times["fake-slow"]
    assert {len(row.samples) for row in found.rows.values()} == {6}
    assert {part: len(seconds) for part, seconds in found.canary.items()} == {
        "one core": 6,
        "memory": 6,
    }


def test_a_row_says_all_that_was_seen(kernels: dict[str, Kernel]) -> None:
    row = outcome(matrix_task("fake-halving", "numba-csr"), kernels).rows["fake-halving"]
    assert row.prepare_s is not None
    assert row.restore_s is not None
    assert row.first_call_s is not None
    assert row.prepare_s >= 0
    assert row.compile_s == 0.0
    assert row.loops == 1
    assert row.stored_entries == 48
    assert row.nbytes == 8 * 48
    assert row.relative_error is not None
    assert row.share_of_bound is not None
    assert row.relative_error < 1e-6
    assert row.share_of_bound <= 1
    assert row.busy_s > 6 * 0.02
    assert row.warnings == []


def test_the_problem_is_described_as_it_was_made(kernels: dict[str, Kernel]) -> None:
    made = outcome(matrix_task("numpy-dense"), kernels).description
    assert made is not None
    assert (made.m, made.k, made.n, made.nnz) == (12, 8, 4, 48)
    assert made.sparsity == 0.5
    assert (made.useful_flops, made.executed_flops) == (2 * 48 * 4, 2 * 96 * 4)
    assert made.side_bytes == 4 * (12 + 8) * 4
    assert (made.zeros_x, made.zeros_dy) == (0.0, 0.0)
    assert made.format_bytes["dense"] == 4 * 96


def test_what_a_kernel_says_is_one_printable_line(
    kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lone half of a character cannot be stored, and an escape sequence moves the cursor."""
    said = "\n::error::no\x1b[31m\ud800" + 500 * "x"
    monkeypatch.setattr(kernels["fake-fast"], "unavailable", lambda: said)
    monkeypatch.setattr(kernels["fake-slow"], "unavailable", lambda: "\x00")
    rows = outcome(matrix_task("fake-fast", "fake-slow"), kernels).rows
    assert rows["fake-fast"].reason.startswith("::error::no [31m x")
    assert len(rows["fake-fast"].reason) == 400
    assert rows["fake-slow"].reason == "no reason is given"


@pytest.mark.parametrize("kernel", ["fake-wrong", "fake-unwritten"])
def test_a_wrong_kernel_is_never_timed(kernels: dict[str, Kernel], kernel: str) -> None:
    rows = outcome(matrix_task("numpy-dense", kernel), kernels).rows
    assert rows[kernel].status == "wrong"
    assert "results are wrong" in rows[kernel].reason
    assert rows[kernel].samples == []
    assert rows["numpy-dense"].status == "measured"


@pytest.mark.parametrize(
    ("kernel", "status", "reason"),
    [
        ("fake-raising", "failed", "raised RuntimeError: planted"),
        ("fake-raising-later", "failed", "while timed: planted later"),
        ("fake-absent", "skipped", "never written"),
        ("fake-vast", "skipped", "GiB are free"),
        ("fake-nan-once", "wrong", "while it was timed: a result had a NaN or infinity"),
    ],
)
def test_a_failure_costs_its_own_row_only(
    kernels: dict[str, Kernel], kernel: str, status: str, reason: str
) -> None:
    rows = outcome(matrix_task(kernel, "numpy-dense", "scipy-csr"), kernels).rows
    assert rows[kernel].status == status
    assert reason in rows[kernel].reason
    assert [rows[name].status for name in ("numpy-dense", "scipy-csr")] == ["measured"] * 2


def test_a_pass_that_a_kernel_has_not_is_skipped(kernels: dict[str, Kernel]) -> None:
    asked = matrix_task("fake-forward", "numpy-dense")
    workload = replace(asked.problem.workload, computes="backward_input")
    asked = replace(asked, problem=replace(asked.problem, workload=workload))
    rows = outcome(asked, kernels).rows
    assert rows["fake-forward"].status == "skipped"
    assert "no backward_input pass" in rows["fake-forward"].reason


def test_a_result_that_turns_wrong_is_noticed_in_a_round_that_is_checked_whole() -> None:
    class Corrupting(Quick):
        name = "fake-corrupting"
        calls = 0

        def forward(self, operand: Any, x: Any, out: Any) -> Any:
            self.calls += 1
            result = np.matmul(operand.values, x, out=out)
            if self.calls > 1:
                result[[0, 1], 0] += 1, -1  # finite, and its sums are right
            return result

    row = outcome(matrix_task("fake-corrupting"), {"fake-corrupting": Corrupting()}).rows
    assert row["fake-corrupting"].status == "wrong"
    assert "while it was timed: 2 of 48 results are wrong" in row["fake-corrupting"].reason


@pytest.mark.parametrize("moment", ["clock", "last check"])
def test_a_failure_at_any_moment_is_the_kernels_own(
    moment: str, monkeypatch: pytest.MonkeyPatch, kernels: dict[str, Kernel]
) -> None:
    class Fetching(Quick):
        name = "fake-fetching"
        fetched = 0

        def fetch(self, array: Any) -> Any:
            self.fetched += 1
            # Its first result, the check, W, and the check of a round; then the last check.
            if self.fetched > 4:
                raise RuntimeError("planted")
            return super().fetch(array)

    def refused(asked: Task, kernel: Kernel, call: Any) -> Any:
        if kernel.name == "fake-fetching":
            raise RuntimeError("planted")
        return competing(asked, kernel, call)

    competing = task._competitor
    if moment == "clock":
        monkeypatch.setattr(task, "_competitor", refused)
    kernels |= {"fake-fetching": Fetching()}
    rows = outcome(matrix_task("fake-fetching", "numpy-dense"), kernels).rows
    assert rows["fake-fetching"].status == "failed"
    assert "RuntimeError: planted" in rows["fake-fetching"].reason
    assert ("after it was timed" in rows["fake-fetching"].reason) == (moment == "last check")
    assert rows["numpy-dense"].status == "measured"


def test_what_does_not_fit_is_refused_before_it_is_allocated(
    kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_setup, "free_bytes", lambda *_: 1000)
    monkeypatch.setattr(matrices, "_drawn_weight", lambda _: pytest.fail("was allocated"))
    found = outcome(matrix_task("numpy-dense", "numba-csr"), kernels)
    assert found.description is None
    assert {row.status for row in found.rows.values()} == {"skipped"}
    assert all("give a smaller --batch" in row.reason for row in found.rows.values())


def test_outputs_are_poisoned_before_each_kernel(kernels: dict[str, Kernel]) -> None:
    # The kernel before leaves the right result in the shared room.
    rows = outcome(matrix_task("numpy-dense", "fake-unwritten"), kernels).rows
    assert "nan" in rows["fake-unwritten"].reason


def test_cold_and_hot_differ_in_their_flush(
    kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(task, "flusher", lambda: lambda: flushed.append(1))
    monkeypatch.setattr(racing, "_cold_loops", lambda *_: 3)
    hot = matrix_task("fake-steady")
    setting = Setting(1, "cold")
    cold = replace(hot, problem=replace(hot.problem, setting=setting))
    outcome(hot, kernels)
    assert flushed == []
    row = outcome(cold, kernels).rows["fake-steady"]
    assert row.loops == 3
    assert len(flushed) == 6 * 3


def test_who_has_the_turn_is_told(kernels: dict[str, Kernel]) -> None:
    told: list[str] = []
    outcome(matrix_task("numpy-dense", "fake-raising", rounds=(2, 2)), kernels, told.append)
    assert told[:3] == ["", "numpy-dense", "fake-raising"]
    assert told.pop() == "", "nobody is blamed for what comes after the last check"
    assert told[3:] == ["numpy-dense"] * 5  # its clock, its calibration, its rounds, its check


def test_operands_are_kept_where_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted(Quick):
        name = "fake-counted"
        prepared = 0

        def prepare(self, weight: Any) -> Any:
            self.prepared += 1
            return super().prepare(weight)

    kernel = Counted()
    kernels: dict[str, Kernel] = {kernel.name: kernel}
    monkeypatch.setattr(layer_setup, "_KEPT", layer_setup._KeptOperands())
    anew = matrix_task(kernel.name)
    kept = replace(anew, keeps_operands=True)
    outcome(anew, kernels)
    outcome(anew, kernels)
    assert kernel.prepared == 2
    rows = [outcome(kept, kernels).rows[kernel.name] for _ in range(3)]
    assert kernel.prepared == 3
    assert rows[0].prepare_s == rows[2].prepare_s
    outcome(replace(matrix_task(kernel.name, sparsity=0.25), keeps_operands=True), kernels)
    assert kernel.prepared == 4
    outcome(kept, kernels)  # the other weight took its place
    assert kernel.prepared == 5


def test_operands_for_a_purpose_are_kept_by_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Any, int]] = []

    class Adapting(Quick):
        name = "fake-adapting"

        def prepare_for(self, weight: Any, passes: Any, n: int) -> Any:
            made.append((passes, n))
            return self.prepare(weight)

    kernel = Adapting()
    kernels: dict[str, Kernel] = {kernel.name: kernel}
    monkeypatch.setattr(layer_setup, "_KEPT", layer_setup._KeptOperands())
    kept = replace(matrix_task(kernel.name), keeps_operands=True)
    n = kept.problem.workload.batch
    wider = replace(kept.problem, workload=replace(kept.problem.workload, batch=2 * n))
    for each in (kept, kept, replace(kept, problem=wider), kept):
        assert outcome(each, kernels).rows[kernel.name].status == "measured"
    assert made == [(("forward",), n), (("forward",), 2 * n)]


def test_a_version_that_knows_no_purpose_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate compares with kernels of before ``prepare_for``."""
    kernel = Quick()
    monkeypatch.setattr(layer_setup, "_KEPT", layer_setup._KeptOperands())
    monkeypatch.delattr(Kernel, "prepare_for")
    for keeps in (False, True):
        asked = replace(matrix_task("old"), keeps_operands=keeps)
        assert outcome(asked, {"old": kernel}).rows["old"].status == "measured"


TRAINING = TrainingRecipe("lenet-300-100", "f" * 16, 0.9)
FOLDER = Path("/a/long/path/to/some/folder/of/images/that/a/user/has")
GIVEN = GivenLayer("mine.safetensors", "fc1", 0, 300, 784, 1, "d" * 16, True, 0.9, 0.9,
                   path=FOLDER / "mine.safetensors", inputs_path=FOLDER / "inputs.npy")  # fmt: skip
WEIGHTS = [
    RandomMatrix("squares", 8192, 8192, 0.9, "block-32", name="a name"),
    TrainedLayer(TRAINING, 0, "d" * 16, FOLDER, 0.98),
    PrunedLayer(TRAINING, 0, "d" * 16, FOLDER, 0.9),
    PatternFile("rn50/random/0.9/layer.smtx", "d" * 16, 2048, 512, 0.9, 0, FOLDER / "layer.smtx"),
    NetworkWeights(TRAINING, "trained", "d" * 16),
    GIVEN,
    GivenWeights((GIVEN, GIVEN)),
    ServedNetwork((GIVEN, GIVEN), "p" * 500, path=FOLDER / "mine.plan.safetensors"),
]


@pytest.mark.parametrize("weights", WEIGHTS, ids=lambda each: type(each).__name__)
def test_nothing_large_crosses_the_pipe(weights: Any) -> None:
    every = tuple(f"kernel-with-a-long-name-{number}" for number in range(50))
    whole: dict[type, tuple[Computes, ...]] = {
        NetworkWeights: ("step",), GivenWeights: ("step",), ServedNetwork: ("network", "serving"),
    }  # fmt: skip
    computes = whole.get(type(weights), PASSES)
    for each in computes:
        workload = Workload(weights, each, 8192, 0.5)
        asked = Task(Problem(workload, Setting(64)), every, 1.0, (2**62, 0, 5))
        assert len(pickle.dumps((asked, every))) < 4096
        assert pickle.loads(pickle.dumps(asked)) == asked


def test_the_pipe_is_tried_with_every_recipe() -> None:
    there = {
        each
        for module in (matrices, recipes, given)
        for name, each in vars(module).items()
        if isinstance(each, type) and hasattr(each, "labels") and not name.startswith("_")
    }
    assert {type(each) for each in WEIGHTS} == there - {recipes.WeightRecipe}
