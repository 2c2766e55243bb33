"""Headline sparsity against what is left: parameters, bytes, and each layer's own sparsity."""

from __future__ import annotations

from functools import partial

import pandas as pd

from crossover.bench.statistics.networks import SCOPES, UNPRUNED
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.sweep import headline as plot
from crossover.reports.results import Results
from crossover.reports.sections import Part
from crossover.reports.tables import Table, accuracy, percent

_TITLE = "Headline sparsity against total parameters"
# What a network is told apart by.
_NETWORK = ["network", "network_sparsity", "pattern", "scope", "accuracy"]


def part(results: Results) -> Part | None:
    """Return what each network keeps at each sparsity; None without a network."""
    problems = pd.DataFrame([vars(visit.problem) for visit in results.visits_of("sweep")])
    whole = problems["accuracy"].notna() | problems["scope"].isin(SCOPES)
    layers = problems[whole].drop_duplicates([*_NETWORK, "layer"])
    if layers.empty:
        return None
    layers = layers.assign(parameters=layers["m"] * layers["k"])
    return Part(
        _TITLE,
        [
            "A network's sparsity is an average over its weights: large layers are pruned harder "
            "than small ones, and a large sparse network can hold more weights than a small "
            "dense one."
        ],
        [_plot(str(name), group) for name, group in layers.groupby("network", sort=False)],
        [_table(layers)],
    )


def _table(layers: pd.DataFrame) -> Table:
    lines = []
    for (name, sparsity, pattern, scope, reached), group in layers.groupby(
        _NETWORK, sort=False, dropna=False
    ):
        weights, nnz = group["parameters"].sum(), group["nnz"].sum()
        own = group.sort_values("layer_index")
        lines.append(
            {
                "network": name,
                "pruned": pattern if pattern in UNPRUNED else f"{pattern}, {scope}",
                "sparsity": percent(sparsity),
                "of each layer": ", ".join(
                    f"{row.layer} {percent(row.sparsity)}" for row in own.itertuples()
                ),
                "test error": accuracy(1 - reached),
                "weights": f"{weights:,}",
                "nonzero": f"{nnz:,}",
                "fewer": f"{weights / nnz:.1f} ×" if nnz else "",
            }
        )
    return Table.of("Networks", lines)


def _plot(name: str, layers: pd.DataFrame) -> Plot:
    columns = ["network_sparsity", "layer", "layer_index", "m", "k", "parameters", "nnz",
               "sparsity", "accuracy"]  # fmt: skip
    # Where a network was pruned in several ways, the first stands for all.
    data = layers.drop_duplicates(["network_sparsity", "layer"])[columns]
    data = data.sort_values(["network_sparsity", "layer_index"])
    title = f"{name}: what a sparsity of the whole network leaves of each layer"
    top = data[data["network_sparsity"] == data["network_sparsity"].max()]
    said = ", ".join(f"{row.layer} {percent(row.sparsity)}" for row in top.itertuples())
    at = percent(top["network_sparsity"].iloc[0])
    return Plot(
        title,
        file_name("headline", name),
        partial(plot.draw, data, title),
        data,
        f"{title}. At {at}: {said}; {top['nnz'].sum():,} of {top['parameters'].sum():,} weights.",
    )
