"""The sweep: a look at every problem by all, then on with who may be the fastest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from crossover.bench.errors import InputError
from crossover.bench.records.rows import Row, Visit
from crossover.bench.studies import gpu_preset
from crossover.bench.studies.study import ignore
from crossover.bench.studies.sweep import Sweep, SweepSpec
from crossover.bench.workloads.problem import Problem
from crossover.bench.workloads.recipes import TrainedLayer
from crossover.kernels import discover
from crossover.kernels.base import PASSES
from tests.examples import measured, problem, visit
from tests.small_studies import sweep

pytestmark = pytest.mark.usefixtures("planted")


def begun(*kernels: str, budget_s: float = 60.0) -> Sweep:
    study = sweep(*kernels, budget_s=budget_s)
    study.begin(ignore)
    return study


def answer(study: Sweep, left_s: float, rows: Mapping[str, Row] | None = None) -> Visit:
    """Make the visit that is wanted, exact but for the ``rows`` that are given.

    As the harness does, another process makes it where that is asked for.
    """
    task = study.next(left_s)
    assert task is not None
    process = {"": "1-a", "1-a": "2-b", "2-b": "3-c"}[task.not_in]
    known = rows or {}
    given = {name: known.get(name, measured(name, [1.0] * 20)) for name in task.kernels}
    given = {name: replace(row, kernel=name) for name, row in given.items()}
    about = problem(task.problem.problem_id, computes=task.problem.workload.computes)
    made = visit(about, list(given.values()), process=process)
    assert study.take(made)
    return made


def test_the_problems_are_the_axes(planted: object) -> None:
    study = begun()
    # 2 sparsities, 2 batches, 2 layers, 1 pass.
    assert study.progress().total == 8
    spec = replace(study.spec, passes=PASSES, caches=("hot", "cold"), threads=(1, 2))
    more = Sweep(spec)
    more.begin(ignore)
    assert more.progress().total == 8 * 3 * 2 * 2
    assert more.threads == (1, 2)


def test_networks_may_be_pruned_by_any_method() -> None:
    study = Sweep(replace(sweep().spec, pattern="rigl"))
    study.begin(ignore)
    task = study.next(60.0)
    assert task is not None
    weights = task.problem.workload.weights
    assert weights.labels.pattern == "rigl"
    assert isinstance(weights, TrainedLayer)
    assert 0.3 < weights.weight().sparsity < 1


def test_every_problem_is_looked_at_first_whatever_the_budget() -> None:
    study = begun(budget_s=1e-9)
    seen = {answer(study, left_s=-5.0).problem.problem_id for _ in range(8)}
    assert len(seen) == 8
    assert study.next(-5.0) is None


def test_then_each_problem_has_three_visits_each_by_another_process() -> None:
    study = begun()
    made = [answer(study, 60.0) for _ in range(24)]
    by_problem: dict[str, list[str]] = {}
    for each in made:
        by_problem.setdefault(each.problem.problem_id, []).append(each.record.process)
    assert [len(each) for each in by_problem.values()] == [3] * 8
    assert all(len(set(each)) == 3 for each in by_problem.values())
    # Between two visits to a problem the others were visited.
    ids = [each.problem.problem_id for each in made]
    assert len(set(ids[8:16])) == len(set(ids[16:])) == 8


def test_forward_is_visited_again_first() -> None:
    study = Sweep(replace(begun().spec, passes=("backward_input", "forward"), batches=(4,)))
    study.begin(ignore)
    made = [answer(study, 60.0) for _ in range(24)]
    passes = [each.problem.computes for each in made]
    assert passes[8:] == ["forward"] * 8 + ["backward_input"] * 8


def test_who_may_be_the_fastest_races_on() -> None:
    """The two fastest dense kernels, and the three fastest sparse ones."""
    dense = {"fake-steady": 2.0, "numpy-dense": 1.0, "numba-dense": 3.0}
    sparse = {"fake-halving": 3.0, "fake-slow": 2.0, "numba-csr": 4.0, "scipy-csr": 1.5}
    study = begun(*dense, *sparse)
    rows = {
        name: measured("", [seconds] * 6, stored_entries=20)
        for name, seconds in (dense | sparse).items()
    }
    first = study.next(60.0)
    assert first is not None
    for _ in range(8):
        looking = study.next(60.0)
        assert looking is not None
        assert set(looking.kernels) == {*dense, *sparse}
        answer(study, 60.0, rows)
    following = study.next(60.0)
    assert following is not None
    assert set(following.kernels) == {
        "numpy-dense", "fake-steady", "scipy-csr", "fake-slow", "fake-halving",
    }  # fmt: skip
    assert following.rounds[0] > first.rounds[0]


def test_then_it_goes_on_where_the_answer_is_widest() -> None:
    study = begun()
    spreads = [0.0, 0.4, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0] * 3
    looked = [
        answer(study, 60.0, {"fake-halving": measured("", [1.0, 1.0 + s] * 10)}) for s in spreads
    ]
    following = study.next(10.0)
    assert following is not None
    assert following.problem.problem_id == looked[3].problem.problem_id
    last = study.next(0.01)
    assert last is not None
    assert last.budget_s == 0.01  # not more than is left
    assert study.next(0.0) is None
    refining = study.progress()
    assert (refining.phase, refining.done) == ("refine", 60.0)


def test_it_ends_where_every_answer_is_known() -> None:
    study = begun()
    for _ in range(24):
        answer(study, 60.0)
    assert study.next(60.0) is None


def test_a_first_look_names_the_contenders_of_a_crossover() -> None:
    study = begun("fake-steady", "numpy-dense", "fake-halving", "numba-csr", "scipy-csr")
    # Halving crosses over at half; the one library is little slower there, the other far behind.
    visits = {
        sparsity: {"fake-steady": 1.0, "numpy-dense": 2.0, "fake-halving": 2 * (1 - sparsity) + 0.1,
                   "numba-csr": 2.2 * (1 - sparsity) + 0.1, "scipy-csr": 9 * (1 - sparsity)}
        for sparsity in (0.5, 0.9)
    }  # fmt: skip
    for _ in range(round(study.progress().total)):
        task = study.next(60.0)
        assert task is not None
        labels, workload = task.problem.workload.weights.labels, task.problem.workload
        about = problem(
            task.problem.problem_id, labels.network_sparsity, network="tiny", layer=labels.layer,
            batch=workload.batch, threads=1,
        )  # fmt: skip
        times = {name: [seconds] * 3 for name, seconds in visits[about.sparsity].items()}
        assert study.take(visit(about, times))
    contenders = study.contenders_of("tiny")
    assert contenders("fc1", 4, 1) == (("fake-steady",), ("fake-halving", "numba-csr"))
    assert contenders("fc1", 5, 1) == contenders("fc9", 4, 1) == ((), ())
    assert study.contenders_of("other")("fc1", 4, 1) == ((), ())


def test_who_failed_is_not_visited_again() -> None:
    study = begun("fake-steady", "fake-halving", "fake-wrong")
    for _ in range(8):
        answer(
            study, 60.0,
            {
                "fake-halving": measured("", [1.0, 3.0] * 10),
                "fake-wrong": Row("fake-wrong", "wrong", "planted"),
            },
        )  # fmt: skip
    following = study.next(60.0)
    assert following is not None
    assert following.kernels == ("fake-steady", "fake-halving")
    assert following.seed[-1] == 1  # the number of its visits before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kernels": ("magic",)}, "unknown kernel 'magic'"),
        ({"networks": ("alexnet",)}, "unknown network 'alexnet'"),
        ({"batches": (129,)}, "batch 129 is outside 1 to 128"),
        ({"threads": (4096,)}, "threads 4096 is outside"),
        ({"modules": ("no.such.module",)}, "'no.such.module' cannot be used"),
    ],
)
def test_what_is_not_possible_is_refused_before_anything_is_done(
    changes: dict[str, object], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        Sweep(replace(SweepSpec(batches=(8,)), **changes))  # type: ignore[arg-type]


@pytest.fixture
def gpu_problems(monkeypatch: pytest.MonkeyPatch) -> list[Problem]:
    """What a GPU is asked; no network is trained for it."""
    model = SimpleNamespace(digest="d" * 16)
    monkeypatch.setattr(gpu_preset, "trained", lambda *_: [model])
    monkeypatch.setattr(gpu_preset, "checkpoint_path", lambda _: Path(__file__))
    monkeypatch.setattr(gpu_preset, "unavailable", lambda _: None)
    return gpu_preset.problems(0, 2, ignore)


def test_the_gpu_is_asked_for_what_it_decides_and_for_nothing_twice(
    gpu_problems: list[Problem],
) -> None:
    names = [each.problem_id for each in gpu_problems]
    assert len(names) == len(set(names))
    assert {each.setting.threads for each in gpu_problems} == {2}
    squares = set()
    for each in gpu_problems:
        labels, workload = each.workload.weights.labels, each.workload
        if labels.network == "squares" and workload.computes == "forward":
            squares.add((labels.layer, workload.batch, labels.network_sparsity))
    for side in (512, 1024, 2048, 4096, 8192):
        for batch in (1, 32, 128, 1024, 8192):
            for sparsity in (0.5, 0.9, 0.99):
                assert (f"{side}x{side}", batch, sparsity) in squares
    networks = {each.workload.weights.labels.network for each in gpu_problems}
    assert networks >= {"lenet-300-100", "lenet-5", "wide", "layers like DLMC's"}
    assert {each.setting.caches for each in gpu_problems} == {"hot", "cold"}
    first = gpu_problems[0].workload
    assert (first.weights.labels.layer, first.batch) == ("4096x4096", 1024)


def test_what_takes_long_to_train_is_asked_only_where_it_is_kept(
    monkeypatch: pytest.MonkeyPatch, gpu_problems: list[Problem]
) -> None:
    monkeypatch.setattr(gpu_preset, "checkpoint_path", lambda _: Path("nowhere"))
    asked = {each.workload.weights.labels.network for each in gpu_preset.problems(0, 2, ignore)}
    assert "lenet-300-100" in asked
    assert not asked & {"wide", "lenet-5"}


def test_without_a_gpu_its_preset_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {name: kernel for name, kernel in discover().items() if kernel.unavailable()}
    assert gpu_preset.unavailable(absent) is not None
    monkeypatch.setattr(gpu_preset, "unavailable", lambda _: "There is none.")
    with pytest.raises(InputError, match="preset gpu needs an NVIDIA GPU: There is none"):
        Sweep(SweepSpec(preset="gpu", batches=(8,)))


def test_gpu_kernels_alone_take_part_and_keep_their_operands(
    monkeypatch: pytest.MonkeyPatch, gpu_problems: list[Problem]
) -> None:
    monkeypatch.setattr(gpu_preset, "problems", lambda *_: gpu_problems[:3])
    study = Sweep(SweepSpec(preset="gpu", budget_s=60.0, batches=(8,)))
    study.begin(ignore)
    assert study.asked
    assert {study.kernels[name].device for name in study.asked} == {"cuda"}
    task = study.next(60.0)
    assert task is not None
    assert task.keeps_operands
    assert (task.rounds, task.budget_s) == (gpu_preset.ROUNDS, gpu_preset.SHARE_S)
    assert task.problem == gpu_problems[0]
    assert study.next(0.0) is None  # what there is no time for is left out
    one = Sweep(SweepSpec(preset="gpu", kernels=("numba-cuda-csr", "numba-csr"), batches=(8,)))
    assert one.asked == ("numba-cuda-csr",)


def test_its_own_data_is_taken(small_mnist: Path) -> None:
    assert Sweep(SweepSpec(data=small_mnist, batches=(8,))).spec.data == small_mnist
