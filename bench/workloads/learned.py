"""Networks that are trained for a question, by whom it is asked; and their layers, rearranged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from crossover.bench.workloads import checkpoints, mnist
from crossover.bench.workloads.checkpoints import TrainedModel
from crossover.bench.workloads.networks import Network, network
from crossover.bench.workloads.pruning import registry, structure
from crossover.bench.workloads.recipes import OUTSIDE_IDENTITY, Labels, NetworkLayer
from crossover.bench.workloads.training.beginning import beginning
from crossover.bench.workloads.training.model import LayerState, pixels
from crossover.bench.workloads.training.recipe import TrainingRecipe
from crossover.kernels.base import Weight

#: Where the entries of a pruned layer lie: as pruned; its rows and columns in another order, so
#: that neighbours are none any more; as many in each row, in columns drawn anew; drawn altogether.
Arrangement = Literal["as pruned", "relabelled", "shuffled in rows", "random"]
ARRANGEMENTS: tuple[Arrangement, ...] = get_args(Arrangement)


@dataclass(frozen=True)
class LearnedNetwork:
    """A network that is trained for a question, as its recipe says, by whom it is asked."""

    training: TrainingRecipe
    #: Where pruning methods of the user's are.
    modules: tuple[str, ...] = field(default=(), metadata=OUTSIDE_IDENTITY)

    @property
    def labels(self) -> Labels:
        it = self.training
        how = it.pattern if it.sparsity else "dense"
        return Labels(it.network, "all layers", 0, it.sparsity, how, it.scope)

    @property
    def network(self) -> Network:
        return network(self.training.network)

    def trained(self, report_share: Callable[[float], None] | None = None) -> TrainedModel:
        """Return the network, trained now unless a checkpoint of it is kept.

        ``report_share`` hears which share of its epochs is done, its parents' included.
        """
        registry.load(self.modules)
        if report_share is None:
            return checkpoints.obtain(self.training, mnist.load())
        share_of_all = checkpoints.share_of_all([self.training])
        return checkpoints.obtain(
            self.training,
            mnist.load(),
            lambda recipe, share: report_share(share_of_all(recipe, share)),
        )

    def beginning(self) -> tuple[Sequence[LayerState], np.random.Generator]:
        """Return the layers that its training begins with, and the generator of what follows."""
        registry.load(self.modules)
        draws, dataset = self.training.generator(), mnist.load()
        parents = {
            name: checkpoints.obtain(recipe, dataset).states
            for name, recipe in self.training.parents.items()
        }
        return beginning(self.training, parents, draws), draws

    def inputs(self, batch: int) -> NDArray[np.float32]:
        """Return the inputs (n, features) of the first ``batch`` images of the test set."""
        return pixels(mnist.load().test_images[:batch]).T


@dataclass(frozen=True)
class ArrangedLayer(NetworkLayer):
    """A layer of a network that was trained for a question, its entries where they lie or not."""

    arrangement: Arrangement = "as pruned"
    #: Where pruning methods of the user's are.
    modules: tuple[str, ...] = field(default=(), metadata=OUTSIDE_IDENTITY)

    @property
    def labels(self) -> Labels:
        it, place = self.training, (self._layer.name, self.layer_index)
        return Labels(it.network, *place, it.sparsity, self.arrangement, it.scope)

    def weight(self) -> Weight:
        """Return W; what lies elsewhere has drawn values, for times do not ask for them."""
        trained = LearnedNetwork(self.training, self.modules).trained()
        weight = trained.states[self.layer_index].weight
        rng = np.random.default_rng([self.training.seed, self.layer_index])
        if self.arrangement == "as pruned":
            return weight
        if self.arrangement == "relabelled":
            rows, columns = structure.relabelled(weight.pattern, rng)
            return Weight(*(each[rows][:, columns] for each in (weight.values, weight.pattern)))
        mask = structure.shuffled_in_rows(weight.pattern, rng)
        if self.arrangement == "random":
            mask = rng.permuted(weight.pattern.ravel()).reshape(weight.shape)
        values = rng.standard_normal(weight.shape, np.float32)
        return Weight(np.where(mask, values, 0), mask)
