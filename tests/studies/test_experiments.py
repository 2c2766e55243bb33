"""Experiments as studies: what they ask, seed by seed, how they resume, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from crossover.bench.errors import InputError
from crossover.bench.records.store import FILE_NAME, Store
from crossover.bench.studies.conduct import conduct
from crossover.bench.studies.experiments import EXPERIMENTS
from crossover.bench.studies.experiments.experiment import Experiment, ExperimentSpec
from crossover.bench.studies.experiments.networks import PruningWays, _as_small_as
from crossover.bench.studies.study import Progress, ignore
from crossover.bench.workloads.learned import LearnedNetwork
from crossover.bench.workloads.networks import network
from crossover.bench.workloads.training.recipe import TrainingRecipe
from crossover.reports import page
from crossover.reports.results import load
from tests.in_process import InProcess

QUICK = ExperimentSpec(quick=True, threads=1)
pytestmark = pytest.mark.usefixtures("planted")


def recipes(study: Experiment) -> list[TrainingRecipe]:
    """Return the recipes of all that a study trains for its outcome, in order."""
    found = []
    for each in study.planned:
        weights = each.problem.workload.weights
        if each.problem.workload.computes == "training" and isinstance(weights, LearnedNetwork):
            found.append(weights.training)
    return found


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("quick", [True, False])
def test_every_experiment_asks_the_same_of_each_seed(name: str, quick: bool) -> None:
    study = EXPERIMENTS[name](replace(QUICK, quick=quick, seed=5))
    study.begin(ignore)
    assert len(study.planned) % 3 == 0
    seeds = [each.problem.workload.weights.training.seed for each in study.planned]  # type: ignore[union-attr]
    assert seeds == sorted(seeds)
    assert set(seeds) == {5, 6, 7}
    problems = [each.problem.problem_id for each in study.planned]
    assert len(set(problems)) == len(problems)
    assert study.progress().total > 0


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_quick_is_smaller(name: str) -> None:
    totals = []
    for quick in (True, False):
        study = EXPERIMENTS[name](replace(QUICK, quick=quick))
        study.begin(ignore)
        totals.append(study.progress().total)
    assert totals[0] <= totals[1]


def test_sparse_networks_train_as_long_as_the_pruned_one_in_all() -> None:
    study = EXPERIMENTS["random-vs-pruned"](replace(QUICK, quick=False))
    study.begin(ignore)
    asked = {each.pattern: each for each in recipes(study) if each.network == "wide-5000"}
    epochs = asked["gradual"].epochs + asked["gradual"].parents["dense"].epochs
    assert asked["random"].epochs == asked["rigl"].epochs == epochs
    assert asked["pruned-mask-original"].parents["gradual"] == asked["gradual"]
    assert asked["pruned-mask-fresh"].parents == asked["pruned-mask-original"].parents
    assert asked["random"].kernel == "numba-tiled"
    assert asked["gradual"].kernel == "numba-masked-update"


def test_the_small_network_has_as_many_weights() -> None:
    small = network(_as_small_as("wide-5000", 0.95))
    kept = 0.05 * sum(m * k for m, k in (each.shape for each in network("wide-5000").layers))
    weights = sum(m * k for m, k in (each.shape for each in small.layers))
    assert 0.99 * kept < weights <= kept


def test_too_few_seeds_show_no_spread() -> None:
    with pytest.raises(InputError, match="--seeds 2 shows no spread: give 3 or more"):
        PruningWays(replace(QUICK, seeds=2))


class Little(PruningWays):
    """Three methods on a tiny network."""

    name = "pruning-ways"

    def recipes(self, seed: int):  # type: ignore[no-untyped-def]
        for method in ("gradual", "erdos-renyi"):
            yield self.recipe("tiny", 0.8, method, seed, 1)


def test_progress_moves_while_a_network_is_trained(tmp_path: Path) -> None:
    told: list[Progress] = []
    conduct([Little(QUICK)], tmp_path, "test", told.append)
    done = [each.done for each in told if each.phase == "experiment"]
    assert done == sorted(done)
    assert len(set(done)) > 2 * 18  # visits


def visits(folder: Path) -> int:
    store = Store(folder / FILE_NAME, readonly=True)
    try:
        return len(store.visits(store.run().run_id))
    finally:
        store.close()


def test_an_experiment_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.phase == "experiment" and progress.done > progress.total / 3:
            raise KeyboardInterrupt

    first = conduct([Little(QUICK)], tmp_path, "test", stop)
    assert first.interrupted
    assert 0 < visits(tmp_path) < 18
    made = visits(tmp_path)
    second = conduct([Little(QUICK)], tmp_path, "test")
    assert (second.visits_kept, second.visits_made) == (made, 18 - made)
    again = conduct([Little(QUICK)], tmp_path, "test")
    assert (again.visits_kept, again.visits_made) == (18, 0)
    section = page.sections(load(tmp_path), "pruning-ways")[0]
    assert len(section.record["answers"]) == 2
    answer = section.record["answers"][0]
    assert len(answer["accuracy"]["values"]) == 3
    assert answer["races"]["64"]["time_s"] > 0


def test_a_training_that_failed_has_another_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(LearnedNetwork, "trained", out_of_memory)
        study = Little(QUICK)
        first = conduct([study], tmp_path, "test")
    assert first.visits_made == 6  # the trainings: there is nothing to race
    (remark,) = study.remarks
    assert remark.startswith("6 trainings broke off (the first: its training raised MemoryError")
    assert page.sections(load(tmp_path), "pruning-ways")[0].record["answers"] == []
    second = conduct([Little(QUICK)], tmp_path, "test")
    assert (second.visits_kept, second.visits_made) == (0, 18)
    assert len(page.sections(load(tmp_path), "pruning-ways")[0].record["answers"]) == 2
    third = conduct([Little(QUICK)], tmp_path, "test")
    assert (third.visits_kept, third.visits_made) == (18, 0)


def out_of_memory(*given: object) -> NoReturn:
    raise MemoryError("planted")


def test_seeds_are_visited_by_processes_of_their_own(tmp_path: Path) -> None:
    conduct([Little(QUICK)], tmp_path, "test")
    asked = [task for task in InProcess.tasks if task.not_in]
    # The first visit of the second and of the third seed.
    assert len(asked) == 2
