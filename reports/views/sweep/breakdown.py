"""The per-layer breakdown: where a network's time, bytes and weights lie, dense beside sparse."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from crossover.reports import metrics, networks
from crossover.reports.grids import Column, Grid
from crossover.reports.networks import NetworkPoint
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.sweep import breakdown
from crossover.reports.sections import PASS_TITLES, Part
from crossover.reports.tables import (
    Table,
    cells,
    interval,
    interval_in,
    marked,
    percent,
    seconds,
)

_TITLE = "Per-layer breakdown"
# Of the metrics, what a breakdown is read for.
_FIRST = {"nbytes", "time_s", "speedup", "relative_error"}
_ALL = "all layers"
_DENSE, _FASTEST = "fastest dense", "fastest of all"


def part(rows: pd.DataFrame, points: Sequence[NetworkPoint]) -> Part:
    """Return stacked bars at the usual sparsity, and a table of every layer and kernel."""
    grids = [_grid(rows, points)] if len(rows) else []
    return Part(_TITLE, _sentences(points), list(_plots(points)), grids=grids)


def brief(points: Sequence[NetworkPoint], place: dict[str, Any]) -> list[Table]:
    """Return the breakdown of a place's network at the usual sparsity; none without a total."""
    there = networks.at(points, **{name: place[name] for name in networks.PLACE})
    chosen = networks.shown_first(there)
    if chosen is None:
        return []
    lines = [
        {
            **cells(row, "layer", "nnz", "sparsity"),
            "dense": marked(seconds(row["baseline_s"]), row["baseline_warnings"]),
            "fastest": f"{marked(seconds(row['chosen_s']), row['warnings'])} ({row['chosen']})",
            "speedup": marked(
                interval(interval_in(row, "chosen_speedup")),
                row["warnings"], row["baseline_warnings"],
            ),
            "bytes": f"{row['dense_bytes'] / row['chosen_bytes']:.1f} × fewer",
        }
        for row in chosen.layers.to_dict("records")
    ]  # fmt: skip
    lines.append(
        {
            "layer": _ALL,
            "nnz": f"{chosen.nnz:,}",
            "sparsity": percent(chosen.sparsity),
            "dense": seconds(chosen.dense_s),
            "fastest": seconds(chosen.time_s),
            "speedup": marked(interval(chosen.speedup), chosen.warnings),
            "bytes": f"{chosen.dense_bytes / chosen.nbytes:.1f} × fewer",
        }
    )
    it = chosen.place
    title = f"{it['network']} at {percent(it['network_sparsity'])}, batch {it['batch']}"
    return [Table.of(f"{title}, {it['computes']}, layer by layer", lines)]


def _sentences(points: Sequence[NetworkPoint]) -> list[str]:
    if not points:
        return []
    return [
        "Each layer was measured alone; all layers are their sum, each by its fastest kernel. A "
        "headline sparsity misleads: the layers' own stand beside that of all.",
    ]


def _plots(points: Sequence[NetworkPoint]) -> list[Plot]:
    """Return a plot per network, device and setting, of the pass that is asked for most: forward.

    Batches stand below each other, each with its own scale of time.
    """
    found = []
    same = ["network", "computes", "threads", "caches", "device"]
    pruned = [each for each in points if each.place["pattern"] != "dense"]
    for place in dict.fromkeys(tuple(each.place[n] for n in same) for each in pruned):
        named = dict(zip(same, place, strict=True))
        if named["computes"] != "forward":
            continue
        there = networks.at(pruned, **named)
        batches = sorted({each.place["batch"] for each in there})
        chosen = [networks.shown_first(networks.at(there, batch=batch)) for batch in batches]
        kept = [each for each in chosen if each is not None]
        data = pd.DataFrame([bar for each in kept for bar in _bars(each)])
        sparsity = percent(kept[0].place["network_sparsity"])
        title = f"{named['network']} at {sparsity}, {PASS_TITLES[named['computes']]}: time by layer"
        said = "; ".join(
            f"batch {each.place['batch']}: {seconds(each.dense_s)} dense, "
            f"{seconds(each.time_s)} by the fastest kernels"
            for each in kept
        )
        file = file_name("breakdown", *place)
        drawn = partial(breakdown.draw, data, title)
        found.append(Plot(title, file, drawn, data, f"{title}. {said}."))
    return found


