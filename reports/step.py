"""What a training step takes, kernel by kernel: a table, and the figures for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from crossover.bench.intervals import median_interval
from crossover.bench.step import Pattern, StepTimes

_WEIGHTS: Mapping[Pattern, str] = {
    "trained": "trained and pruned",
    "initial": "untrained weights of which the largest stay",
    "random": "untrained weights of which a random choice stays",
}


def records(found: Sequence[StepTimes]) -> list[dict[str, Any]]:
    """Return a record per step and kernel, fastest first; times in seconds per step."""
    return [_record(times, name) for times in found for name in _by_time(times)]


def table(found: Sequence[StepTimes]) -> pd.DataFrame:
    """Return a line per step and kernel that was measured, fastest first."""
    lines = []
    for each in records(found):
        if each["status"] != "measured":
            continue
        lines.append(
            {
                "network": f"{each['model']}, {100 * each['sparsity']:g} %, {each['weights']}",
                "batch": f"{each['batch']}",
                "kernel": each["kernel"],
                "ms a step": f"{1e3 * each['seconds']:.3g}",
                "useful GFLOP/s": f"{each['useful_gflops']:.3g}",
                "× fastest masked dense": _shown(each["speedup"]),
                "passes and update alone": _shown(each["speedup_inside"]),
                "fastest masked dense": each["baseline"] or "",
            }
        )
    return pd.DataFrame(lines)


def title(found: Sequence[StepTimes]) -> str:
    """Return what was measured, in a line."""
    first = found[0]
    patterns = dict.fromkeys(times.pattern for times in found)
    weights = "; ".join(_WEIGHTS[pattern] for pattern in patterns)
    return f"One {first.optimizer} step of {first.model}, {weights}; {first.threads} threads"


def _shown(speedup: dict[str, float] | None) -> str:
    if speedup is None:
        return ""
    return f"{speedup['median']:.2f} [{speedup['low']:.2f}, {speedup['high']:.2f}]"


def _by_time(times: StepTimes) -> list[str]:
    """Return the kernels' names, fastest first; those without a time last."""
    measured = times.measured
    return sorted(
        times.outcomes,
        key=lambda n: float(np.median(measured[n].samples)) if n in measured else float("inf"),
    )


def _record(times: StepTimes, name: str) -> dict[str, Any]:
    outcome = times.outcomes[name]
    record: dict[str, Any] = {
        "model": times.model,
        "sparsity": times.sparsity,
        "weights": times.pattern,
        "optimizer": times.optimizer,
        "batch": times.batch,
        "threads": times.threads,
        "nnz": times.nnz,
        "kernel": name,
        "format": times.formats[name],
        "status": outcome.status,
        "reason": outcome.reason,
    }
    if outcome.status != "measured":
        return record
    interval = median_interval(outcome.samples)
    speedup, inside = times.speedup(name), times.speedup_inside(name)
    return record | {
        "seconds": interval.median,
        "seconds_low": interval.low,
        "seconds_high": interval.high,
        "useful_gflops": times.useful_flops / interval.median / 1e9,
        "baseline": times.baseline(name),
        "speedup": None if speedup is None else asdict(speedup),
        "speedup_inside": None if inside is None else asdict(inside),
        "prepare_s": outcome.prepare_s,
        "nbytes": outcome.nbytes,
        "share_of_bound": outcome.share_of_bound,
        "samples_s": outcome.samples,
        "inside_samples_s": outcome.inside_samples,
    }
