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
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from crossover.bench.errors import InputError
from crossover.bench.records.files import cache_folder, write_whole
from crossover.bench.workloads import execution, pruning, training
from crossover.bench.workloads.execution import LayerState, Model
from crossover.bench.workloads.mnist import Dataset
from crossover.bench.workloads.networks import Network, network
from crossover.bench.workloads.pruning import Scope
from crossover.bench.workloads.training import Schedule
from crossover.kernels.base import Kernel, Weight

#: How a trained network gets its zeros: by magnitude on the way (``gradual``) or at the end, at
#: random before training, or by magnitude of whole blocks on the way.
PrunedPattern = Literal["gradual", "one-shot", "random", "block"]
PRUNED_PATTERNS: tuple[PrunedPattern, ...] = get_args(PrunedPattern)

BLOCK = (4, 4)
# Raised whenever training changes what a recipe yields.
_RECIPE_VERSION = 1
# Fields under the names that they are kept by: seeds follow from the key, so it must not change.
_KEPT_AS = {"pattern": "pruning"}
_OTHER_CACHE = "free space, or name another folder in CROSSOVER_CACHE"


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
        try:
            return cls(**{names.get(name, name): value for name, value in kept.items()})
        except TypeError as error:
            raise ValueError(f"its recipe has other fields: {error}") from error

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

    ``progress`` is told the recipe in training and the share that is done.

    Raises:
        InputError: if the checkpoint cannot be written.
    """
    path = checkpoint_path(recipe)
    if path.exists():
        try:
            return _load(path, recipe)
        except (SafetensorError, KeyError, ValueError) as error:
            print(f"{path} is damaged ({error}); training anew", file=sys.stderr)
    parent = recipe.parent()
    start = obtain(parent, dataset, kernel, progress) if parent else None
    told = partial(progress, recipe) if progress else None
    trained = _train(recipe, start, dataset, kernel, told)
    _save(path, trained)
    return trained


@lru_cache(maxsize=2)
def load(recipe: TrainingRecipe) -> TrainedModel:
    """Return the kept network of ``recipe``; the last two stay in memory.

    Raises:
        InputError: if there is no such checkpoint, or it is damaged.
    """
    path = checkpoint_path(recipe)
    try:
        return _load(path, recipe)
    except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        raise InputError(f"cannot read the checkpoint {path} ({error}): train it again") from error


def check_cache() -> None:
    """Raise if a checkpoint could not be kept, before anything is trained.

    Raises:
        InputError: if the cache folder cannot be written.
    """
    folder = cache_folder() / "models"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 20))
    except OSError as error:
        raise InputError(
            f"cannot keep checkpoints in {folder} ({error.strerror or error}): {_OTHER_CACHE}"
        ) from error


def untrained(recipe: TrainingRecipe) -> list[TrainingRecipe]:
    """Return the recipes that must still be trained for ``recipe``, itself last."""
    if checkpoint_path(recipe).exists():
        return []
    parent = recipe.parent()
    return [*(untrained(parent) if parent else []), recipe]


def kept_checkpoints() -> list[tuple[Path, TrainingRecipe, float]]:
    """Return (path, recipe, accuracy) of every readable checkpoint, by name."""
    found = []
    for path in sorted((cache_folder() / "models").glob("*.safetensors")):
        try:
            with safe_open(path, "numpy") as file:
                recipe, accuracy, _ = _parse_metadata(file.metadata())
            found.append((path, recipe, accuracy))
        except (SafetensorError, KeyError, ValueError, TypeError, OSError):
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
    states = list(parent.states) if parent else training.initial_state(specification, rng)
    schedule, choose = Schedule(recipe.epochs, specification.rate), None
    if recipe.sparsity and recipe.pattern == "random":
        shapes = [state.weight.shape for state in states]
        states = masked(states, pruning.random_masks(shapes, recipe.sparsity, rng, recipe.scope))
    elif recipe.sparsity and recipe.pattern == "one-shot":
        values = [state.weight.values for state in states]
        states = masked(states, pruning.magnitude_masks(values, recipe.sparsity, recipe.scope))
    elif recipe.sparsity:
        schedule = Schedule(recipe.epochs, specification.prune_rate, end=recipe.sparsity)
        choose = _chooser(recipe)
    model = Model(specification, states, kernel)
    began = perf_counter()
    training.train(
        model, dataset.train_images, dataset.train_labels, schedule, rng, choose, progress
    )
    seconds = perf_counter() - began
    accuracy = execution.accuracy(model, dataset.test_images, dataset.test_labels)
    return TrainedModel(recipe, tuple(model.states()), accuracy, seconds)


def _chooser(recipe: TrainingRecipe) -> Callable[..., list[pruning.Mask]]:
    """Return the function that chooses masks of a sparsity for values."""
    if recipe.pattern == "block":
        return partial(pruning.block_masks, block=BLOCK, scope=recipe.scope)
    return partial(pruning.magnitude_masks, scope=recipe.scope)


def masked(states: Sequence[LayerState], masks: Sequence[pruning.Mask]) -> list[LayerState]:
    """Return dense ``states`` with only what the masks keep."""
    return [
        LayerState(Weight(np.where(mask, state.weight.values, 0), mask), state.bias)
        for state, mask in zip(states, masks, strict=True)
    ]


def _save(path: Path, trained: TrainedModel) -> None:
    """Write the checkpoint whole or not at all."""
    tensors: dict[str, NDArray[Any]] = {}
    for layer, state in zip(trained.network.layers, trained.states, strict=True):
        tensors[f"{layer.name}.weight"] = np.ascontiguousarray(state.weight.values)
        tensors[f"{layer.name}.pattern"] = np.ascontiguousarray(state.weight.pattern)
        tensors[f"{layer.name}.bias"] = np.ascontiguousarray(state.bias)
    metadata = {
        "recipe": json.dumps(trained.recipe.kept),
        "accuracy": repr(trained.accuracy),
        "train_s": repr(trained.train_s),
    }
    write_whole(path, save(tensors, metadata), _OTHER_CACHE)


def _load(path: Path, recipe: TrainingRecipe) -> TrainedModel:
    with safe_open(path, "numpy") as file:
        kept, accuracy, train_s = _parse_metadata(file.metadata())
        if kept != recipe:
            raise ValueError("it holds another recipe")
        states = []
        for layer in network(recipe.network).layers:
            values, pattern, bias = (
                file.get_tensor(f"{layer.name}.{part}") for part in ("weight", "pattern", "bias")
            )
            if values.shape != layer.shape or bias.shape != layer.shape[:1]:
                raise ValueError(f"{layer.name} has shape {values.shape}, not {layer.shape}")
            states.append(LayerState(Weight(values, pattern), bias))
    return TrainedModel(recipe, tuple(states), accuracy, train_s)


def _parse_metadata(metadata: dict[str, str] | None) -> tuple[TrainingRecipe, float, float]:
    metadata = metadata or {}  # a file of another tool may have none
    recipe = TrainingRecipe.read(json.loads(metadata["recipe"]))
    return recipe, float(metadata["accuracy"]), float(metadata["train_s"])
