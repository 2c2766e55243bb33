"""Networks that were trained for an experiment, each over its seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from crossover.bench.records.rows import HELD_OUT, KernelRecord, Visit
from crossover.bench.statistics.comparison import Contest, Measurement, contests, fastest
from crossover.bench.statistics.contenders import speedup_of_fastest
from crossover.bench.statistics.experiments.seeds import Spread, pooled_over_seeds, without_seeds
from crossover.bench.statistics.intervals import Interval


@dataclass(frozen=True)
class TrainedNetwork:
    """One network by one method at one sparsity: its trainings, a visit each, and its races."""

    trainings: tuple[Visit, ...]
    #: By inputs at a time, over all seeds.
    races: Mapping[int, Contest]

    @property
    def recipe(self) -> dict[str, Any]:
        """Return the recipe of its training, as JSON knows it."""
        recipe: dict[str, Any] = self.trainings[0].problem.recipe["weights"]["training"]
        return recipe

    @property
    def network(self) -> str:
        return self.trainings[0].problem.network

    @property
    def sparsity(self) -> float:
        """Return the sparsity that was asked for."""
        return self.trainings[0].problem.network_sparsity

    @property
    def method(self) -> str:
        """Return how it was pruned; ``dense`` where it was not."""
        return self.trainings[0].problem.pattern

    @property
    def scope(self) -> str:
        return self.trainings[0].problem.scope

    @cached_property
    def accuracy(self) -> Spread:
        """Return the share of the test set that is classified right."""
        return self._over_seeds(lambda visit: _row(visit).accuracies[-1])

    @cached_property
    def held_out(self) -> Spread | None:
        """Return the same of the training images that it never saw; None where it saw all."""
        if any(HELD_OUT not in _row(visit).facts for visit in self.trainings):
            return None
        return self._over_seeds(lambda visit: float(_row(visit).facts[HELD_OUT]))

    def fact(self, name: str) -> float | None:
        """Return what was counted of it, by name; None where nobody did."""
        facts: dict[str, float] = _row(self.trainings[0]).facts
        return facts.get(name)

    @property
    def rate(self) -> float:
        """Return how many times the usual learning rate it was trained with."""
        rate: float = self.recipe.get("rate", 1.0)
        return rate

    @cached_property
    def nnz(self) -> Spread:
        """Return how many weights are left."""
        return self._over_seeds(lambda visit: float(visit.problem.nnz))

    @property
    def parameters(self) -> int:
        """Return how many weights there were."""
        return self.trainings[0].problem.format_bytes["dense"] // 4

    def dense_at(self, batch: int) -> Measurement | None:
        """Return what runs it all dense the fastest, on the CPU as all of these."""
        return fastest(each for each in self._raced(batch) if each.kernel.stores_zeros)

    def sparse_at(self, batch: int) -> Measurement | None:
        """Return what runs it all sparse the fastest."""
        return fastest(each for each in self._raced(batch) if not each.kernel.stores_zeros)

    def best_at(self, batch: int) -> Measurement | None:
        """Return what runs it the fastest."""
        return fastest(self._raced(batch))

    def speedup(self, batch: int) -> Interval:
        """Return that of the fastest sparse over the fastest dense engine; NaN without a pair."""
        raced = self._raced(batch)
        dense = [each for each in raced if each.kernel.stores_zeros]
        return speedup_of_fastest([each for each in raced if each not in dense], dense)

    def _raced(self, batch: int) -> Sequence[Measurement]:
        race = self.races.get(batch)
        there = () if race is None else race.measurements.values()
        return [each for each in there if each.kernel.device == "cpu"]

    def _over_seeds(self, value: Callable[[Visit], float]) -> Spread:
        return Spread.of([value(visit) for visit in self.trainings])


def trained_networks(
    visits: Iterable[Visit], kernels: Mapping[str, KernelRecord]
) -> list[TrainedNetwork]:
    """Return the networks that ``visits`` trained, in the order of their first training."""
    by_recipe: dict[str, list[Visit]] = {}
    for visit in visits:
        recipe = without_seeds(visit.problem.recipe.get("weights", {}).get("training", {}))
        by_recipe.setdefault(str(recipe), []).append(visit)
    return [
        found for group in by_recipe.values() if (found := _network(group, kernels)) is not None
    ]


def _network(visits: Sequence[Visit], kernels: Mapping[str, KernelRecord]) -> TrainedNetwork | None:
    trainings = [v for v in visits if v.problem.computes == "training" and _measured(v)]
    if not trainings:
        return None
    raced = [visit for visit in visits if visit.problem.computes == "network"]
    found = contests(pooled_over_seeds(raced), kernels)
    return TrainedNetwork(tuple(trainings), {each.problem.batch: each for each in found})


def _measured(visit: Visit) -> bool:
    return any(row.status == "measured" for row in visit.rows.values())


def _row(visit: Visit) -> Any:
    return next(row for row in visit.rows.values() if row.status == "measured")
