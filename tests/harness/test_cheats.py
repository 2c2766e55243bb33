"""Kernels that cheat within their contract: each is right at first, and is found out."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from crossover.bench.harness.task import Outcome, Task
from crossover.bench.records.rows import Row
from crossover.bench.workloads.problem import Computes
from crossover.kernels.base import Kernel
from tests.fakes import CLOCK
from tests.in_process import FAKES, matrix_task, outcome

TIMED, AFTERWARDS = "while it was timed: ", "after it was timed: "


def asked(
    *kernels: str,
    computes: Computes = "forward",
    batch: int = 4,
    zeros: float | None = None,
    seed: int = 0,
) -> Task:
    task = matrix_task(*kernels)
    workload = replace(task.problem.workload, computes=computes, batch=batch, zeros=zeros)
    return replace(task, problem=replace(task.problem, workload=workload), seed=(seed,))


def row_of(task: Task, kernels: dict[str, Kernel] | None = None) -> Row:
    """Return the row of the last kernel, which is beside an honest one that nobody blames."""
    rows = outcome(replace(task, kernels=("numpy-dense", *task.kernels)), kernels or FAKES.load())
    assert rows.rows["numpy-dense"].status == "measured"
    return rows.rows[task.kernels[-1]]


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kernel", "moment"),
    [
        ("fake-fast", TIMED),
        ("fake-keeps-first", TIMED),
        ("fake-knows-address", TIMED),
        ("fake-skips-same", TIMED),
        ("fake-stops-writing", TIMED),
        ("fake-stops-rows", TIMED),
        ("fake-mends", TIMED),
        ("fake-memoises", AFTERWARDS),
        ("fake-memoises-short", AFTERWARDS),
        ("fake-memoises-late", AFTERWARDS),
    ],
)
def test_a_cheat_is_found_out(kernel: str, moment: str, seed: int, batch: int) -> None:
    row = row_of(asked(kernel, seed=seed, batch=batch))
    assert row.status == "wrong"
    assert row.reason.startswith(moment)


@pytest.mark.parametrize("order", [("fake-lends", "fake-steals"), ("fake-steals", "fake-lends")])
def test_the_result_of_another_kernel_is_no_answer(order: tuple[str, str]) -> None:
    rows = outcome(asked(*order), FAKES.load()).rows
    assert rows["fake-lends"].status == "measured"
    assert rows["fake-steals"].status == "wrong"


def test_a_memory_of_contents_is_named() -> None:
    row = row_of(asked("fake-memoises"))
    assert re.search(
        r"it keeps answers: a call takes [\d.]+ times as long for a fresh X", row.reason
    )


@pytest.mark.parametrize(
    ("kernel", "computes"),
    [("fake-keeps-gradient", "backward_weight"), ("fake-keeps-transposed", "backward_input")],
)
def test_a_gradient_that_was_kept_is_found_out(kernel: str, computes: Computes) -> None:
    row = row_of(asked(kernel, computes=computes))
    assert row.status == "wrong"
    assert row.reason.startswith(TIMED)


def test_zeros_that_were_learnt_are_found_out() -> None:
    row = row_of(asked("fake-learns-zeros", batch=1, zeros=0.5))
    assert row.status == "wrong"
    assert row.reason.startswith(AFTERWARDS)


def test_who_writes_to_its_operands_is_blamed_itself() -> None:
    row = row_of(asked("fake-overwrites"))
    assert (row.status, row.reason) == ("wrong", "it wrote to its operands X and dY")


def test_a_kernel_that_is_right_for_one_shape_alone_is_wrong_for_the_next() -> None:
    kernels = FAKES.load()
    assert row_of(asked("fake-first-shape"), kernels).status == "measured"
    assert row_of(asked("fake-first-shape", batch=5), kernels).status == "wrong"


@pytest.mark.parametrize("computes", ["forward", "backward_input", "backward_weight"])
@pytest.mark.parametrize("zeros", [None, 0.5])
@pytest.mark.parametrize("batch", [1, 4, 33])
def test_the_honest_are_left_alone(computes: Computes, zeros: float | None, batch: int) -> None:
    honest = [
        name
        for name, kernel in FAKES.load().items()
        if not name.startswith("fake") and kernel.device == "cpu" and not kernel.unavailable()
    ]
    found: Outcome = outcome(
        asked(*honest, "fake-quick", computes=computes, zeros=zeros, batch=batch), FAKES.load()
    )
    wrong = {name: row.reason for name, row in found.rows.items() if row.status == "wrong"}
    assert wrong == {}
    assert found.rows["fake-quick"].status == "measured"


def test_slower_on_fresh_operands_by_little_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CLOCK, "still", True)
    row = row_of(asked("fake-gains-little"))
    assert row.status == "measured"
    assert row.warnings == ["slower on fresh X"]
