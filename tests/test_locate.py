"""Locating crossovers through real workers, with kernels whose crossover is planted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import locate
from bench.__main__ import main
from bench.answers import Answer, Question
from bench.errors import InputError
from bench.locate import Inquiry
from bench.search import Search
from bench.workloads import mnist, models
from kernels.base import discover

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


def test_memory_crossover_is_where_the_bytes_are_equal() -> None:
    question = Question("fc1", 0, (10, 10), 1, "forward", None, 1, "k", "cpu", ("d",))
    answer = Answer(question, Search())
    assert answer.memory_crossover() is None
    answer.operands = {0.0: (800, 400, 1.0), 0.5: (400, 400, 1.0), 0.9: (80, 400, 1.0)}
    assert answer.memory_crossover() == pytest.approx(0.5)
