"""One view per experiment: what was measured, and the sentences that it supports."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from crossover.reports.results import Results
from crossover.reports.sections import Section
from crossover.reports.views.experiments import (
    cpu_vs_gpu,
    epoch,
    headline,
    learning_rates,
    prune_until_it_pays,
    pruning_ways,
    random_vs_pruned,
    same_results,
    structure,
    training_step,
)

VIEWS: Mapping[str, Callable[[Results], Section | None]] = {
    each.NAME: each.section
    for each in (
        same_results, training_step, epoch, learning_rates, random_vs_pruned, prune_until_it_pays,
        headline, pruning_ways, structure, cpu_vs_gpu,
    )
}  # fmt: skip
