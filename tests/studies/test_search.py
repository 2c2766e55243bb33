"""The search for crossovers, with kernels whose crossover is planted."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from crossover.bench.errors import InputError
from crossover.bench.harness.sources import Discovered
from crossover.bench.harness.visits import Visitor
from crossover.bench.statistics.search_answers import search_answers
from crossover.bench.studies.search import Search, dense_of
from crossover.bench.studies.study import ignore
from crossover.bench.workloads.recipes import LAYER_PATTERNS, LayerPattern, PrunedLayer
from crossover.kernels.base import FP32, TF32
from tests.fakes import Halving, Steady
from tests.small_studies import searching

pytestmark = pytest.mark.usefixtures("planted")


def search(visitor: Visitor, left_s: float = 1e9, most: int = 200, **changes: object) -> Search:
    """Return a search that made its visits."""
    study = searching(**changes)
    study.begin(ignore)
    for _ in range(most):
        task = study.next(left_s)
        if task is None:
            break
        assert study.take(visitor.visit(task, "run", study.series))
    return study


def test_a_planted_crossover_is_found(visitor: Visitor) -> None:
    study = search(visitor, width=0.03)
    (answer,) = study.answers
    found = answer.search.estimate()
    assert found.kind == "between"
    assert 0.4 < found.low <= 0.5 <= found.high < 0.6
    assert study.unfinished == 0
    # Fake-halving holds 8 bytes per nonzero, the dense one 4 per entry.
    assert answer.memory_crossover() == pytest.approx(0.5, abs=0.01)
    sparsities = [each.sparsity for each in answer.probes]
    assert sparsities == sorted(sparsities)
    repaid = answer.break_even()
    assert repaid is not None
    assert repaid[1] >= 0


def test_the_view_computes_the_same_from_what_is_stored(visitor: Visitor) -> None:
    study = searching()
    study.begin(ignore)
    visits = []
    while (task := study.next(1e9)) is not None:
        visits.append(visitor.visit(task, "run", study.series))
        study.take(visits[-1])
    (stored,) = search_answers(visits, study.declared, 0.95, 0.1)
    (own,) = study.answers
    assert stored.search.estimate() == own.search.estimate()
    assert stored.probes == own.probes


@pytest.mark.parametrize("pattern", LAYER_PATTERNS)
def test_every_pattern_reaches_its_sparsity(pattern: LayerPattern, visitor: Visitor) -> None:
    study = searching(pattern=pattern, layers=("fc1",))
    study.begin(ignore)
    task = study.next(1.0)
    assert task is not None
    layer = task.problem.workload.weights
    assert isinstance(layer, PrunedLayer)
    weight = replace(layer, sparsity=0.8).weight()
    assert weight.sparsity == pytest.approx(0.8, abs=0.01)
    rows = weight.pattern.mean(axis=1)
    if pattern in ("random", "row-skewed"):
        assert (rows.std() > 0.05) == (pattern == "row-skewed")


@pytest.mark.parametrize("kernel", ["fake-raising", "fake-wrong"])
def test_a_failing_kernel_ends_its_own_search_only(kernel: str, visitor: Visitor) -> None:
    study = search(visitor, kernels=(kernel, "fake-halving"))
    failing, fine = study.answers
    assert failing.failure.startswith(f"{kernel}: ")
    assert failing.wrong == (kernel == "fake-wrong")
    assert not failing.begun
    assert fine.search.estimate().kind == "between"


def test_a_budget_that_is_over_ends_it_after_a_probe(visitor: Visitor) -> None:
    study = search(visitor, left_s=0.0)
    (answer,) = study.answers
    assert len(answer.probes) == 1
    assert study.unfinished == 1


def test_the_widest_answer_is_asked_first(visitor: Visitor) -> None:
    study = searching(layers=(), batches=(4, 8))
    study.begin(ignore)
    visited = []
    for _ in range(4):
        task = study.next(1e9)
        assert task is not None
        visited.append((task.problem.workload.batch, task.problem.workload.weights.labels.layer))
        study.take(visitor.visit(task, "run", study.series))
    assert len(set(visited)) == 4  # each question once before any twice


def test_the_zeros_of_the_activations_are_an_axis(visitor: Visitor) -> None:
    study = search(visitor, most=3, layers=("fc1",), zeros=(None, 0.0, 0.9))
    problems = [answer.problem for answer in study.answers]
    zeros = [each.zeros_x for each in problems if each is not None]
    assert zeros[0] > 0.5  # black pixels
    assert zeros[1:] == [0.0, pytest.approx(0.9, abs=0.01)]


def test_repetitions_share_nothing() -> None:
    assert searching().series == "search"
    assert searching(repetition=2).series == "search 2"


def test_questions_need_a_baseline_and_the_pass() -> None:
    study = searching(kernels=("fake-forward", "fake-halving"), passes=("backward_input",))
    study.begin(ignore)
    assert [each.kernel for each in study.answers] == ["fake-halving"]
    with pytest.raises(InputError, match="nothing to search: fake-forward has no"):
        searching(kernels=("fake-forward",), passes=("backward_input",)).begin(ignore)


def test_the_baselines_are_the_dense_ones_of_device_and_arithmetic() -> None:
    class Rounding(Halving):
        name = "rounding"
        arithmetic = MappingProxyType({"float32": TF32})

    class RoundingDense(Steady):
        name = "rounding-dense"
        arithmetic = MappingProxyType({"float32": TF32})

    class Elsewhere(Steady):
        name = "elsewhere"
        device = "cuda"  # type: ignore[assignment]

    kernels = {each.name: each for each in (Steady(), Rounding(), RoundingDense(), Elsewhere())}
    assert FP32 != TF32
    assert dense_of(kernels, Halving()) == ("fake-steady",)
    assert dense_of(kernels, Rounding()) == ("rounding-dense",)
    del kernels["rounding-dense"]
    assert dense_of(kernels, Rounding()) == ("fake-steady",)
    real = Discovered().load()
    assert "numpy-dense" in dense_of(real, real["numba-csr"])
    assert "numba-csr" not in dense_of(real, real["numba-csr"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"layers": ("fc9",)}, "unknown layer 'fc9': tiny has fc1, fc2"),
        ({"network": "alexnet"}, "unknown network 'alexnet'"),
        ({"confidence": 1.0}, "confidence 1 is outside"),
        ({"width": 0.0}, "width 0 is outside"),
        ({"kernels": ("magic",)}, "unknown kernel 'magic'"),
        ({"kernels": ("fake-absent",)}, "'fake-absent' cannot run here"),
        ({"against": "magic"}, "unknown kernel 'magic'"),
        ({"batches": (129,)}, "batch 129"),
        ({"kernels": ("numpy-dense",), "against": ""}, "'numpy-dense' would be compared with"),
        ({"kernels": ("fake-steady",)}, "'fake-steady' would be compared with itself"),
    ],
)
def test_what_is_not_possible_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        searching(**changes)
