"""Trained and pruned networks: the recipe that makes each, and the checkpoint that keeps it.

A recipe says everything that the weights depend on, and its hash names the checkpoint, so that
a checkpoint is either exactly what a recipe asks for or not there. Every pruned network but a
random one starts from the dense network of the same seed, and trains longer the sparser it gets.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np

from crossover.bench.errors import InputError
from crossover.bench.records.files import cache_folder, check_writable, sole_writer
from crossover.bench.workloads import tensor_files
from crossover.bench.workloads.mnist import Dataset
from crossover.bench.workloads.networks import Network, network
from crossover.bench.workloads.pruning.method import Parent
from crossover.bench.workloads.tensor_files import OTHER_CACHE, DamagedError, TensorFile
from crossover.bench.workloads.training.beginning import beginning
from crossover.bench.workloads.training.loop import Schedule
from crossover.bench.workloads.training.model import LayerState, Model, accuracy
from crossover.bench.workloads.training.recipe import TrainingRecipe
from crossover.bench.workloads.training.stages import StagedTraining
from crossover.kernels import discover

_STAGE = ".stage"


@dataclass(frozen=True)
class TrainedModel:
    """A checkpoint in memory."""

    recipe: TrainingRecipe
    states: tuple[LayerState, ...]
    #: Share of the test set that is classified right.
    accuracy: float
    train_s: float

    @property
    def network(self) -> Network:
        return network(self.recipe.network)

    @property
    def nnz(self) -> int:
        """Return how many weights are stored in all layers, biases not counted."""
        return sum(state.weight.nnz for state in self.states)

    @property
    def sparsity(self) -> float:
        """Return the share of all weights that is not stored."""
        return 1.0 - self.nnz / sum(state.weight.pattern.size for state in self.states)

    def accuracy_on(self, dataset: Dataset) -> float:
        """Return the share of the test set of ``dataset`` that is classified right."""
        model = Model(self.network, self.states, discover()[self.recipe.kernel])
        return accuracy(model, dataset.test_images, dataset.test_labels)

    @cached_property
    def digest(self) -> str:
        """Return the hash of all weights and biases, which differ with the BLAS that trained."""
        found = hashlib.sha256()
        for state in self.states:
            for array in (state.weight.values, state.weight.pattern, state.bias):
                found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()[:16]


def checkpoint_path(recipe: TrainingRecipe) -> Path:
    """Return where the checkpoint of ``recipe`` lies, or would."""
    return cache_folder() / "models" / f"{recipe.network}-{recipe.key}.safetensors"


def obtain(
    recipe: TrainingRecipe,
    dataset: Dataset,
    report_share: Callable[[TrainingRecipe, float], None] | None = None,
) -> TrainedModel:
    """Return the network of ``recipe``, trained now unless a checkpoint of it is kept.

    A training that was interrupted goes on from its last whole epoch; one that another process is
    at is waited for. ``report_share`` hears the recipe in training and the share that is done.

    Raises:
        InputError: if the checkpoint cannot be read or written.
    """
    path = checkpoint_path(recipe)
    if (kept := _kept(path, recipe)) is not None:
        return kept
    start = {name: obtain(parent, dataset, report_share) for name, parent in recipe.parents.items()}
    share_of_it = partial(report_share, recipe) if report_share else None
    say = partial(print, "waiting for", file=sys.stderr)
    lock = path.with_suffix(".lock")
    with sole_writer(lock, f"the training of {recipe.title}", OTHER_CACHE, say):
        if (kept := _kept(path, recipe, say_damage=True)) is not None:
            return kept  # made by the process that was waited for
        for leftover in path.parent.glob(f".{path.stem}.*-*"):  # of writers that were killed
            leftover.unlink(missing_ok=True)
        trained = _train(recipe, start, dataset, share_of_it)
        _save(path, trained)
        for done in (path.with_suffix(_STAGE), lock):
            with suppress(OSError):  # Windows keeps what is open
                done.unlink()
        return trained


def _kept(path: Path, recipe: TrainingRecipe, say_damage: bool = False) -> TrainedModel | None:
    """Return the network that ``path`` holds, or None where it is missing or damaged."""
    try:
        return _load(path, recipe)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        if say_damage:
            print(f"{path} is damaged ({error}); training anew", file=sys.stderr)
        return None


@lru_cache(maxsize=2)
def load(recipe: TrainingRecipe) -> TrainedModel:
    """Return the kept network of ``recipe``; the last two stay in memory.

    Raises:
        InputError: if there is no such checkpoint, or it is damaged.
    """
    path = checkpoint_path(recipe)
    try:
        return _load(path, recipe)
    except (DamagedError, FileNotFoundError) as error:
        raise InputError(f"cannot read the checkpoint {path} ({error}): train it again") from error


def check_cache() -> None:
    """Raise if a checkpoint could not be kept, before anything is trained.

    Raises:
        InputError: if the cache folder cannot be written.
    """
    check_writable(cache_folder() / "models", OTHER_CACHE)


def untrained(recipe: TrainingRecipe) -> list[TrainingRecipe]:
    """Return the recipes that must still be trained for ``recipe``, itself last."""
    if _kept(checkpoint_path(recipe), recipe) is not None:
        return []
    found = [each for parent in recipe.parents.values() for each in untrained(parent)]
    return list(dict.fromkeys([*found, recipe]))


def share_of_all(recipes: Sequence[TrainingRecipe]) -> Callable[[TrainingRecipe, float], float]:
    """Return what turns the share of one training into that of all epochs of ``recipes`` to come.

    Those that are kept by now do not count; the parents of the others do.
    """
    missing = dict.fromkeys(due for recipe in recipes for due in untrained(recipe))
    epochs = {recipe: float(max(1, recipe.epochs)) for recipe in missing}
    starts = dict(zip(epochs, itertools.accumulate([0.0, *epochs.values()]), strict=False))
    total = sum(epochs.values())

    def of_all(recipe: TrainingRecipe, share: float) -> float:
        if recipe not in starts:  # it was kept a moment ago
            return 0.0
        return (starts[recipe] + share * epochs[recipe]) / total

    return of_all


def kept_checkpoints() -> list[tuple[Path, TrainingRecipe, float]]:
    """Return (path, recipe, accuracy) of every readable checkpoint, by name."""
    found = []
    for path in sorted((cache_folder() / "models").glob("*.safetensors")):
        try:
            with tensor_files.opened(path) as file:
                recipe, accuracy, _ = _parse_metadata(file)
            found.append((path, recipe, accuracy))
        except (InputError, FileNotFoundError):
            continue
    return found


def _train(
    recipe: TrainingRecipe,
    parents: Mapping[Parent, TrainedModel],
    dataset: Dataset,
    report_share: Callable[[float], None] | None,
) -> TrainedModel:
    specification = network(recipe.network)
    rng = recipe.generator()
    method = recipe.method if recipe.sparsity else None
    pruned = method is not None and method.length == "by sparsity"
    rate = specification.prune_rate if pruned else specification.rate
    schedule = Schedule(recipe.epochs, recipe.rate * rate, recipe.sparsity, recipe.scope)
    stage_path = checkpoint_path(recipe).with_suffix(_STAGE)
    kernel = discover()[recipe.kernel]
    stages = StagedTraining(stage_path, specification, recipe.kept, kernel)
    states = {name: parent.states for name, parent in parents.items()}
    begin = partial(beginning, recipe, states, rng)
    part = recipe.part_of(dataset)
    model, seconds = stages.train(begin, part, schedule, rng, method, report_share)
    right = accuracy(model, dataset.test_images, dataset.test_labels)
    return TrainedModel(recipe, tuple(model.states()), right, seconds)


def _save(path: Path, trained: TrainedModel) -> None:
    metadata = {
        "recipe": json.dumps(trained.recipe.kept),
        "accuracy": repr(trained.accuracy),
        "train_s": repr(trained.train_s),
    }
    tensor_files.write(path, trained.network, trained.states, metadata)


def _load(path: Path, recipe: TrainingRecipe) -> TrainedModel:
    with tensor_files.opened(path) as file:
        kept, accuracy, train_s = _parse_metadata(file)
        if kept != recipe:
            raise ValueError("it holds another recipe")
        return TrainedModel(recipe, file.layers(network(recipe.network)), accuracy, train_s)


def _parse_metadata(file: TensorFile) -> tuple[TrainingRecipe, float, float]:
    kept = json.loads(file.metadata["recipe"])
    if not isinstance(kept, dict):
        raise ValueError("its recipe is no JSON object")
    accuracy, train_s = float(file.metadata["accuracy"]), float(file.metadata["train_s"])
    if not (0 <= accuracy <= 1 and train_s >= 0):
        raise ValueError(f"its accuracy is {accuracy}, trained in {train_s} s")
    return TrainingRecipe.read(kept), accuracy, train_s
