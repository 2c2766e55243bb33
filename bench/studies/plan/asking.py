"""What a plan is asked for: which network, how sparse, for which batches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from crossover.bench.errors import InputError
from crossover.bench.options import common
from crossover.bench.options.declaration import option
from crossover.bench.options.values import number, share
from crossover.bench.studies.given import GivenSource, source_of
from crossover.bench.studies.networks import Pruning, TrainedSource
from crossover.bench.studies.study import Report
from crossover.bench.workloads import checkpoints
from crossover.bench.workloads.given import GivenLayer, bias_of
from crossover.bench.workloads.networks import Convolution, network
from crossover.bench.workloads.recipes import TrainedLayer, WeightRecipe
from crossover.kernels.serving import LayerPlan
from crossover.kernels.serving.network import Layer

_DEFAULT_SPARSITY = 0.9
#: Of a network of ours, when a loss of accuracy says how sparse it may be.
_SPARSITIES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)
_MOST_BATCH = 1 << 16


@dataclass(frozen=True)
class PlanSpec:
    """Which network, how sparse, for which batches."""

    network: str = common.network_name("lenet-300-100")
    sparsity: float | None = option(
        None,
        "--sparsity",
        metavar="S",
        convert=share,
        help="of the whole network, as 0.9 or 90%%",
        shown="90%, a file as it is",
    )
    accuracy_loss: float | None = option(
        None,
        "--accuracy-loss",
        metavar="POINTS",
        convert=number,
        help="instead: the sparsest that loses no more accuracy, on the test set or --inputs",
    )
    batch: str = option(
        "1-256", "--batch", metavar="RANGE", help="batches to plan for, as 1-256 or 64"
    )
    threads: int = common.one_threads()
    budget_s: float = common.budget(120.0)
    seed: int = common.seed()
    data: Path | None = common.data()
    inputs: Path | None = common.inputs()
    labels: Path | None = common.labels()
    modules: tuple[str, ...] = ()

    @property
    def batches(self) -> tuple[int, ...]:
        """Return the batches that are measured: both ends, and powers of two between.

        Raises:
            InputError: if the range is none.
        """
        found = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", self.batch)
        least, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= least <= most <= _MOST_BATCH:
            raise InputError(
                f"--batch {self.batch!r} is no range: give it as 1-256, or one number, up to "
                f"{_MOST_BATCH}"
            )
        powers = [1 << bit for bit in range(17) if least < 1 << bit < most]
        return tuple(dict.fromkeys((least, *powers, most)))


@dataclass(frozen=True)
class Chosen:
    """The network at the sparsity that was chosen: recipes for measuring, arrays for serving."""

    name: str
    recipes: tuple[WeightRecipe, ...]
    layers: tuple[Layer, ...]
    plans: tuple[LayerPlan, ...]
    sparsity: float
    accuracy: float | None
    #: Of the network as it was before it was pruned; None where it is not known.
    dense_accuracy: float | None


class Asked:
    """A spec with the network that it names."""

    def __init__(self, spec: PlanSpec) -> None:
        """Read the network and check what is asked.

        Raises:
            InputError: if it cannot be planned; nothing was done yet.
        """
        self.spec = spec
        if spec.sparsity is not None and spec.accuracy_loss is not None:
            raise InputError("--sparsity and --accuracy-loss each say how sparse: give one of them")
        if spec.accuracy_loss is not None and spec.accuracy_loss < 0:
            raise InputError(
                f"--accuracy-loss {spec.accuracy_loss:g} is below 0: give points, as 1"
            )
        self.source = source_of(spec.network, spec.data, spec.inputs, spec.labels)
        self.source.check_batches(spec.batches)
        if isinstance(self.source, TrainedSource):
            layers = network(spec.network).layers
            if found := [layer.name for layer in layers if isinstance(layer, Convolution)]:
                raise InputError(_cannot(spec.network, f"{found[0]} is a convolution"))
        elif why := self.source.stored.no_chain():
            raise InputError(_cannot(spec.network, why))
        elif spec.accuracy_loss is not None and spec.labels is None:
            raise InputError(
                f"what pruning costs {spec.network} is not known: give --inputs and --labels"
            )

    @cached_property
    def sparsities(self) -> Sequence[float]:
        """Return the sparsities that are chosen from."""
        if self.spec.accuracy_loss is not None:
            return _SPARSITIES
        if isinstance(self.source, GivenSource):
            return () if self.spec.sparsity is None else (self.spec.sparsity,)
        wanted = _DEFAULT_SPARSITY if self.spec.sparsity is None else self.spec.sparsity
        return (0.0, wanted) if wanted else (0.0,)

    def choose(self, report: Report) -> Chosen:
        """Return the network as sparse as it is asked for, trained unless it is kept.

        Raises:
            InputError: if no sparsity keeps the accuracy.
        """
        asked = Pruning(self.sparsities, "gradual", "global", self.spec.seed)
        found = self.source.at(asked, report)
        dense, recipes = found[0][0].labels.accuracy, found[-1]
        loss = self.spec.accuracy_loss
        if loss is not None:
            assert dense is not None
            # One image more or less is rounding of the share, not a loss.
            kept = [each for each in found if _accuracy(each) >= dense - loss / 100 - 1e-9]
            recipes = kept[-1]
        return self._chosen(recipes, dense)

    def _chosen(self, recipes: Sequence[WeightRecipe], dense: float | None) -> Chosen:
        layers = tuple(
            Layer(each.weight(), self._bias(each, index)) for index, each in enumerate(recipes)
        )
        last = len(recipes) - 1
        plans = tuple(
            LayerPlan(each.labels.layer, each.shape, self._relu(index, index == last))
            for index, each in enumerate(recipes)
        )
        nnz = sum(layer.weight.nnz for layer in layers)
        entries = sum(layer.weight.pattern.size for layer in layers)
        labels = recipes[0].labels
        return Chosen(
            labels.network, tuple(recipes), layers, plans, 1 - nnz / entries, labels.accuracy, dense
        )

    def _bias(
        self, recipe: WeightRecipe, index: int
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        if isinstance(recipe, TrainedLayer):
            return checkpoints.load(recipe.training).states[index].bias
        assert isinstance(recipe, GivenLayer)
        assert isinstance(self.source, GivenSource)
        return bias_of(self.source.stored.layers[index])

    def _relu(self, index: int, last: bool) -> bool:
        if isinstance(self.source, GivenSource):
            return self.source.stored.layers[index].activation == "relu"
        return not last


def _accuracy(layers: Sequence[WeightRecipe]) -> float:
    found = layers[0].labels.accuracy
    return float("-inf") if found is None else found


def _cannot(name: str, why: str) -> str:
    return (
        f"{name} cannot be planned ({why}): a plan serves chains of fully connected layers with "
        "ReLU between them; 'crossover run' measures its layers one by one"
    )
