"""Where each layer crosses over, in one look: a heat map, and the same as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from crossover.reports.crossovers import Crossover
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.sweep import crossover_map
from crossover.reports.sections import PASS_TITLES, Part
from crossover.reports.tables import Table, marked

_TITLE = "Crossovers"
_QUIET = {"open": "open", "never": "never", "level": "level"}
#: What the maps of a plot share: it has a panel per pass.
_SAME = "network", "device", "threads", "caches"


def part(best: Sequence[Crossover]) -> Part:
    """Return a map per network and setting, of the fastest sparse kernel over the fastest dense."""
    return Part(
        _TITLE,
        sentences=[
            "From which sparsity of a layer its fastest sparse kernel beats its fastest dense one, "
            "as a range at 95 %. Dark: sparse pays early. Quiet cells were not decided (open), or "
            "sparse was never faster there."
        ],
        plots=[_plot(places, found) for places, found in _groups(best).items()],
    )


def cells(found: Sequence[Crossover]) -> pd.DataFrame:
    """Return crossovers as :func:`plots.sweep.crossover_map.draw` takes them."""
    return pd.DataFrame(
        [
            {
                "layer": _layer(each.place),
                "batch": each.place["batch"],
                "computes": each.place["computes"],
                "kind": each.estimate.kind,
                "low": each.estimate.low,
                "high": each.estimate.high,
                "text": cell(each),
                "kernel": each.top_kernel,
                "baselines": " or ".join(each.baselines),
            }
            for each in found
        ]
    )


def cell(found: Crossover) -> str:
    """Return a crossover as a cell shows it: what was not decided says so in a word."""
    kind, text = found.estimate.kind, str(found.estimate)
    return marked(_QUIET.get(kind, text.replace("in [", "[")), found.warnings)


def pivot(found: Sequence[Crossover], title: str) -> Table:
    """Return crossovers as a table: a row per layer, a column per batch size."""
    lines: dict[str, dict[str, str]] = {}
    for each in sorted(found, key=lambda e: (e.place["layer_index"], e.place["batch"])):
        line = lines.setdefault(_layer(each.place), {"layer": _layer(each.place)})
        line[f"batch {each.place['batch']}"] = cell(each)
    return Table.of(title, list(lines.values()))


def _layer(place: Mapping[str, Any]) -> str:
    shape = f"{place['m']} × {place['k']}"
    named = str(place["layer"])
    return shape if named == f"{place['m']}x{place['k']}" else f"{named} {shape}"


def _groups(best: Sequence[Crossover]) -> dict[tuple[Any, ...], list[Crossover]]:
    found: dict[tuple[Any, ...], list[Crossover]] = {}
    for each in best:
        found.setdefault(tuple(each.place[name] for name in _SAME), []).append(each)
    return found


def _plot(places: tuple[Any, ...], found: Sequence[Crossover]) -> Plot:
    name, device, threads, caches = places
    where = f"CPU, {threads} threads" if device == "cpu" else "GPU"
    title = f"{name}, {where}, {caches}: from which sparsity sparse is faster"
    ordered = sorted(found, key=lambda e: (e.place["layer_index"], e.place["m"], e.place["batch"]))
    data = cells(ordered)
    panels = {
        PASS_TITLES.get(computes, computes): data[data["computes"] == computes]
        for computes in PASS_TITLES
        if (data["computes"] == computes).any()
    }
    said = "; ".join(
        f"{row.layer}, batch {row.batch}, {row.computes}: {row.text}"
        for row in data.head(12).itertuples()
    )
    return Plot(
        title,
        file_name("crossovers", name, device, threads, caches),
        partial(crossover_map.draw, panels, title),
        data,
        f"{title}: {said}.",
    )
