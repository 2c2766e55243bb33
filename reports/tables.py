"""The tables of a report, as frames of text that any output can print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from crossover.bench.ceilings import Ceilings
from crossover.bench.cuda_ceilings import CudaCeilings
from crossover.bench.flags import FLAGS
from crossover.bench.records import Run
from crossover.reports import metrics

_PASS_TITLES = {
    "forward": "forward (Y = W X)",
    "backward_input": "backward, input (dX = Wᵀ dY)",
    "backward_weight": "backward, weight (dW = dY Xᵀ at the nonzeros)",
}


@dataclass(frozen=True)
class Table:
    """A table with its title; every cell is text."""

    title: str
    frame: pd.DataFrame


@dataclass(frozen=True)
class Report:
    """All that the outputs show, computed once."""

    run: Run
    rows: pd.DataFrame
    measured: pd.DataFrame
    crossovers: pd.DataFrame


def analyse(run: Run, rows: pd.DataFrame) -> Report:
    """Return the report on ``rows`` of ``run``."""
    ceilings = {key: ceilings_from(key, found) for key, found in run.ceilings.items()}
    computed = metrics.measured(rows, ceilings)
    return Report(run, rows, computed, metrics.crossovers(computed))


def ceilings_from(key: str, found: Mapping[str, Any]) -> Ceilings | CudaCeilings:
    """Return the ceilings that a run keeps under ``key``: a number of threads, or ``cuda``."""
    return CudaCeilings(**found) if key == "cuda" else Ceilings(**found)


def pass_title(pass_: str) -> str:
    """Return a pass as a heading shows it."""
    return _PASS_TITLES.get(pass_, pass_)


def crossover_table(report: Report, kernel: str | None = "fastest sparse") -> Table:
    """Return the crossovers of one ``kernel``, or of each kernel where it is None."""
    frame = report.crossovers
    wanted = frame["kernel"] == kernel if kernel else frame["kernel"] != "fastest sparse"
    lines = [
        {
            "network": row.network,
            "layer": f"{row.layer} {row.shape}",
            "batch": f"{row.batch}",
            "pass": row.pass_,
            "device": row.device,
            "threads": f"{row.threads}",
            "caches": row.temperature,
            **({} if kernel else {"kernel": row.kernel}),
            "crossover (95 %)": str(row.crossover),
            "speedup at the highest sparsity": (
                f"{row.top_speedup:.2f} × at {100 * row.top_sparsity:.1f} % ({row.top_kernel})"
            ),
        }
        for row in frame[wanted].itertuples()
    ]
    which = "the fastest sparse kernel" if kernel else "each sparse kernel"
    return Table(f"Crossover of {which} over the fastest dense one", pd.DataFrame(lines))


def network_table(report: Report) -> Table:
    """Return each network at each sparsity with its accuracy and size."""
    keys = ["network", "pruning", "scope", "network_sparsity", "accuracy"]
    layers = report.rows.drop_duplicates([*keys, "layer"])
    lines = []
    for (name, pruning, scope, sparsity, accuracy), group in layers.groupby(keys, sort=False):
        weights, nnz = int((group["m"] * group["k"]).sum()), int(group["nnz"].sum())
        how = "dense" if sparsity == 0 else f"{pruning}, {scope}"
        lines.append(
            {
                "network": name,
                "pruned": how,
                "sparsity": percent(sparsity),
                "test accuracy": f"{100 * accuracy:.2f} %",
                "weights": f"{weights:,}",
                "nonzero": f"{nnz:,}",
                "fewer": f"{weights / nnz:.1f} ×",
            }
        )
    return Table("Networks", pd.DataFrame(lines))


def layer_table(rows: pd.DataFrame) -> Table:
    """Return the layers of one network at one sparsity: shape, nnz, bytes per format."""
    lines = []
    for row in rows.drop_duplicates("layer").sort_values("layer_index").itertuples():
        sizes = {f"{name} bytes": f"{size:,}" for name, size in row.format_bytes.items()}
        lines.append(
            {
                "layer": row.layer,
                "shape (m × k)": f"{row.m} × {row.k}",
                "parameters": f"{row.m * row.k:,}",
                "nnz": f"{row.nnz:,}",
                "sparsity": percent(row.sparsity),
                **sizes,
            }
        )
    return Table("Layers", pd.DataFrame(lines))


def kernel_table(report: Report, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the kernels of one network, sparsity, batch and pass, layer by layer.

    ``rows`` are the rows of the store; those that were not measured show why.
    """
    computed = report.measured
    lines = []
    for row in rows.sort_values(["layer_index"], kind="stable").itertuples():
        line = {"layer": row.layer, "kernel": row.title, "device": row.device}
        if row.status == "measured":
            lines.append(line | _measured_cells(computed.loc[row.Index]))
        elif row.status != "skipped":
            lines.append(line | {"time": f"{row.status}: {row.reason}"})
    return pd.DataFrame(lines).fillna("")


def breakdown_table(report: Report) -> Table:
    """Return, per network, sparsity, layer, batch and pass, the fastest dense and sparse kernel."""
    best = metrics.best_sparse(report.measured)
    lines = [
        {
            "network": row.network,
            "asked": percent(row.network_sparsity),
            "layer": f"{row.layer} {row.m} × {row.k}",
            "nnz": f"{row.nnz:,}",
            "sparsity": percent(row.sparsity),
            "batch": f"{row.batch}",
            "pass": row.pass_,
            "caches": row.temperature,
            "fastest dense": f"{seconds(row.speedup * row.time_s)} ({row.baseline})",
            "fastest sparse": f"{seconds(row.time_s)} ({row.kernel})",
            "speedup (95 %)": f"{row.speedup:.2f} [{row.speedup_low:.2f}, {row.speedup_high:.2f}]",
        }
        for row in best[best["speedup"].notna()].itertuples()
    ]
    return Table("Fastest kernels per layer", pd.DataFrame(lines))