def _bars(point: NetworkPoint) -> list[dict[str, Any]]:
    faster = marked(f"{interval(point.speedup)} ×", point.warnings)
    totals = {_DENSE: seconds(point.dense_s), _FASTEST: f"{seconds(point.time_s)}, {faster}"}
    columns = {_DENSE: ("baseline_s", "baseline"), _FASTEST: ("chosen_s", "chosen")}
    return [
        {"batch": point.place["batch"], "choice": choice, "layer": row["layer"],
         "time_s": row[time], "kernel": row[kernel], "total": totals[choice]}
        for choice, (time, kernel) in columns.items()
        for row in point.layers.to_dict("records")
    ]  # fmt: skip


# -- every layer and kernel -----------------------------------------------------------------


def _grid(rows: pd.DataFrame, points: Sequence[NetworkPoint]) -> Grid:
    """Return every kernel on every layer, and the layers of a network together."""
    fastest = metrics.fastest_sparse(rows)
    best = set(zip(fastest["problem_id"], fastest["kernel"], strict=True))
    is_best = [key in best for key in zip(rows["problem_id"], rows["kernel"], strict=True)]
    is_baseline = rows["kernel"] == rows["baseline"]
    whole = rows.assign(
        parameters=rows["m"] * rows["k"],
        shape=rows["m"].astype(str) + " × " + rows["k"].astype(str),
        which=np.select([is_baseline, is_best], ["yes", "yes"], "no"),
        total=False,
    )
    totals = pd.DataFrame([line for each in points for line in _totals(each)])
    frame = pd.concat([whole, totals], ignore_index=True) if len(totals) else whole
    return Grid(_TITLE, frame, _columns(rows), totals="total")


def _columns(rows: pd.DataFrame) -> list[Column]:
    """Return the columns: what a layer is, then every figure, then where it was measured."""
    batches = sorted(rows["batch"].unique())
    asked = [float(each) for each in rows["network_sparsity"].unique()]
    at = percent(min(asked, key=lambda each: abs(each - networks.USUAL_SPARSITY)))
    several = rows[["device", "threads", "caches"]].nunique() > 1
    return [
        Column("layer", "layer", filtered=True),
        Column("kernel", "kernel", filtered=True),
        Column("shape", "shape (m × k)", "text", "outputs × inputs"),
        Column("parameters", "parameters", "count", "weights, zeros included"),
        Column("nnz", "nnz", "count", "stored nonzeros of W"),
        Column("sparsity", "sparsity", "percent", "of this layer, not of the network"),
        *sorted(metrics.columns(rows), key=lambda each: each.name not in _FIRST),
        Column("network", "network", filtered=True),
        Column("network_sparsity", "network at", "percent", "sparsity of the whole network that "
               "was asked for", filtered=True, chosen=at),
        Column("batch", "batch", "count", "images", filtered=True,
               chosen=f"{batches[len(batches) // 2]}"),
        Column("computes", "pass", filtered=True, chosen="forward"),
        Column("which", "fastest", "text", "whether it is the problem's fastest dense or fastest "
               "sparse kernel", filtered=True, chosen="yes"),
        *(
            Column(name, name, "count" if name == "threads" else "text", filtered=True)
            for name in ("device", "threads", "caches")
            if several[name]
        ),
    ]  # fmt: skip


def _totals(point: NetworkPoint) -> list[dict[str, Any]]:
    place = {**point.place, "layer": _ALL, "which": "yes", "total": True, "shape": ""}
    shared = place | {
        "parameters": point.parameters,
        "nnz": point.nnz,
        "sparsity": point.sparsity,
        "baseline_warnings": "",
    }
    speedup = point.speedup
    return [
        shared | {"kernel": _DENSE, "time_s": point.dense_s, "nbytes": point.dense_bytes,
                  "speedup": 1.0, "warnings": ""},
        shared | {"kernel": _FASTEST, "time_s": point.time_s, "nbytes": point.nbytes,
                  "speedup": speedup.median, "speedup_low": speedup.low,
                  "speedup_high": speedup.high, "warnings": "; ".join(point.warnings)},
    ]  # fmt: skip
