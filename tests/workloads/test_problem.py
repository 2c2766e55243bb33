"""What a problem is called: by what it is, in every process, and not by where things lie."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from crossover.bench.workloads.matrices import PatternFile, RandomMatrix
from crossover.bench.workloads.problem import Computes, Problem, Setting, Workload, identity
from crossover.bench.workloads.recipes import NetworkWeights, PrunedLayer, TrainedLayer
from crossover.bench.workloads.training.recipe import TrainingRecipe

ROOT = Path(__file__).parents[2]
TRAINING = TrainingRecipe("lenet-300-100", "f" * 16, 0.9)
WEIGHTS: dict[str, Any] = {
    "matrix": RandomMatrix("squares", 64, 32, 0.9),
    "trained": TrainedLayer(TRAINING, 1, "d" * 16),
    "pruned": PrunedLayer(TRAINING, 1, "d" * 16, sparsity=0.5),
    "file": PatternFile("a.smtx", "d" * 16, 3, 4, 0.75),
    "network": NetworkWeights(TRAINING, "initial"),
}
PRINT = """
from tests.workloads.test_problem import WEIGHTS, problem
print(*(problem(name).problem_id for name in WEIGHTS))
"""


def problem(name: str, **changes: Any) -> Problem:
    computes: Computes = "step" if name == "network" else "forward"
    return Problem(replace(Workload(WEIGHTS[name], computes, 8), **changes), Setting(2))


def test_another_process_calls_a_problem_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINT], cwd=ROOT, capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "7", "PATH": "", "CROSSOVER_CACHE": "/another/folder"},
    )  # fmt: skip
    assert done.stdout.split() == [problem(name).problem_id for name in WEIGHTS]
    assert len(set(done.stdout.split())) == len(WEIGHTS)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("trained", {"folder": Path("/elsewhere")}),
        ("trained", {"accuracy": 0.5}),  # what came of the training, not what it was
        ("pruned", {"folder": Path("/elsewhere")}),
        ("file", {"path": Path("/elsewhere/a.smtx")}),
    ],
)
def test_where_things_lie_does_not_matter(name: str, change: dict[str, Any]) -> None:
    moved = problem(name, weights=replace(WEIGHTS[name], **change))
    assert moved != problem(name)
    assert moved.problem_id == problem(name).problem_id
    assert moved.workload.workload_id == problem(name).workload.workload_id


@pytest.mark.parametrize("name", ["trained", "pruned", "file", "network"])
def test_weights_of_another_content_are_another_problem(name: str) -> None:
    other = problem(name, weights=replace(WEIGHTS[name], digest="e" * 16))
    assert other.problem_id != problem(name).problem_id


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_other_field_matters(name: str) -> None:
    weights = WEIGHTS[name]
    others = {int: 99, float: 0.123, str: "other"}
    for each in fields(weights):
        if not each.metadata.get("identity", True) or each.name == "training":
            continue
        value = getattr(weights, each.name)
        changed = replace(weights, **{each.name: others[type(value)]})
        assert identity(changed) != identity(weights), each.name
    for change in (
        {"batch": 9}, {"zeros": 0.5}, {"dtype": "float64"}, {"seed": 1}, {"optimizer": "adam"},
    ):  # fmt: skip
        assert problem(name, **change).problem_id != problem(name).problem_id, change


def test_a_setting_is_part_of_the_problem_and_not_of_the_workload() -> None:
    one = problem("matrix")
    for setting in (
        Setting(1), Setting(2, "cold"), Setting(2, idle_threads="as the library likes"),
        Setting(2, timer="pyperf"),
    ):  # fmt: skip
        other = replace(one, setting=setting)
        assert other.problem_id != one.problem_id
        assert other.workload.workload_id == one.workload.workload_id


def test_kinds_of_weights_with_equal_fields_differ() -> None:
    assert identity(WEIGHTS["trained"])["is"] == "TrainedLayer"
    assert identity(WEIGHTS["pruned"])["is"] == "PrunedLayer"


def test_a_recipe_can_be_kept_as_json() -> None:
    for weights in WEIGHTS.values():
        assert json.loads(json.dumps(identity(weights))) == identity(weights)


def test_titles_say_what_is_measured() -> None:
    assert problem("matrix").title == "squares 90 % 64x32 forward batch 8"
    cold = replace(problem("trained"), setting=Setting(1, "cold"))
    assert cold.title == "lenet-300-100 90 % fc2 forward batch 8, cold"
