"""One network at one sparsity by every method that prunes: what it reaches, and how fast it runs.

An answer in JSON is a network, as in :mod:`.random_vs_pruned`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from crossover.bench.statistics.experiments.networks import TrainedNetwork
from crossover.bench.statistics.experiments.seeds import difference
from crossover.reports.plots import places
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.places import Axis
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import percent
from crossover.reports.views.experiments import shown

NAME = "pruning-ways"
_TITLE = "Ways to prune, at equal sparsity"
_BATCHES = 1, 64
_SHOWN = 64


def section(results: Results) -> Section | None:
    """Return what each method reaches."""
    if not shown.visits_of(results, NAME):
        return None
    networks = shown.networks_of(results, NAME)
    table = shown.table(results, networks, _BATCHES, _TITLE)
    answers = [shown.answer(each, _BATCHES) for each in networks]
    parts = [Part(_TITLE, plots=_plots(networks), tables=[table])]
    size = shown.size_of(results, NAME)
    return Section.of(
        results, NAME, _TITLE, _sentences(results, networks, size), parts, answers, [table]
    )


def _pruned(networks: Sequence[TrainedNetwork]) -> list[TrainedNetwork]:
    return [each for each in networks if each.sparsity]


def _sentences(results: Results, networks: Sequence[TrainedNetwork], size: str) -> list[str]:
    pruned = _pruned(networks)
    if not pruned:
        return ["No network was pruned yet: the same command goes on."]
    best = max(pruned, key=lambda each: each.accuracy.mean)
    level = [
        each
        for each in pruned
        if each is not best and difference(best.accuracy, each.accuracy).low <= 0
    ]
    beside = f"; not distinguishable from it: {', '.join(map(_method, level))}" if level else ""
    sentences = [
        f"{best.network} at {percent(best.sparsity)} errs the least by {_method(best)}, on "
        f"{shown.error_of(best)} of the test images{beside} {size}."
    ]
    times = {
        id(each): sparse.time_s for each in pruned if (sparse := each.sparse_at(_SHOWN)) is not None
    }
    raced = sorted((each for each in pruned if id(each) in times), key=lambda each: times[id(each)])
    if raced:
        quick = raced[0]
        beside = f"; next is {_method(raced[1])}, {_speed(results, raced[1])}" if raced[1:] else ""
        sentences.append(
            f"Of {_SHOWN} images at a time the fastest is {_method(quick)}, "
            f"{_speed(results, quick)}, with an error of {shown.error_of(quick)}{beside}."
        )
    return sentences


def _speed(results: Results, network: TrainedNetwork) -> str:
    """Return how fast a network runs sparse, and beside dense."""
    time = shown.time_of(results, network.sparse_at(_SHOWN))
    return f"{time}, {shown.speedup_of(results, network, _SHOWN)} times as fast as dense"


def _method(network: TrainedNetwork) -> str:
    scope = f" ({network.scope})" if network.method == "gradual" else ""
    return f"{network.method}{scope}"


def _plots(networks: Sequence[TrainedNetwork]) -> list[Plot]:
    """Return a plot of error over speed; none of nothing."""
    lines = []
    for each in _pruned(networks):
        speedup = each.speedup(_SHOWN)
        lines.append(
            {"x": speedup.median, "x_low": speedup.low, "x_high": speedup.high,
             "y": 100 * (1 - each.accuracy.mean), "y_low": 100 * (1 - each.accuracy.high),
             "y_high": 100 * (1 - each.accuracy.low), "label": _method(each),
             "kind": shown.kind_of(each), "joined": False}
        )  # fmt: skip
    data = pd.DataFrame(lines)
    if data.empty or not data["x"].notna().any():
        return []
    title = f"Ways to prune: test error over speed, {_SHOWN} images"
    across = Axis("the whole network, times as fast sparse as dense", lambda v: f"{v:g}×")
    up = Axis("test error, %", lambda v: f"{v:g}", log=True)
    drawn = partial(places.draw, data, title, across, up)
    best = data.loc[data["y"].idxmin()]
    said = f"{title}. {best['label']} errs the least, {best['y']:.2f} %."
    return [Plot(title, file_name(NAME), drawn, data, said)]
