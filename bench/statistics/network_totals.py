"""A whole network's time, from the times of its layers, which were measured one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from crossover.bench.statistics.intervals import Interval

#: Over what a whole network was pruned: all layers together, or each; or it was brought as it is.
#: What has another scope, and no accuracy, is a layer or a matrix alone.
SCOPES = "global", "each layer", "as it is"
#: Patterns of networks that were not pruned here: dense ones, and those that a user brought.
UNPRUNED = "dense", "given"


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
