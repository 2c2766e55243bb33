"""What several threads give over one: a table, a summary, and the figures for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from crossover.bench.intervals import Interval, paired_speedup
from crossover.bench.scaling import Scaled


def speedup(scaled: Scaled) -> Interval:
    """Return time on one thread / time on several, paired by visits."""
    return paired_speedup(scaled.visits[1], scaled.visits[scaled.threads])


def records(found: Sequence[Scaled]) -> list[dict[str, Any]]:
    """Return a record per kernel and problem; times in seconds per call."""
    return [_record(each) for each in found]


def table(found: Sequence[Scaled]) -> pd.DataFrame:
    """Return a line per kernel and problem that was measured, by size."""
    lines = []
    order = sorted(found, key=lambda each: (each.kernel, each.shape, each.pass_, each.n, -each.nnz))
    for each in order:
        if each.failure:
            continue
        m, k = each.shape
        one, several = (float(np.median(each.visits[t])) for t in (1, each.threads))
        over = speedup(each)
        lines.append(
            {
                "kernel": each.kernel,
                "shape (m × k)": f"{m} × {k}",
                "sparsity": f"{each.sparsity:.0%}",
                "pass": each.pass_,
                "batch": f"{each.n}",
                "µs on 1 thread": f"{1e6 * one:.3g}",
                f"µs on {each.threads}": f"{1e6 * several:.3g}",
                "× one thread": f"{over.median:.2f} [{over.low:.2f}, {over.high:.2f}]",
                "useful GFLOP/s": f"{_gflops(each, several):.3g}",
            }
        )
    return pd.DataFrame(lines)


def summary(found: Sequence[Scaled]) -> list[str]:
    """Return a line per kernel: the geometric mean, and the least with its problem."""
    lines = []
    for kernel in dict.fromkeys(each.kernel for each in found if not each.failure):
        ratios = {
            each.title: speedup(each).median
            for each in found
            if each.kernel == kernel and not each.failure
        }
        mean = float(np.exp(np.mean(np.log(list(ratios.values())))))
        least = min(ratios, key=lambda title: ratios[title])
        lines.append(
            f"{kernel}: {mean:.2f} times one thread (geometric mean of {len(ratios)}); "
            f"least {ratios[least]:.2f} ({least})"
        )
    return lines


def _gflops(scaled: Scaled, seconds: float) -> float:
    return 2.0 * scaled.nnz * scaled.n / seconds / 1e9


def _record(scaled: Scaled) -> dict[str, Any]:
    m, k = scaled.shape
    record: dict[str, Any] = {
        "kernel": scaled.kernel,
        "pass": scaled.pass_,
        "m": m,
        "k": k,
        "n": scaled.n,
        "nnz": scaled.nnz,
        "sparsity": scaled.sparsity,
        "threads": scaled.threads,
        "failure": scaled.failure,
    }
    if scaled.failure:
        return record
    one, several = scaled.visits[1], scaled.visits[scaled.threads]
    return record | {
        "seconds_one": float(np.median(one)),
        "seconds": float(np.median(several)),
        "useful_gflops": _gflops(scaled, float(np.median(several))),
        "speedup": asdict(speedup(scaled)),
        "visits_one_s": one,
        "visits_s": several,
    }
