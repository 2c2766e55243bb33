"""A training step as a study: who takes part, with which weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossover.bench.errors import InputError
from crossover.bench.harness.task import Task
from crossover.bench.studies.step import Step, StepSpec
from crossover.bench.studies.study import ignore
from crossover.bench.workloads import checkpoints
from crossover.bench.workloads.given import GivenWeights
from crossover.bench.workloads.networks import network
from crossover.bench.workloads.recipes import NetworkWeights
from crossover.bench.workloads.training import loop
from crossover.kernels import discover
from tests.in_process import outcome
from tests.small_studies import FAKES
from tests.workloads.readers.examples import WRITERS, chain

pytestmark = pytest.mark.usefixtures("planted")
SPEC = StepSpec(network="tiny", batches=(4, 8), pattern="initial", modules=FAKES)


def weights(**changes: object) -> NetworkWeights:
    """Return the weights that the steps are taken with."""
    study = Step(replace(SPEC, **changes))  # type: ignore[arg-type]
    study.begin(ignore)
    (found,) = {each.problem.workload.weights for each in study.planned}
    assert isinstance(found, NetworkWeights)
    return found


def test_three_visits_are_made_to_each_step_in_turn() -> None:
    study = Step(replace(SPEC, sparsities=(0.5, 0.9), optimizer="adam", budget_s=60.0))
    study.begin(ignore)
    workloads = [each.problem.workload for each in study.planned]
    assert len(set(workloads)) == 4
    assert workloads == workloads[:4] * 3
    assert {(each.computes, each.optimizer) for each in workloads} == {("step", "adam")}
    assert {each.budget_s for each in study.planned} == {60.0 / 12}
    task = study.next(-1.0)
    assert task is not None  # it does not end early: three visits are the least


def test_the_usual_kernels_all_take_whole_steps() -> None:
    study = Step(replace(SPEC, modules=()))
    assert {"numba-tiled", "numba-csr", "numpy-masked-update", "numpy-masked-call"} <= set(
        study.asked
    )
    assert all(len(study.kernels[name].passes) == 3 for name in study.asked)


def test_untrained_weights_are_pruned_by_size_or_at_random() -> None:
    found = weights(pattern="kept", seed=4321)
    assert (found.pattern, found.digest) == ("initial", "")
    largest = [state.weight for state in found.states()]
    dense = loop.initial_state(network("tiny"), np.random.default_rng(4321))
    kept = np.concatenate([np.abs(each.values[each.pattern]) for each in largest])
    pruned = np.concatenate(
        [np.abs(d.weight.values[~w.pattern]) for d, w in zip(dense, largest, strict=True)]
    )
    assert kept.size == round(0.1 * (kept.size + pruned.size))
    assert kept.min() >= pruned.max()
    drawn = weights(pattern="random")
    assert drawn.pattern == "random"
    assert [round(state.weight.sparsity, 1) for state in drawn.states()] == [0.9] * 2


def test_trained_weights_are_used_where_they_are_kept_or_asked_for() -> None:
    trained = weights(pattern="trained", seed=7)
    assert trained.pattern == "trained"
    assert trained.digest == checkpoints.load(trained.training).digest
    assert weights(pattern="kept", seed=7) == trained
    assert weights(pattern="initial", seed=7).pattern == "initial"


def test_kept_weights_are_those_of_a_checkpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checkpoints, "checkpoint_path", lambda _: tmp_path / "nothing")
    assert weights(pattern="kept", seed=7).pattern == "initial"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kernels": ("magic",)}, "unknown kernel 'magic'"),
        ({"kernels": ("numba-tiled",)}, "nothing to compare 'numba-tiled' with"),
        ({"kernels": ("fake-absent",)}, "'fake-absent' cannot run here: The library"),
        ({"kernels": ("fake-forward",)}, "'fake-forward' has no backward_input pass"),
        ({"batches": (0,)}, "batch 0 is outside"),
        ({"threads": 4096}, "threads 4096 is outside"),
        ({"network": "alexnet"}, "unknown network 'alexnet'"),
    ],
)
def test_what_is_not_possible_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Step(replace(SPEC, **changes))  # type: ignore[arg-type]


def test_a_network_of_a_users_takes_a_step_if_it_fits_mnist(tmp_path: Path) -> None:
    WRITERS[".safetensors"](tmp_path / "fits.safetensors", chain((784, 20, 10)))
    study = Step(StepSpec(str(tmp_path / "fits.safetensors"), (0.9,), (8,), threads=1))
    problems = [visit.problem for visit in study.plan(ignore)][:2]
    given, pruned = (each.workload.weights for each in problems)
    assert isinstance(given, GivenWeights)
    assert isinstance(pruned, GivenWeights)
    own = chain((784, 20, 10))
    for state, layer in zip(given.states(), own, strict=True):
        assert state.weight.values.tobytes() == layer.weight.tobytes()
        assert state.bias.tobytes() == layer.bias.tobytes()
    total = sum(state.weight.pattern.size for state in pruned.states())
    assert sum(s.weight.nnz for s in pruned.states()) == pytest.approx(0.1 * total, abs=2)
    task = Task(problems[0], ("numpy-masked-update", "numba-tiled"), 0.0, (0,), (2, 2))
    rows = outcome(task, discover()).rows
    assert {row.status for row in rows.values()} == {"measured"}, rows


def test_a_network_that_does_not_fit_takes_none(tmp_path: Path) -> None:
    WRITERS[".npz"](tmp_path / "other.npz", chain((30, 20, 10)))
    with pytest.raises(InputError, match="it goes from 30 to 10"):
        Step(StepSpec(str(tmp_path / "other.npz")))
