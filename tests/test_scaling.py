"""All threads against one: the order of the visits, what is made of them, and the command."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from crossover.bench import machine, scaling
from crossover.bench.__main__ import main
from crossover.bench.alternating import balanced_orders
from crossover.bench.cell_trial import Task
from crossover.bench.scaling import Scaled, ScalingInquiry
from crossover.bench.trial import Outcome
from crossover.reports import scaling as shown

COMMAND = ["scaling", "--shapes", "24x16", "--sparsity", "0.5", "--batch", "8",
           "--passes", "forward", "--kernel-module", "tests.fakes"]  # fmt: skip


class Planted:
    """A worker that is so many times faster as it has threads, and notes its visits."""

    visits: Sequence[int] = []
    asked: Sequence[Sequence[str]] = []

    def __init__(self, threads: int, modules: Sequence[str] = ()) -> None:
        self.threads = threads

    def measure(self, task: Task) -> dict[str, Outcome]:
        Planted.visits = [*Planted.visits, self.threads]
        Planted.asked = [*Planted.asked, task.kernels]
        found = {
            name: Outcome("measured", samples=[9e-3, 3e-3 / self.threads, 1e-6])
            for name in task.kernels
        }
        if "fake-wrong" in found and len(Planted.visits) > 3:
            found["fake-wrong"] = Outcome("wrong", "planted")
        return found

    def close(self) -> None:
        pass


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> type[Planted]:
    """Workers with planted times, on a machine with four cores."""
    monkeypatch.setattr(scaling, "Worker", Planted)
    monkeypatch.setattr("crossover.bench.machine.available_cores", lambda: 4)
    monkeypatch.setattr(Planted, "visits", [])
    monkeypatch.setattr(Planted, "asked", [])
    return Planted


def inquiry(*kernels: str, budget_s: float = 60.0) -> ScalingInquiry:
    """Return a small inquiry: two matrices, two passes, one batch."""
    return ScalingInquiry(
        kernels, ((12, 8), (16, 8)), (0.5,), (4,), ("forward", "backward_input"),
        budget_s=budget_s, modules=("tests.fakes",),
    )  # fmt: skip


def test_two_contenders_are_first_equally_often() -> None:
    orders = [tuple(o) for o in balanced_orders("ab", 8, np.random.default_rng(3))]
    assert orders.count(("a", "b")) == orders.count(("b", "a")) == 4
    for first, second in zip(orders[::2], orders[1::2], strict=True):
        assert first == second[::-1]
    others = {next(balanced_orders("ab", 1, np.random.default_rng(seed)))[0] for seed in range(9)}
    assert others == {"a", "b"}, "the first order is not drawn"


def test_visits_alternate_and_pair(planted: type[Planted]) -> None:
    found, total = scaling.measure(inquiry("numpy-dense", "numba-csr"))
    assert total == len(found) == 2 * 2 * 2
    assert len(planted.visits) == 2 * 2 * 16
    pairs = list(zip(planted.visits[::2], planted.visits[1::2], strict=True))
    assert pairs.count((1, 4)) == pairs.count((4, 1))
    for each in found:
        assert each.visits == {1: [3e-3] * 8, 4: [3e-3 / 4] * 8}
        assert shown.speedup(each).low == shown.speedup(each).high == pytest.approx(4.0)


def test_a_budget_that_ends_leaves_whole_problems(planted: type[Planted]) -> None:
    found, total = scaling.measure(inquiry("numpy-dense", budget_s=1e-9))
    assert (len(found), total) == (1, 4)
    assert len(found[0].visits[1]) == len(found[0].visits[4]) == 8


def test_a_kernel_that_fails_leaves_the_race(planted: type[Planted]) -> None:
    found, _ = scaling.measure(inquiry("fake-wrong", "numpy-dense", budget_s=1e-9))
    wrong, right = found
    assert planted.asked[4:] == [["numpy-dense"]] * 12
    assert (wrong.failure, wrong.wrong, right.failure) == ("planted", True, "")
    assert len(shown.table(found)) == 1
    assert [each["failure"] for each in shown.records(found)] == ["planted", ""]
    assert len(shown.summary(found)) == 1


def test_the_summary_is_of_geometric_mean_and_least() -> None:
    def scaled(n: int, ratio: float) -> Scaled:
        visits = {1: [ratio] * 8, 2: [1.0] * 8}
        return Scaled("numba-tiled", "forward", (100, 50), n, 500, 2, visits)

    (line,) = shown.summary([scaled(64, 1.0), scaled(256, 4.0)])
    assert line.startswith("numba-tiled: 2.00 times one thread (geometric mean of 2)")
    assert "least 1.00 (numba-tiled forward 100 × 50, 90%, batch 64)" in line
    (record, _) = shown.records([scaled(64, 1.0), scaled(256, 4.0)])
    assert record["useful_gflops"] == pytest.approx(2 * 500 * 64 / 1e9)


@pytest.mark.skipif(machine.available_cores() < 2, reason="one core")
def test_the_command_measures_and_reports(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--kernels", "numba-csr", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    (each,) = found["scaling"]
    assert found["of"] == 1
    assert len(each["visits_s"]) == len(each["visits_one_s"]) == 8
    assert each["speedup"]["low"] <= each["speedup"]["median"] <= each["speedup"]["high"]
    assert "multiply-adds in registers" in captured.err
    assert "numba-csr: " in captured.err


@pytest.mark.skipif(machine.available_cores() < 2, reason="one core")
def test_a_wrong_kernel_is_exit_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--kernels", "fake-wrong", "numpy-dense", "--quiet"]) == 3
    captured = capsys.readouterr()
    assert "fake-wrong forward 24 × 16" in captured.err
    assert "numpy-dense" in captured.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--kernels", "magic"], "unknown kernel 'magic'"),
        (["--shapes", "big"], "shape 'big' is not of the form 300x784"),
        (["--shapes", "0x5"], "shape '0x5' is not of the form 300x784"),
        (["--batch", "0"], "batch 0 is below 1"),
        (["--threads", "1"], "threads 1 against one: at least 2"),
        (["--threads", "4096"], "threads 4096 is outside"),
        (["--sparsity", "1"], "sparsity 1 is outside"),
        (["--passes", "sideways"], "unknown pass 'sideways'"),
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
