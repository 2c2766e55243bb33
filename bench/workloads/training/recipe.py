"""Recipes of trained networks: all that their weights depend on."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from crossover.bench.errors import InputError
from crossover.bench.workloads.mnist import Dataset
from crossover.bench.workloads.networks import network
from crossover.bench.workloads.pruning.masks import Scope
from crossover.bench.workloads.pruning.method import Parent, PruningMethod
from crossover.bench.workloads.pruning.registry import method_called
from crossover.kernels import discover

# Raised whenever training changes what a recipe yields.
_RECIPE_VERSION = 1
# Fields under the names that they are kept by: seeds follow from the key, so it must not change.
_KEPT_AS = {"pattern": "pruning"}
# Fields that came later, with the values that are not kept.
_NOT_KEPT: dict[str, Any] = {
    "images": 0,
    "length": 1.0,
    "rate": 1.0,
    "parent_rate": 1.0,
    "code": "",
}
# Of epochs that were divided by the usual ones.
_ROUNDING = 1e-9
# Of the training images, where a recipe leaves so many: what rates are chosen by.
_HELD_OUT = 10_000
# What trains the dense parents of a network that a sparse kernel trains.
_DENSE_TRAINER = "numba-masked-update"


@dataclass(frozen=True)
class LearningRates:
    """Which learning rates networks are trained with, in times of the usual one of their size."""

    #: Of what is dense, or becomes sparse.
    dense: float
    #: Of what is sparse from its first step on.
    sparse: float

    def of(self, sparsity: float, method: str) -> float:
        """Return the rate of a network that ``method`` makes so sparse."""
        starts_sparse = bool(sparsity) and method_called(method).starts_sparse
        return self.sparse if starts_sparse else self.dense


#: By images held out the best, or next to it, of those that were tried, at the networks that were:
#: with hidden layers of 5,000 units ``sparse`` of 1, 4 and 8 with 50,000 images and ``dense`` of 1,
#: 2 and 4 with 10,000, one seed each; at 90 % random lenet-300-100 errs on 4.3 and 2.5 % with 1 and
#: 4, lenet-5 on 2.1 and 1.1 %. The experiment ``learning-rates`` tries 1, 4 and 8 for more.
LEARNING_RATES = LearningRates(dense=1.0, sparse=4.0)


@dataclass(frozen=True)
class TrainingRecipe:
    """Everything that determines a trained network, but for the rounding of the BLAS."""

    network: str
    #: The dataset's digest.
    data: str
    sparsity: float = 0.0
    #: The pruning method, by name.
    pattern: str = "gradual"
    scope: Scope = "global"
    seed: int = 0
    #: The kernel that trained it.
    kernel: str = "numpy-masked-update"
    version: int = _RECIPE_VERSION
    #: Trained on the first of the images, 0: on all; and for so many times the usual epochs, which
    #: are what its parents train for.
    images: int = 0
    length: float = 1.0
    #: Times the usual rate; and that of its parents.
    rate: float = 1.0
    parent_rate: float = 1.0
    #: Of a pruning method of the user's: the hash of its source.
    code: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise InputError(
                f"sparsity {self.sparsity:g} is outside [0, 1): give the share of zeros, "
                "for example 0.9 or 90%"
            )
        if self.sparsity == 0:  # however it would be pruned, it is the dense network
            object.__setattr__(self, "pattern", "gradual")
            object.__setattr__(self, "scope", "global")
            object.__setattr__(self, "parent_rate", 1.0)
            object.__setattr__(self, "code", "")

    @property
    def key(self) -> str:
        """Return the hash that names the checkpoint."""
        content = json.dumps({**self.kept, "specification": repr(network(self.network))})
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def kept(self) -> dict[str, Any]:
        """Return the fields as a checkpoint keeps them."""
        return {
            _KEPT_AS.get(name, name): value
            for name, value in asdict(self).items()
            if name not in _NOT_KEPT or value != _NOT_KEPT[name]
        }

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
        it = network(self.network)
        if not self.sparsity or self.method.length == "as dense":
            return math.ceil(self.length * it.epochs - _ROUNDING)
        if self.method.length == "none":
            return 0
        halvings = -math.log2(1 - self.sparsity)
        return math.ceil(self.length * it.prune_epochs * halvings - _ROUNDING)

    @property
    def epochs_in_all(self) -> int:
        """Return the passes over the training set that its weights went through."""
        before = () if self.method.starts_sparse else self.parents.values()
        return self.epochs + sum(each.epochs_in_all for each in before)

    def part_of(self, dataset: Dataset) -> Dataset:
        """Return the dataset with the images that it is trained on."""
        if not self.images:
            return dataset
        part = slice(self.images)
        images, labels = dataset.train_images[part], dataset.train_labels[part]
        return replace(dataset, train_images=images, train_labels=labels)

    def held_out(self, dataset: Dataset) -> Dataset:
        """Return the dataset whose test is the last of the training images that it never sees."""
        count = len(dataset.train_images)
        first = max(self.images or count, count - _HELD_OUT)
        part = slice(first, count)
        images, labels = dataset.train_images[part], dataset.train_labels[part]
        return replace(dataset, test_images=images, test_labels=labels)

    @property
    def method(self) -> PruningMethod:
        """Return what prunes it.

        Raises:
            InputError: if nothing is called so.
        """
        return method_called(self.pattern)()

    @property
    def parents(self) -> dict[Parent, TrainingRecipe]:
        """Return the recipes of the networks that this one starts from."""
        if not self.sparsity:
            return {}
        sparse = not discover()[self.kernel].stores_zeros
        kernel = _DENSE_TRAINER if sparse else self.kernel
        usual = {"pattern": "gradual", "scope": "global", "code": "", "length": 1.0}
        pruned = replace(self, kernel=kernel, rate=self.parent_rate, **usual)  # type: ignore[arg-type]
        known: dict[Parent, TrainingRecipe] = {
            "dense": replace(pruned, sparsity=0.0), "gradual": pruned
        }  # fmt: skip
        return {name: known[name] for name in self.method.parents}

    def generator(self) -> np.random.Generator:
        """Return the generator of all that is drawn for it."""
        return np.random.default_rng([self.seed, int(self.key, 16)])
