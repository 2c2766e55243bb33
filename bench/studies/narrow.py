"""The search that ends a sweep: where the fastest sparse kernel crosses over the fastest dense one.

A sweep has looked at all kernels by then. So each question is of few: of a layer, a batch and the
forward pass, the dense kernel that was the fastest, and the sparse ones that were the fastest, or
little slower, where the speedup was closest to 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

from crossover.bench.statistics.search_answers import FASTEST_SERIES
from crossover.bench.studies.search import Question, Search, SearchSpec
from crossover.bench.workloads.given import GivenLayer
from crossover.bench.workloads.problem import Workload
from crossover.bench.workloads.recipes import PrunedLayer

#: An answer this narrow, in sparsity, needs no further probe.
ANSWER_WIDTH = 0.05
#: Layers with fewer rows or columns are over in a microsecond: the grid brackets them.
_LEAST_SHAPE = 100, 300

#: Returns the contenders of (layer, batch, threads): dense ones, then sparse ones; or none.
Contenders = Callable[[str, int, int], tuple[Sequence[str], Sequence[str]]]


class Narrow(Search):
    """A search by the kernels that a first look has left in the race."""

    series = FASTEST_SERIES
    may_ask_nothing = True

    def __init__(self, spec: SearchSpec, contenders: Contenders) -> None:
        """Check what is asked; ``contenders`` is asked once the search begins."""
        super().__init__(spec)
        self._contenders = contenders

    def is_urgent(self, question: Question) -> bool:
        """Return whether it is what a sweep is known for: that has every other turn."""
        layers = {layer.name: math.prod(layer.shape) for layer in self.network.layers}
        batches = sorted(self.spec.batches)
        known_for = max(layers, key=lambda name: layers[name]), batches[len(batches) // 2]
        asked = question.layer.labels.layer, question.workload.batch
        return self.visits_made % 2 == 0 and asked == known_for

    def listed(self, layers: Sequence[PrunedLayer | GivenLayer]) -> Iterator[Question]:
        """Yield a question per layer, batch and number of threads with contenders on both sides."""
        for weights, batch, threads in itertools.product(layers, self.spec.batches, self.threads):
            dense, sparse = self._contenders(weights.labels.layer, batch, threads)
            large = all(s >= least for s, least in zip(weights.shape, _LEAST_SHAPE, strict=True))
            if dense and sparse and large:
                workload = Workload(weights, "forward", batch, seed=self.spec.seed)
                yield self.question(workload, weights, threads, sparse, dense)
