"""Networks of several widths at equal accuracy: their sparsity against what is left of them.

An answer in JSON is a network, as in :mod:`.random_vs_pruned`, and ``chosen``: whether it is the
sparsest of its width that is as accurate as the narrow dense one.
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
from crossover.reports.tables import number, percent
from crossover.reports.views.experiments import shown

NAME = "headline"
_TITLE = "What a headline sparsity says"
_CHOSEN = "The sparsest of each width that is not distinguishably less accurate"
_BATCHES = 1, 64
_SHOWN = 64


def section(results: Results) -> Section | None:
    """Return what is left of each network."""
    if not shown.visits_of(results, NAME):
        return None
    networks = shown.networks_of(results, NAME)
    chosen = as_accurate(networks)
    table = shown.table(
        results,
        [*_dense(networks), *chosen],
        _BATCHES,
        f"{_TITLE}: the sparsest of each width that is not less accurate",
    )
    every = shown.table(results, networks, _BATCHES, "Every network")
    answers = [shown.answer(each, _BATCHES) | {"chosen": each in chosen} for each in networks]
    parts = [
        Part(_TITLE, plots=_plots(networks), tables=[table]),
        Part("Every network", tables=[every], folded=True),
    ]
    sentences = _sentences(results, networks, chosen, shown.size_of(results, NAME))
    return Section.of(results, NAME, _TITLE, sentences, parts, answers, [table])


def as_accurate(networks: Sequence[TrainedNetwork]) -> list[TrainedNetwork]:
    """Return of each width the sparsest network that is not less accurate than the dense one.

    Nor is any that is less sparse: what few seeds let pass further on counts no more.
    """
    found: dict[str, TrainedNetwork] = {}
    for dense in _dense(networks)[:1]:
        ended: set[str] = set()
        for each in sorted(networks, key=lambda each: each.sparsity):
            if difference(dense.accuracy, each.accuracy).low > 0:
                ended.add(each.network)
            elif each.sparsity and each.network not in ended:
                found[each.network] = each
    return list(found.values())


def _dense(networks: Sequence[TrainedNetwork]) -> list[TrainedNetwork]:
    return [each for each in networks if not each.sparsity]


def _sentences(
    results: Results,
    networks: Sequence[TrainedNetwork],
    chosen: Sequence[TrainedNetwork],
    size: str,
) -> list[str]:
    dense = next(iter(_dense(networks)), None)
    if dense is None or not chosen:
        return ["No pruned network is as accurate as the narrow dense one, or none was trained."]
    widest = max(chosen, key=lambda each: each.parameters)
    best, other = widest.best_at(_SHOWN), dense.best_at(_SHOWN)
    speed = ""
    if best and other:
        speed = (
            f" and takes {shown.time_of(results, best)} for {_SHOWN} images, the small one "
            f"{shown.time_of(results, other)}"
        )
    least = min(chosen, key=lambda each: each.nnz.mean)
    return [
        f"{dense.network} dense errs on {shown.error_of(dense)}. {widest.network} may be pruned to "
        f"{_as_far_as(networks, dense, widest)} without being distinguishably worse, with "
        f"{shown.error_of(widest)}; it then has {number(widest.nnz.mean / dense.nnz.mean)} times "
        f"the small one's weights{speed} {size}.",
        f"Of all these {shown.named(least)} has the fewest weights, {least.nnz.mean:,.0f}: "
        f"{number(dense.nnz.mean / least.nnz.mean)} times fewer than {dense.network} dense.",
    ]


def _as_far_as(
    networks: Sequence[TrainedNetwork], dense: TrainedNetwork, network: TrainedNetwork
) -> str:
    """Return how far a network may be pruned, and that nothing sparser was tried if so."""
    last = max(each.sparsity for each in networks if each.network == network.network)
    open_end = network.sparsity == last and difference(dense.accuracy, network.accuracy).high < 0
    return f"at least {percent(network.sparsity)}" if open_end else percent(network.sparsity)


def _plots(networks: Sequence[TrainedNetwork]) -> list[Plot]:
    """Return a plot of error over the weights left, a line per width; none of nothing."""
    if not networks:
        return []
    lines = [
        {"x": each.nnz.mean, "x_low": each.nnz.low, "x_high": each.nnz.high,
         "y": 100 * (1 - each.accuracy.mean), "y_low": 100 * (1 - each.accuracy.high),
         "y_high": 100 * (1 - each.accuracy.low), "kind": each.network, "joined": True,
         "label": percent(each.sparsity) if each.sparsity else "dense"}
        for each in networks
    ]  # fmt: skip
    data = pd.DataFrame(lines)
    title = "Networks of several widths: test error over the weights that are left"
    across = Axis("weights left", lambda value: f"{value:,.0f}", log=True)
    drawn = partial(places.draw, data, title, across, Axis("test error, %", lambda v: f"{v:g}"))
    said = f"{title}. Each point says the sparsity of its network."
    return [Plot(title, file_name(NAME), drawn, data, said)]
