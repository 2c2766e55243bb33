"""Speedup over sparsity, kernel by kernel, with the crossover that was measured and predicted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from crossover.bench.statistics.rates import crossover_at_ceilings, line_through
from crossover.reports import metrics
from crossover.reports.crossovers import Crossover
from crossover.reports.plots import panels
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.panels import Band, Lines, in_view
from crossover.reports.results import Results
from crossover.reports.sections import PASS_TITLES, Part

# What a plot of speedups shows, as its data.
_PLOTTED = [
    "layer", "m", "k", "batch", "sparsity", "nnz", "kernel", "speedup", "speedup_low",
    "speedup_high", "baseline", "warnings", "baseline_warnings",
]  # fmt: skip
# What a prediction is made from.
_BYTES = [
    "layer", "batch", "sparsity", "kernel", "nbytes", "dense_bytes", "device", "threads",
    "executed_flops", "side_bytes",
]  # fmt: skip
_PLACE = ["network", "device", "threads", "caches", "computes"]


def part(results: Results, rows: pd.DataFrame, best: Sequence[Crossover]) -> Part:
    """Return the speedups of the pass that is asked for most."""
    shown = _of(rows, forward=True)
    return Part("Speedup over sparsity", _left_out(shown), list(_plots(results, shown, best)))


def other_passes(results: Results, rows: pd.DataFrame, best: Sequence[Crossover]) -> Part:
    """Return those of the other passes, folded."""
    shown = _of(rows, forward=False)
    plots = list(_plots(results, shown, best))
    return Part("Speedup over sparsity, other passes", plots=plots, folded=True)


def _of(rows: pd.DataFrame, forward: bool) -> pd.DataFrame:
    if rows.empty:
        return rows
    is_shown = (rows["computes"] == "forward") == forward
    return rows[is_shown & (rows["role"] != "dense") & rows["speedup"].notna()]


def _left_out(rows: pd.DataFrame) -> list[str]:
    if rows.empty:
        return []
    kept = pd.concat([in_view(group) for _, group in rows.groupby(_PLACE, sort=False)])
    missing = sorted(set(rows["kernel"]) - set(kept["kernel"]))
    says = f" Slower ones are in the CSV alone: {', '.join(missing)}." if missing else ""
    return [
        "Over the fastest dense kernel of each problem, the line at 1. Bands are 95 % intervals; "
        f"shaded: the crossover of the fastest sparse kernel.{says}"
    ]


def _plots(results: Results, rows: pd.DataFrame, best: Sequence[Crossover]) -> Iterator[Plot]:
    """Yield a plot per network, pass, device, number of threads, and caches."""
    if rows.empty:
        return
    for key, group in rows.groupby(_PLACE, sort=False):
        place = dict(zip(_PLACE, key, strict=True))
        there = [each for each in best if all(each.place[n] == v for n, v in place.items())]
        where = f"CPU, {place['threads']} threads" if place["device"] == "cpu" else "GPU"
        computes = PASS_TITLES[str(place["computes"])]
        title = f"{place['network']}, {computes}, {where}, {place['caches']}: speedup"
        lines = Lines(
            "speedup", "speedup", panels.as_factor, marked_by=("warnings", "baseline_warnings"),
            bands=_bands(there), predicted=predicted(results, in_view(group)),
        )  # fmt: skip
        names = place["network"], place["device"], place["threads"], place["caches"]
        yield Plot(
            title,
            file_name("speedup", *names, place["computes"]),
            partial(panels.draw, in_view(group), results.kernels, title, lines),
            group[_PLOTTED],
            f"{title} of each kernel over the fastest dense one, over sparsity. {_said(there)}",
        )


def _bands(found: Sequence[Crossover]) -> dict[tuple[str, int], Band]:
    return {
        (each.place["layer"], each.place["batch"]): Band(
            each.estimate.low, each.estimate.high, str(each.estimate)
        )
        for each in found
        if each.estimate.kind == "between"
    }


def _said(found: Sequence[Crossover]) -> str:
    told = [
        f"{each.place['layer']}, batch {each.place['batch']}: {each.text}" for each in found[:9]
    ]
    return f"Crossovers: {'; '.join(told)}." if told else ""


def predicted(results: Results, rows: pd.DataFrame) -> dict[tuple[str, int], float]:
    """Return by layer and batch where the crossover lies at the ceilings, where that is known.

    ``rows`` are of one network, pass and setting. The operand is that of the kernel which is the
    fastest at the highest sparsity.
    """
    fastest = metrics.fastest_sparse(rows)[["layer", "batch", "sparsity", "kernel"]]
    tops = fastest.sort_values("sparsity").drop_duplicates(["layer", "batch"], keep="last")
    kernels = {(row.layer, row.batch): row.kernel for row in tops.itertuples()}
    points: dict[tuple[str, int], list[dict[Any, Any]]] = {}
    for row in rows[_BYTES].dropna(subset="nbytes").to_dict("records"):
        place = row["layer"], row["batch"]
        if kernels.get(place) == row["kernel"]:
            points.setdefault(place, []).append(row)
    found = {place: _predicted(results, group) for place, group in points.items()}
    return {place: at for place, at in found.items() if at is not None}


def _predicted(results: Results, rows: Sequence[Mapping[Any, Any]]) -> float | None:
    low, top = (pick(rows, key=lambda row: row["sparsity"]) for pick in (min, max))
    limits = results.limits(top["device"], top["threads"])
    if limits is None or low["sparsity"] == top["sparsity"]:
        return None
    ends = [(float(row["sparsity"]), float(row["nbytes"])) for row in (low, top)]
    return crossover_at_ceilings(
        limits, top["executed_flops"], top["side_bytes"], top["dense_bytes"], line_through(*ends)
    )
