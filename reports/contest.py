"""What came of a contest with the peers: geometric means, worst cases, shares of the roofline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from crossover.bench.ceilings import Ceilings
from crossover.bench.peers import DENSE, PEERS, Match


def frame(matches: Sequence[Match], kernels: Iterable[str], ceilings: Ceilings) -> pd.DataFrame:
    """Return a row per match and kernel of ours: times, paired speedups, roofline fraction.

    ``over_peer`` and ``over_dense`` are medians over rounds of the paired ratio against the
    fastest sparse peer, and against the fastest dense kernel, of that match.
    """
    rows = []
    for match in matches:
        for kernel in kernels:
            if kernel not in match.samples:
                continue
            peer, over_peer = _over(match, kernel, PEERS)
            dense, over_dense = _over(match, kernel, DENSE)
            seconds = float(np.median(match.samples[kernel]))
            sides = 4 * (match.m + match.k) * match.n
            bound = ceilings.bound_s(2.0 * match.nnz * match.n, match.nbytes[kernel] + sides)
            rows.append(
                {
                    "group": match.group,
                    "name": match.name,
                    "pass": match.pass_,
                    "m": match.m,
                    "k": match.k,
                    "n": match.n,
                    "nnz": match.nnz,
                    "sparsity": 1 - match.nnz / (match.m * match.k),
                    "kernel": kernel,
                    "seconds": seconds,
                    "useful_gflops": 2.0 * match.nnz * match.n / seconds / 1e9,
                    "roofline": bound / seconds,
                    "peer": peer,
                    "over_peer": over_peer,
                    "dense": dense,
                    "over_dense": over_dense,
                }
            )
    return pd.DataFrame(rows)


def table(results: pd.DataFrame) -> pd.DataFrame:
    """Return a line per group, pass, batch and kernel."""
    lines = []
    keys = ["group", "pass", "n", "kernel"]
    for (group, pass_, n, kernel), part in results.groupby(keys, sort=True):
        against = part[part["over_peer"].notna()]
        worst = against.loc[against["over_peer"].idxmin()] if len(against) else None
        lines.append(
            {
                "matrices": group,
                "pass": pass_,
                "batch": f"{n}",
                "kernel": kernel,
                "cases": f"{len(part)}",
                "× best sparse peer": _times(_geometric(against["over_peer"])),
                "worst": "" if worst is None else _worst(worst),
                "× fastest dense": _times(_geometric(part["over_dense"].dropna())),
                "useful GFLOP/s": f"{part['useful_gflops'].median():.3g}",
                "of roofline": f"{part['roofline'].median():.0%}",
            }
        )
    return pd.DataFrame(lines)


def _over(match: Match, kernel: str, others: Sequence[str]) -> tuple[str, float]:
    """Return the fastest of ``others`` and how many times faster ``kernel`` is, or nothing."""
    there = [name for name in others if name in match.samples]
    if not there:
        return "", float("nan")
    fastest = min(there, key=lambda name: float(np.median(match.samples[name])))
    ratios = np.asarray(match.samples[fastest]) / np.asarray(match.samples[kernel])
    return fastest, float(np.median(ratios))


def _geometric(values: Any) -> float:
    return float(np.exp(np.log(values).mean())) if len(values) else float("nan")


def _times(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def _worst(row: Any) -> str:
    return f"{row['over_peer']:.2f} ({row['name']}; {row['peer']})"
