"""One oversized network, pruned further and further: accuracy, size, and the fastest engine.

An answer in JSON is a network, as in :mod:`.random_vs_pruned`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from crossover.bench.statistics.experiments.networks import TrainedNetwork
from crossover.bench.statistics.experiments.seeds import difference
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.sweep import accuracy
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import percent
from crossover.reports.views.experiments import shown

NAME = "prune-until-it-pays"
_TITLE = "Pruned until it pays"
_BATCHES = 1, 64


def section(results: Results) -> Section | None:
    """Return what each step of pruning gives."""
    if not shown.visits_of(results, NAME):
        return None
    networks = sorted(shown.networks_of(results, NAME), key=lambda each: each.sparsity)
    table = shown.table(results, networks, _BATCHES, _TITLE)
    answers = [shown.answer(each, _BATCHES) for each in networks]
    parts = [Part(_TITLE, plots=_plots(networks), tables=[table])]
    size = shown.size_of(results, NAME)
    return Section.of(
        results, NAME, _TITLE, _sentences(results, networks, size), parts, answers, [table]
    )


def _sentences(results: Results, networks: Sequence[TrainedNetwork], size: str) -> list[str]:
    """Return for each batch from where sparse pays, and how far accuracy allows it."""
    dense = next((each for each in networks if not each.sparsity), None)
    if dense is None:
        return ["No network was trained yet: the same command goes on."]
    worse = [each for each in networks if difference(dense.accuracy, each.accuracy).low > 0]
    sentences = []
    for batch in _BATCHES:
        raced = [each for each in networks if each.sparse_at(batch) and each.dense_at(batch)]
        if not raced:
            continue
        speedups = [(each.sparsity, each.speedup(batch)) for each in raced]
        fit = [each for each in raced if each not in worse and each.sparsity]
        sentence = (
            f"{dense.network}, {batch} image{'s' if batch > 1 else ''} at a time: "
            f"sparse {shown.beats('dense', speedups)}"
        )
        if fit:
            last = max(fit, key=lambda each: each.sparsity)
            best = last.best_at(batch)
            assert best is not None
            sentence += (
                f"; at {percent(last.sparsity)} its accuracy is not distinguishably worse than "
                f"that of the dense network (error {shown.error_of(last)}, "
                f"{shown.error_of(dense)}){_though_before(last, worse)}, and it takes "
                f"{shown.time_of(results, best)}, "
                f"{shown.speedup_of(results, last, batch)} times as fast"
            )
        sentences.append(f"{sentence} {size}.")
    return sentences or ["No engine was raced yet: the same command goes on."]


def _though_before(last: TrainedNetwork, worse: Sequence[TrainedNetwork]) -> str:
    """Return where a network that is less sparse than ``last`` is less accurate all the same."""
    there = [percent(each.sparsity) for each in worse if each.sparsity < last.sparsity]
    return f", though at {' and '.join(there)} it is" if there else ""


def _plots(networks: Sequence[TrainedNetwork]) -> list[Plot]:
    """Return a plot of error over time; none of nothing."""
    lines = [
        {"batch": batch, "network_sparsity": each.sparsity, "time_s": best.time_s,
         "error": 1 - each.accuracy.mean, "dense": not each.sparsity, "by": best.kernel.name}
        for each in networks
        for batch in _BATCHES
        if (best := each.best_at(batch))
    ]  # fmt: skip
    if not lines:
        return []
    data = pd.DataFrame(lines)
    title = f"{networks[0].network}: test error over the time of the fastest engine, by sparsity"
    drawn = partial(accuracy.draw, data, title)
    return [Plot(title, file_name(NAME), drawn, data, f"{title}. The table has every figure.")]
