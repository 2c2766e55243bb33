"""Rooflines: how near kernels come to what the machine was measured to do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from crossover.bench.machine.limits import CpuLimits, CudaLimits
from crossover.reports.networks import USUAL_SPARSITY
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.panels import MOST_BATCHES, MOST_LAYERS, MOST_SPARSE
from crossover.reports.plots.sweep import roofline
from crossover.reports.results import Results
from crossover.reports.sections import Part
from crossover.reports.tables import percent, share

_TITLE = "Roofline"
_MOST_DENSE = 2


def part(results: Results, rows: pd.DataFrame) -> Part | None:
    """Return a plot per network and setting, forward, hot; None without measured ceilings."""
    if rows.empty:
        return None
    shown = rows[(rows["computes"] == "forward") & (rows["caches"] == "hot")]
    plots = list(_plots(results, shown))
    if not plots:
        return None
    return Part(
        _TITLE,
        [
            "Work over compulsory bytes (the operand, X and Y once each), under the ceilings that "
            "this machine was measured to have; a small call stays far below them by its "
            "overhead. Filled: sparse kernels by useful work; hollow: kernels that store zeros, by "
            "all work. Larger marks are larger layers."
        ],
        plots,
        folded=True,
    )


def _plots(results: Results, rows: pd.DataFrame) -> Iterator[Plot]:
    for key, group in rows.groupby(["network", "device", "threads"], sort=False):
        name, device, threads = key
        limits = results.limits(device, int(threads))
        known = group[group["roofline"].notna() & (group["dtype"] == "float32")]
        if limits is None or known.empty:
            continue
        known = _at_the_usual(known)
        data = _in_view(_with_intensity(known))
        at = percent(data["network_sparsity"].iloc[0])
        where = f"CPU, {threads} threads" if device == "cpu" else "GPU"
        title = f"{name} at {at}, forward, {where}: roofline"
        best = data.loc[data["roofline"].idxmax()]
        yield Plot(
            title,
            file_name("roofline", *key),
            partial(roofline.draw, data, results.kernels, title, _rates(limits),
                    dict(limits.copy_gbs)),
            data,
            f"{title}. Nearest to its bound: {best['kernel']} on {best['layer']}, batch "
            f"{best['batch']}, {share(best['roofline'])}.",
        )  # fmt: skip


def _at_the_usual(rows: pd.DataFrame) -> pd.DataFrame:
    measured = rows["network_sparsity"].unique()
    nearest = measured[np.argmin(np.abs(measured - USUAL_SPARSITY))]
    return rows[rows["network_sparsity"] == nearest]


def _with_intensity(rows: pd.DataFrame) -> pd.DataFrame:
    work = rows["useful_flops"].where(~rows["stores_zeros"].astype(bool), rows["executed_flops"])
    moved = rows["nbytes"] + rows["side_bytes"]
    kept = ["network", "network_sparsity", "layer", "m", "k", "batch", "sparsity", "kernel",
            "stores_zeros", "role", "time_s", "roofline", "warnings"]  # fmt: skip
    return rows[kept].assign(intensity=work / moved, gflops=work / rows["time_s"] / 1e9)


def _in_view(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the fastest kernels of each kind, and of the largest layers."""
    best = rows.groupby("kernel")["roofline"].max().sort_values(ascending=False)
    stores = set(rows.loc[rows["stores_zeros"].astype(bool), "kernel"])
    dense = [name for name in best.index if name in stores][:_MOST_DENSE]
    sparse = [name for name in best.index if name not in stores][:MOST_SPARSE]
    sizes = (rows["m"] * rows["k"]).groupby(rows["layer"]).max().sort_values(ascending=False)
    batches = sorted(rows["batch"].unique())[:MOST_BATCHES]
    chosen = rows[
        rows["kernel"].isin([*dense, *sparse])
        & rows["layer"].isin(sizes.index[:MOST_LAYERS])
        & rows["batch"].isin(batches)
    ]
    return chosen.assign(size=chosen["m"] * chosen["k"]).sort_values("size", ascending=False)


def _rates(limits: CpuLimits | CudaLimits) -> dict[str, float]:
    if isinstance(limits, CudaLimits):
        return {"fp32, cuBLAS": limits.fp32_gflops}
    return {"fp32 FMA": limits.fma_gflops, "BLAS": limits.blas_gflops}
