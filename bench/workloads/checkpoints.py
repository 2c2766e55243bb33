"""Trained and pruned networks: the recipe that makes each, and the checkpoint that keeps it.

A recipe says everything that the weights depend on, and its hash names the checkpoint, so that
a checkpoint is either exactly what a recipe asks for or not there. Every pruned network but a
random one starts from the dense network of the same seed, and trains longer the sparser it gets.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from crossover.bench.errors import InputError
from crossover.bench.records.files import cache_folder, check_writable, sole_writer
from crossover.bench.workloads import pruning, tensor_files
from crossover.bench.workloads.mnist import Dataset
from crossover.bench.workloads.networks import Network, network
from crossover.bench.workloads.pruning import Scope
from crossover.bench.workloads.tensor_files import OTHER_CACHE, DamagedError, TensorFile
from crossover.bench.workloads.training.loop import Schedule, initial_state
from crossover.bench.workloads.training.model import LayerState, accuracy, masked
from crossover.bench.workloads.training.stages import StagedTraining
from crossover.kernels.base import Kernel

#: How a trained network gets its zeros: by magnitude on the way (``gradual``) or at the end, at
#: random before training, or by magnitude of whole blocks on the way.
PrunedPattern = Literal["gradual", "one-shot", "random", "block"]
PRUNED_PATTERNS: tuple[PrunedPattern, ...] = get_args(PrunedPattern)

BLOCK = (4, 4)
# Raised whenever training changes what a recipe yields.
_RECIPE_VERSION = 1
_STAGE = ".stage"
# Fields under the names that they are kept by: seeds follow from the key, so it must not change.
_KEPT_AS = {"pattern": "pruning"}


@dataclass(frozen=True)
class TrainingRecipe:
    """Everything that determines a trained network, but for the rounding of the BLAS."""

    network: str
    #: The dataset's digest.
    data: str
    sparsity: float = 0.0
    pattern: PrunedPattern = "gradual"
    scope: Scope = "global"
    seed: int = 0
    #: The kernel that trained it.
    kernel: str = "numpy-masked-update"
    version: int = _RECIPE_VERSION

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise InputError(
                f"sparsity {self.sparsity:g} is outside [0, 1): give the share of zeros, "
                "for example 0.9 or 90%"
            )
        if self.sparsity == 0:  # however it would be pruned, it is the dense network
            object.__setattr__(self, "pattern", "gradual")
            object.__setattr__(self, "scope", "global")

    @property
    def key(self) -> str:
        """Return the hash that names the checkpoint."""
        content = json.dumps({**self.kept, "specification": repr(network(self.network))})
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def kept(self) -> dict[str, Any]:
        """Return the fields as a checkpoint keeps them."""
        return {_KEPT_AS.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def read(cls, kept: dict[str, Any]) -> TrainingRecipe:
        """Return the recipe that was kept.

        Raises:
            ValueError: if it has other fields.
        """
        names = {kept_as: name for name, kept_as in _KEPT_AS.items()}
        given = {names.get(name, name): value for name, value in kept.items()}
        if unknown := sorted(set(given) - {each.name for each in fields(cls)}):
            raise ValueError(f"its recipe has unknown fields: {', '.join(unknown)}")
        try:
            return cls(**given)
        except (TypeError, InputError) as error:
            raise ValueError(f"its recipe is none of ours: {error}") from error

    @property
    def title(self) -> str:
        """Return the recipe in a few words."""
        if not self.sparsity:
            return f"{self.network} dense"
        return f"{self.network} {self.pattern} {100 * self.sparsity:.4g} %"

    @property
    def epochs(self) -> int:
        """Return the passes over the training set, those of the parent not counted."""
        if self.sparsity and self.pattern == "one-shot":
            return 0
        if self.sparsity and self.pattern != "random":
            halvings = -math.log2(1 - self.sparsity)
            return math.ceil(network(self.network).prune_epochs * halvings)
        return network(self.network).epochs

    def parent(self) -> TrainingRecipe | None:
        """Return the recipe whose weights this one starts from, or None for random ones."""
        if not self.sparsity or self.pattern == "random":
            return None
        return replace(self, sparsity=0.0)


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
    kernel: Kernel,
    progress: Callable[[TrainingRecipe, float], None] | None = None,
) -> TrainedModel:
    """Return the network of ``recipe``, trained now unless a checkpoint of it is kept.

    A training that was interrupted goes on from its last whole epoch; one that another process is
    at is waited for. ``progress`` is told the recipe in training and the share that is done.

    Raises:
        InputError: if the checkpoint cannot be read or written.
    """
    path = checkpoint_path(recipe)
    if (kept := _kept(path, recipe)) is not None:
        return kept
    parent = recipe.parent()
    start = obtain(parent, dataset, kernel, progress) if parent else None
    told = partial(progress, recipe) if progress else None
    tell = partial(print, "waiting for", file=sys.stderr)
    lock = path.with_suffix(".lock")
    with sole_writer(lock, f"the training of {recipe.title}", OTHER_CACHE, tell):
        if (kept := _kept(path, recipe, tell=True)) is not None:
            return kept  # made by the process that was waited for
        for leftover in path.parent.glob(f".{path.stem}.*-*"):  # of writers that were killed
            leftover.unlink(missing_ok=True)
        trained = _train(recipe, start, dataset, kernel, told)
        _save(path, trained)
        for done in (path.with_suffix(_STAGE), lock):
            with suppress(OSError):  # Windows keeps what is open
                done.unlink()
        return trained


def _kept(path: Path, recipe: TrainingRecipe, tell: bool = False) -> TrainedModel | None:
    """Return the network that ``path`` holds, or None where it is missing or damaged."""
    try:
        return _load(path, recipe)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        if tell:
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
    parent = recipe.parent()
    return [*(untrained(parent) if parent else []), recipe]


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
    parent: TrainedModel | None,
    dataset: Dataset,
    kernel: Kernel,
    progress: Callable[[float], None] | None,
) -> TrainedModel:
    specification = network(recipe.network)
    rng = np.random.default_rng([recipe.seed, int(recipe.key, 16)])
    schedule, choose = Schedule(recipe.epochs, specification.rate), None
    if recipe.sparsity and recipe.pattern in ("gradual", "block"):
        schedule = Schedule(recipe.epochs, specification.prune_rate, end=recipe.sparsity)
        choose = pruning.chooser(BLOCK if recipe.pattern == "block" else None, recipe.scope)
    stage_path = checkpoint_path(recipe).with_suffix(_STAGE)
    stages = StagedTraining(stage_path, specification, recipe.kept, kernel)
    begin = partial(_beginning, recipe, parent, rng)
    model, seconds = stages.train(begin, dataset, schedule, rng, choose, progress)
    right = accuracy(model, dataset.test_images, dataset.test_labels)
    return TrainedModel(recipe, tuple(model.states()), right, seconds)


def _beginning(
    recipe: TrainingRecipe, parent: TrainedModel | None, rng: np.random.Generator
) -> Sequence[LayerState]:
    """Return the layers that the training of ``recipe`` begins with."""
    states = parent.states if parent else initial_state(network(recipe.network), rng)
    if recipe.sparsity and recipe.pattern == "random":
        shapes = [state.weight.shape for state in states]
        return masked(states, pruning.random_masks(shapes, recipe.sparsity, rng, recipe.scope))
    if recipe.sparsity and recipe.pattern == "one-shot":
        values = [state.weight.values for state in states]
        return masked(states, pruning.magnitude_masks(values, recipe.sparsity, recipe.scope))
    return states


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
