"""Whole networks, from the times of their layers: totals, and what a plan chose by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossover.bench.records.rows import ProblemRecord
from crossover.bench.statistics.comparison import Contest, Measurement, times
from crossover.bench.statistics.intervals import Interval

#: Over what a whole network was pruned: all layers together, or each; or it was brought as it is.
#: What has another scope, and no accuracy, is a layer or a matrix alone.
SCOPES = "global", "each layer", "as it is"
#: Patterns of networks that were not pruned here: dense ones, and those that a user brought.
UNPRUNED = "dense", "given"


#: What a kernel's call costs by itself is measured under this name.
ONE_CALL = "one call"


@dataclass(frozen=True)
class LayerTime:
    """A layer by its fastest dense kernel, and by the fastest of all; times are seconds."""

    dense_s: float
    fastest_s: float
    #: Of the fastest over the dense one; exactly 1 where that is the dense one itself.
    speedup: Interval


def total_speedup(layers: Sequence[LayerTime]) -> Interval:
    """Return how much faster all layers are together than by their fastest dense kernels.

    The estimate is the ratio of the summed times. Layers were measured apart, so their errors are
    independent: the half-width of its logarithm is the root of the summed squares of theirs, each
    weighted by the layer's share of the time. Without an interval of every layer there is none.
    """
    dense_s, fastest_s = sum(e.dense_s for e in layers), sum(e.fastest_s for e in layers)
    if not layers or not fastest_s > 0:
        return Interval(math.nan, math.nan, math.nan)
    median = dense_s / fastest_s
    half = math.sqrt(sum((e.fastest_s / fastest_s * _half_width(e.speedup)) ** 2 for e in layers))
    return Interval(median * math.exp(-half), median, median * math.exp(half))


def _half_width(speedup: Interval) -> float:
    if speedup.low == speedup.high:
        return 0.0
    return math.log(speedup.high / speedup.low) / 2 if speedup.low > 0 else math.nan


@dataclass(frozen=True)
class LayerChoice:
    """A layer's kernel at a batch, and who came next; times are seconds a batch."""

    layer: str
    kernel: str
    time: Interval
    runner_up: str
    runner_up_s: float

    @classmethod
    def of(
        cls, layer: str, best: Measurement, ranked: Sequence[Measurement], factor: float
    ) -> LayerChoice:
        """Return the choice of ``best`` among those ``ranked``, each run ``factor`` times."""
        others = [each for each in ranked if each.kernel.name != best.kernel.name]
        (time,) = times([best])
        ends = (factor * end for end in (time.low, time.median, time.high))
        following = others[0] if others else None
        return cls(
            layer,
            best.kernel.name,
            Interval(*ends),
            following.kernel.name if following else "",
            factor * following.time_s if following else math.nan,
        )

    @property
    def behind(self) -> float:
        """Return the share of the time by which the runner-up is slower; NaN without one."""
        return self.runner_up_s / self.time.median - 1

    @property
    def regret(self) -> float:
        """Return the share that a wrong choice would cost: 0 where it is certainly right.

        The choice is then as slow as its interval allows; NaN without an interval or a runner-up.
        """
        cost = self.time.high / self.runner_up_s - 1
        return cost if math.isnan(cost) else max(0.0, cost)


@dataclass(frozen=True)
class Planned:
    """What a batch is served by, and what its layers' races said."""

    way: str
    kernels: tuple[str, ...]
    layers: tuple[LayerChoice, ...]
    #: Seconds of a call by itself, by kernel; of a way that makes one call for all, else nothing.
    call_s: Mapping[str, float]

    @property
    def products_s(self) -> float:
        """Return the seconds of all its products together; NaN where one was not measured."""
        if len(self.layers) != len(self.kernels):
            return math.nan
        return sum(e.time.median - self.call_s.get(e.kernel, 0.0) for e in self.layers)


def planned(plan: Mapping[str, Any], problem: ProblemRecord, layers: Iterable[Contest]) -> Planned:
    """Return what ``plan``, as JSON, serves a whole network's ``problem`` by.

    ``layers`` are the races of its layers, one by one, among others.
    """
    choice = [each for each in plan["choices"] if each["least"] <= problem.batch][-1]
    kernels = tuple(choice["kernels"])
    threads, own, factor = share_of(plan["about"]["shares"], choice["way"], problem)
    there = list(layers)
    races = {
        it.layer: contest
        for contest in there
        if (it := contest.problem).network == problem.network
        and it.network_sparsity == problem.network_sparsity
        and (it.threads, it.batch) == (threads, own)
    }
    names = [each["name"] for each in plan["layers"]]
    found = []
    for name, kernel in zip(names, kernels, strict=False):
        raced = races[name].measurements if name in races else {}
        if kernel in raced:
            ranked = sorted(raced.values(), key=lambda each: each.time_s)
            found.append(LayerChoice.of(name, raced[kernel], ranked, factor))
    alone = [each for each in there if each.problem.network == ONE_CALL]
    calls = {name: each.time_s for name, each in alone[-1].measurements.items()} if alone else {}
    own_call = calls if choice["way"] == "compiled" else {}
    return Planned(choice["way"], kernels, tuple(found), own_call)


def share_of(
    shares: Iterable[Sequence[int]], way: str, problem: ProblemRecord
) -> tuple[int, int, float]:
    """Return (threads, batch) of the races that tell a layer's time, and how often it is run.

    ``shares`` are (batch, how many inputs a thread takes together, threads) of the compiled way.
    """
    by_batch = {batch: (own, parts) for batch, own, parts in shares}
    if way != "compiled" or problem.batch not in by_batch:
        return problem.threads, problem.batch, 1.0
    own, parts = by_batch[problem.batch]
    return 1, own, -(-problem.batch // parts) / own