def not_run_table(report: Report) -> Table:
    """Return the kernels that did not run, or not everywhere, with the reason."""
    rows = report.rows[report.rows["status"] != "measured"]
    counts = rows.groupby(["kernel", "device", "status", "reason"], sort=False).size()
    lines = [
        {"kernel": kernel, "device": device, "": status, "cells": f"{count}", "reason": reason}
        for (kernel, device, status, reason), count in counts.items()
    ]
    return Table("Not run", pd.DataFrame(lines))


def flag_table(report: Report) -> Table:
    """Return the doubts that were raised: how often, what they mean, and the remedy."""
    counts = report.measured["doubts"].explode().value_counts()
    lines = [
        {
            "doubt": flag.name,
            "rows": f"{counts[flag.name]} of {len(report.measured)}",
            "means": flag.means,
            "remedy": flag.remedy,
        }
        for flag in FLAGS
        if flag.name in counts
    ]
    return Table("Doubts about these figures", pd.DataFrame(lines))


def machine_table(report: Report) -> Table:
    """Return the conditions that the run was measured under."""
    run = report.run
    conditions = {**run.machine, **run.versions, "commit": run.revision, "started": run.started}
    conditions |= {"command": run.command, "run": run.run_id, "seed": str(run.seed)}
    for key, found in run.ceilings.items():
        conditions |= ceiling_lines(ceilings_from(key, found))
    lines = [{"what": key, "value": str(value)} for key, value in conditions.items() if value]
    return Table("Conditions", pd.DataFrame(lines))


def ceiling_lines(ceilings: Ceilings | CudaCeilings) -> dict[str, str]:
    """Return the measured ceilings as a table shows them."""
    copies = ", ".join(f"{level} {rate:.0f}" for level, rate in ceilings.copy_gbs.items())
    if isinstance(ceilings, CudaCeilings):
        return {
            "GPU: dense product": f"{ceilings.fp32_gflops:.0f} GFLOP/s in fp32, "
            f"{ceilings.tf32_gflops:.0f} in TF32, {ceilings.fp16_gflops:.0f} in fp16",
            "GPU: copy": f"{copies} GB/s",
            "GPU: empty kernel": f"{seconds(ceilings.launch_s)} on the device, "
            f"{seconds(ceilings.call_s)} for the host, {seconds(ceilings.replay_s)} in a graph",
        }
    prefix = f"{ceilings.threads} threads: "
    weak = ceilings.blas_gflops / ceilings.fma_gflops
    return {
        f"{prefix}fp32 FMA": f"{ceilings.fma_gflops:.0f} GFLOP/s"
        f" ({ceilings.fma_one_gflops:.0f} on one thread)",
        f"{prefix}BLAS": f"{ceilings.blas_gflops:.0f} GFLOP/s, {weak:.0%} of the FMA rate",
        f"{prefix}copy": f"{copies} GB/s",
        f"{prefix}empty call": seconds(ceilings.call_s),
        f"{prefix}empty parallel loop": f"{seconds(ceilings.parallel_s)}"
        f" ({ceilings.threading_layer})",
    }


def flat(report: Report) -> pd.DataFrame:
    """Return every row for a spreadsheet: all figures, the raw samples left in the store."""
    extra = report.measured.columns.difference(report.rows.columns).drop("interval")
    joined = report.rows.drop(columns=["samples", "canary", "call_samples", "replay_samples"]).join(
        report.measured[extra]
    )
    sizes = pd.DataFrame(list(joined.pop("format_bytes")), index=joined.index)
    return joined.join(sizes.add_suffix("_bytes"))


def percent(share: float) -> str:
    """Return a share of 1 in percent, as short as it stays exact to a tenth."""
    return f"{round(100 * share, 1):g} %"


def seconds(value: float) -> str:
    """Return a time with a unit that suits it."""
    if not np.isfinite(value):
        return "-"
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def _measured_cells(row: Any) -> dict[str, str]:
    known = np.isfinite(row.speedup)
    calls = row.break_even_calls
    return {
        "time": seconds(row.time_s),
        **_gpu_cells(row),
        "interval (95 %)": f"{seconds(row.time_low_s)} to {seconds(row.time_high_s)}",
        "speedup": f"{row.speedup:.2f} ×" if known else "",
        "speedup (95 %)": f"{row.speedup_low:.2f} to {row.speedup_high:.2f}" if known else "",
        "useful GFLOP/s": f"{row.useful_gflops:.3g}",
        "of roofline": "" if np.isnan(row.roofline) else f"{100 * row.roofline:.0f} %",
        "operand bytes": f"{int(row.nbytes):,}",
        "first call": seconds(row.first_call_s),
        "compiled for": seconds(row.compile_s) if row.compile_s else "",
        "repaid after": "" if np.isnan(calls) else "never" if np.isinf(calls) else f"{calls:.0f}",
        "relative error": f"{row.relative_error:.1e}",
        "doubts": ", ".join([*row.doubts, *row.remarks]),
    }


def _gpu_cells(row: Any) -> dict[str, str]:
    """Return what only a GPU kernel has: the call as the host sees it, and in a graph."""
    return {
        title: seconds(float(np.median(samples)))
        for title, samples in (
            ("time for the host", row.call_samples),
            ("time in a graph", row.replay_samples),
        )
        if samples
    }
