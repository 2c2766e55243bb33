"""The contract of a pruning method: what a network starts from, and how its pattern changes.

A method of one's own is a subclass in a module that ``--pruning-module`` names: with a ``name``, a
``title``, and one of the two functions.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from crossover.bench.workloads.pruning.masks import Mask, Scope, Values
from crossover.kernels.base import Weight

#: A network that a method needs, trained before: without zeros, or pruned step by step.
Parent = Literal["dense", "gradual"]
#: How long a method trains: not at all, as long as the dense network, or longer the sparser.
Length = Literal["none", "as dense", "by sparsity"]


@dataclass
class Given:
    """What a network may start from."""

    shapes: Sequence[tuple[int, int]]
    #: Of the whole network, to be reached at the end.
    sparsity: float
    scope: Scope
    rng: np.random.Generator
    #: Draws He-initialised weights of each layer.
    draw: Callable[[], list[Values]]
    #: Trained weights of each parent.
    parents: Mapping[Parent, Sequence[Weight]]
    #: Returns the weights that the training of the dense parent began with.
    original: Callable[[], list[Values]]

    @cached_property
    def initial(self) -> list[Values]:
        """Return weights (m, k) of each layer, drawn by this network's own seed."""
        return self.draw()


@dataclass(frozen=True)
class Moment:
    """A network in training, at a step where its pattern may change."""

    #: Weights (m, k) of each layer, zero where they are pruned, and their pattern.
    values: list[Values]
    masks: list[Mask]
    #: Of the whole network, to be reached at the end.
    sparsity: float
    scope: Scope
    #: Share of the training that is done, and of the part of it in which a network is pruned:
    #: what comes after 1 is fine-tuning.
    done: float
    pruned: float
    rng: np.random.Generator
    #: Returns the gradient (m, k) of each layer by the batch that comes next, zeros included.
    gradients: Callable[[], list[Values]]


class PruningMethod(ABC):
    """A way in which a network comes to its zeros."""

    name: ClassVar[str]
    title: ClassVar[str]
    #: Who described it.
    source: ClassVar[str] = ""
    parents: ClassVar[tuple[Parent, ...]] = ("dense",)
    length: ClassVar[Length] = "by sparsity"
    #: Whether its networks are sparse from their first step on: they learn at another rate.
    starts_sparse: ClassVar[bool] = False
    #: Steps from one change of the pattern to the next; 0: a tenth of an epoch.
    interval: ClassVar[int] = 0

    def begin(self, given: Given) -> list[Weight]:
        """Return the weights to start with; by default the trained dense ones."""
        return list(given.parents["dense"])

    def change(self, moment: Moment) -> list[Mask] | None:
        """Return the pattern from here on, or None where it stays."""
        return None

    @classmethod
    def changes(cls) -> bool:
        """Return whether its patterns change on the way."""
        return cls.change is not PruningMethod.change

    @property
    def keeps_biases(self) -> bool:
        """Return whether it goes on with the biases of the dense network; otherwise they are 0."""
        return self.parents == ("dense",)


def kept_by(values: Sequence[Values], masks: Sequence[Mask]) -> list[Weight]:
    """Return weights of which the masks keep what they say."""
    return [Weight(np.where(mask, v, 0), mask) for v, mask in zip(values, masks, strict=True)]
