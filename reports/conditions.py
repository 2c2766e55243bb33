"""What a reader needs to judge a run: its conditions, warnings, and what did not run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from crossover.bench.machine.limits import CpuLimits, CudaLimits, limits_of
from crossover.bench.statistics.warnings import WARNINGS
from crossover.reports import metrics
from crossover.reports.results import Results
from crossover.reports.sections import Part
from crossover.reports.tables import MARK, SEPARATOR, Table, seconds

# What a kernel needs, by its runtime.
_RUNTIMES = {"torch": "PyTorch", "mkl": "MKL", "cuda": "CUDA", "numba": "Numba", "blas": "BLAS"}


def parts_of(results: Results) -> list[Part]:
    """Return what closes a report."""
    made = warning_table(results), not_run_table(results), metrics.glossary()
    return [
        Part(each.title, tables=[each], folded=True) for each in (*made, condition_table(results))
    ]


def warning_table(results: Results, study: str | None = None) -> Table:
    """Return the warnings there are: how often, what each means, and its remedy."""
    rows = metrics.rows(results, study)
    named = rows[rows["status"] == "measured"]["warnings"].str.split(SEPARATOR)
    counts = named.explode().value_counts()
    lines = [
        {
            "mark": f"{MARK}{each.letter}",
            "warning": each.name,
            "rows": f"{counts[each.name]} of {len(named)}",
            "means": each.means,
            "remedy": each.remedy,
        }
        for each in WARNINGS
        if each.name in counts
    ]
    return Table.of("Warnings about these figures, and their marks", lines)


def not_run_table(results: Results, study: str | None = None) -> Table:
    """Return the kernels that did not run, or not everywhere, with the reason."""
    rows = metrics.rows(results, study)
    absent = rows[rows["status"] != "measured"]
    counts = absent.groupby(["kernel", "status", "reason"], sort=False).size()
    lines = [
        {"kernel": kernel, "status": status, "problems": f"{count}", "reason": reason}
        for (kernel, status, reason), count in counts.items()
    ]
    return Table.of("Not run", lines)


def notes(results: Results, study: str | None = None) -> list[str]:
    """Return what did not run, and the warnings, in a line each; nothing of none."""
    rows = metrics.rows(results, study)
    return [note for note in (_not_run_note(results, rows), _warning_note(rows)) if note]


def _not_run_note(results: Results, rows: pd.DataFrame) -> str:
    """Return how many kernels ran nowhere, by what they need, and which failed."""
    ran = set(rows.loc[rows["status"] == "measured", "kernel"])
    failed = sorted(set(rows.loc[rows["status"].isin(["failed", "wrong"]), "kernel"]))
    absent = sorted(set(rows["kernel"]) - ran - set(failed))
    runtimes = Counter(
        _RUNTIMES.get(results.kernels[name].runtime, name) if name in results.kernels else name
        for name in absent
    )
    parts = [
        f"{what} ({count} kernel{'s' if count > 1 else ''})" for what, count in runtimes.items()
    ]
    said = f"Not run here: {', '.join(parts)}. " if parts else ""
    said += f"Failed: {', '.join(failed)}. " if failed else ""
    return f"{said}Why: in the report." if said else ""


def _warning_note(rows: pd.DataFrame) -> str:
    measured = rows[rows["status"] == "measured"]
    counts = measured["warnings"].str.split(SEPARATOR).explode().value_counts()
    known = [each for each in WARNINGS if each.name in counts]
    if not known:
        return ""
    told = ", ".join(f"{MARK}{each.letter} {each.name} {counts[each.name]}" for each in known)
    return f"Warnings, of {len(measured)} times: {told}. What to do: in the report."


def condition_table(results: Results) -> Table:
    """Return the conditions that the run was measured under."""
    run = results.run
    found = run.machine | run.versions
    found |= {"commit": run.revision, "started": run.started, "run": run.run_id}
    found |= {f"asked ({each.study})": each.command for each in results.studies}
    found |= ceiling_lines(run.ceilings)
    lines = [{"what": key, "value": str(value)} for key, value in found.items() if value]
    return Table.of("Conditions", lines)


def ceiling_lines(ceilings: Mapping[str, Any]) -> dict[str, str]:
    """Return the ceilings that a run keeps as a table shows them."""
    lines: dict[str, str] = {}
    for key in ceilings:
        device, threads = ("cuda", 0) if key == "cuda" else ("cpu", int(key))
        if limits := limits_of(ceilings, device, threads):
            lines |= _ceiling_lines(limits)
    return lines


def _ceiling_lines(limits: CpuLimits | CudaLimits) -> dict[str, str]:
    copies = ", ".join(f"{level} {rate:.0f}" for level, rate in limits.copy_gbs.items())
    if isinstance(limits, CudaLimits):
        return {
            "GPU: dense product": f"{limits.fp32_gflops:.0f} GFLOP/s in fp32, "
            f"{limits.tf32_gflops:.0f} in TF32, {limits.fp16_gflops:.0f} in fp16",
            "GPU: copy": f"{copies} GB/s",
            "GPU: empty kernel": f"{seconds(limits.launch_s)} on the device, "
            f"{seconds(limits.call_s)} for the host, {seconds(limits.replay_s)} in a graph",
            **{f"GPU: {name} not measured": reason for name, reason in limits.errors.items()},
        }
    prefix = f"{limits.threads} threads: "
    weak = limits.blas_gflops / limits.fma_gflops
    layer = f" ({limits.threading_layer})" if limits.threading_layer else ""
    return {
        f"{prefix}fp32 FMA": f"{limits.fma_gflops:.0f} GFLOP/s"
        f" ({limits.fma_one_gflops:.0f} on one thread)",
        f"{prefix}BLAS": f"{limits.blas_gflops:.0f} GFLOP/s, {weak:.0%} of the FMA rate",
        f"{prefix}copy": f"{copies} GB/s",
        f"{prefix}empty call": seconds(limits.call_s),
        f"{prefix}empty parallel loop": f"{seconds(limits.parallel_s)}{layer}",
    }
