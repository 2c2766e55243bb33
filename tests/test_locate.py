"""Locating crossovers through real workers, with kernels whose crossover is planted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossover.bench import locate
from crossover.bench.__main__ import main
from crossover.bench.answers import Answer, Question
from crossover.bench.ceilings import Ceilings
from crossover.bench.errors import InputError
from crossover.bench.locate import Inquiry
from crossover.bench.search import Search
from crossover.bench.workloads import execution, mnist, models
from crossover.kernels import discover

ASKED = Inquiry(
    layers=("fc2",),
    kernels=("fake-halving",),
    against="fake-steady",
    modules=("tests.fakes",),
    width=0.1,
    budget_s=60.0,
)


@pytest.fixture(autouse=True)
def small_training(monkeypatch: pytest.MonkeyPatch, small_mnist: Path) -> None:
    """Train on the small data set: which weights a layer has does not matter here."""
    data = mnist.load(small_mnist)
    monkeypatch.setattr(mnist, "load", lambda *_: data)


def test_a_planted_crossover_is_located() -> None:
    (answer,) = locate.locate(ASKED)
    found = answer.search.found().crossover
    assert found.kind == "between"
    assert 0.25 < found.low < found.high < 0.75
    memory = answer.memory_crossover()
    assert memory is None  # both fakes hold W dense
    probes = answer.probes
    assert [p.sparsity for p in probes] == sorted(p.sparsity for p in probes)
    repaid = answer.break_even()
    assert repaid is not None
    assert repaid[1] > 0


@pytest.mark.parametrize("pattern", locate.PATTERNS)
def test_every_pattern_reaches_its_sparsity(pattern: locate.Pattern) -> None:
    data = mnist.load()
    kernel = discover()["numpy-masked-update"]
    trained = models.obtain(models.Recipe("lenet-300-100", data.digest), data, kernel)
    bench = locate._Bench(replace(ASKED, pattern=pattern), trained, data)
    weight = bench._pruned(0, 0.8)
    assert weight.sparsity == pytest.approx(0.8, abs=0.005)
    rows = weight.pattern.mean(axis=1)
    assert (rows.std() > 0.1) == (pattern == "row-skewed")


@pytest.mark.parametrize("kernel", ["fake-raising", "fake-crashing", "fake-wrong"])
def test_a_failing_kernel_ends_its_own_search_only(kernel: str) -> None:
    inquiry = replace(ASKED, kernels=(kernel, "fake-halving"))
    failing, fine = locate.locate(inquiry)
    assert failing.failure.startswith(f"{kernel}: ")
    assert failing.wrong == (kernel == "fake-wrong")
    assert fine.search.found().crossover.kind == "between"


def test_nothing_but_failures_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["crossover", "--layer", "fc2", "--kernels", "fake-raising", "--against",
                 "fake-steady", "--kernel-module", "tests.fakes", "--quiet"]  # fmt: skip
    assert main(arguments) == 2
    assert "nothing was measured: fake-raising" in capsys.readouterr().err


def test_a_budget_too_small_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="ended before any probe"):
        locate.locate(replace(ASKED, budget_s=1e-9))
    arguments = ["crossover", "--layer", "fc2", "--kernels", "fake-halving", "--against",
                 "fake-steady", "--kernel-module", "tests.fakes", "--budget", "0.1s"]  # fmt: skip
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    (record,) = json.loads(captured.out)
    assert record["crossover"]["kind"] in ("open", "between")
    assert "give more --budget" in captured.err


def test_the_prediction_is_where_the_rooflines_meet() -> None:
    limits = Ceilings(
        threads=1, fma_one_gflops=100.0, fma_gflops=100.0, blas_gflops=100.0,
        copy_gbs={"memory": 10.0}, cache_bytes={}, call_s=1e-7, parallel_s=1e-6,
    )  # fmt: skip
    answer = Answer(
        Question("fc1", 0, (1000, 1000), 1, "forward", None, 1, "k", "cpu", ()), Search()
    )
    assert answer.predicted(limits) is None
    answer.columns = 1  # bound by memory: fp32 with 32-bit indices crosses at 50 %
    answer.operands = {0.0: (8_000_000, 4_000_000, 1.0), 0.99: (80_000, 4_000_000, 1.0)}
    assert answer.predicted(limits) == pytest.approx(0.5, abs=0.002)
    answer.columns = 10_000  # bound by multiply-adds: any zero that is left out pays
    assert answer.predicted(limits) == 0.0


def test_zeros_are_drawn_to_their_share() -> None:
    rng = np.random.default_rng(0)
    x = np.where(rng.random((100, 40)) < 0.8, 0, 1 + rng.random((100, 40))).astype(np.float32)
    given = execution.LayerOperands(x, np.zeros((3, 40), np.float32))
    for share in (0.0, 0.3, 0.95):
        drawn = execution.with_zeros(given, share, rng)
        assert np.mean(drawn.x == 0) == pytest.approx(share)
        assert set(drawn.x[drawn.x != 0]) <= set(x[x != 0])
        assert np.mean(drawn.dy == 0) == pytest.approx(share, abs=0.01)


def test_the_zeros_of_the_activations_are_an_axis() -> None:
    answers = locate.locate(replace(ASKED, zeros=(None, 0.0, 0.9)))
    assert [answer.question.zeros for answer in answers] == [None, 0.0, 0.9]
    assert answers[1].zeros_of == (0.0, 0.0)
    assert np.allclose(answers[2].zeros_of, 0.9, atol=0.01)
    with pytest.raises(InputError, match="share of zeros 1 is outside"):
        locate.locate(replace(ASKED, zeros=(1.0,)))


def test_ctrl_c_keeps_the_answers_so_far(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = locate._Bench.step
    steps: list[Answer] = []

    def stopped(self: locate._Bench, answer: Answer) -> None:
        if len(steps) == 3:
            raise KeyboardInterrupt
        steps.append(answer)
        step(self, answer)

    monkeypatch.setattr(locate._Bench, "step", stopped)
    arguments = ["crossover", "--layer", "fc2", "--kernels", "fake-halving", "--against",
                 "fake-steady", "--kernel-module", "tests.fakes"]  # fmt: skip
    assert main([*arguments, "--json", "--quiet"]) == 130
    captured = capsys.readouterr()
    (record,) = json.loads(captured.out)
    assert len(record["probes"]) == 3
    assert "found so far is above" in captured.err


def test_memory_crossover_is_where_the_bytes_are_equal() -> None:
    question = Question("fc1", 0, (10, 10), 1, "forward", None, 1, "k", "cpu", ("d",))
    answer = Answer(question, Search())
    assert answer.memory_crossover() is None
    answer.operands = {0.0: (800, 400, 1.0), 0.5: (400, 400, 1.0), 0.9: (80, 400, 1.0)}
    assert answer.memory_crossover() == pytest.approx(0.5)
