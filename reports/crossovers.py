"""Crossovers of measured rows: from which sparsity kernels beat their baselines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from crossover.bench.statistics.crossover import CrossoverEstimate, bracket
from crossover.reports import metrics
from crossover.reports.tables import interval_in, over_weak_baseline

#: What the points of a crossover share. Its pattern and scope they share, too, but for dense W.
AXES = (
    "network", "layer_index", "layer", "batch", "computes", "dtype", "threads", "caches", "device",
)  # fmt: skip
#: Stands for the fastest sparse kernel, which may be another one at each sparsity.
FASTEST = "fastest sparse"


@dataclass(frozen=True)
class Crossover:
    """Where a kernel crosses over the fastest dense one, on one layer in one setting."""

    #: A kernel's name, or :data:`FASTEST`.
    kernel: str
    #: The values of :data:`AXES`, and the pattern, scope and shape.
    place: dict[str, Any]
    estimate: CrossoverEstimate
    #: The highest sparsity, the speedup there, and the kernel that reaches it.
    top_sparsity: float
    top_speedup: float
    top_kernel: str
    #: Every baseline that was the fastest at some sparsity.
    baselines: tuple[str, ...]
    #: Sparsities at which that baseline was a weak one.
    weak_baseline_at: tuple[float, ...]

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        estimate = asdict(self.estimate) | {"text": str(self.estimate)}
        content = asdict(self)
        return {**content.pop("place"), **content, "estimate": estimate}


def crossovers(rows: pd.DataFrame) -> list[Crossover]:
    """Return the crossover of the fastest sparse kernel, then of each, per layer and setting.

    ``rows`` are those of :func:`metrics.measured`. Where an operand leaves nothing out of W, or
    never met its baseline, a kernel has no point.
    """
    if rows.empty:
        return []
    axes = list(AXES)
    points = rows[rows["sparse"].astype(bool) & rows["speedup"].notna()]
    best = metrics.fastest_sparse(rows).groupby(axes, sort=False)
    each = points.groupby([*axes, "kernel"], sort=False)
    groups = [(FASTEST, group) for _, group in best] + [(key[-1], group) for key, group in each]
    return [_crossover(kernel, part) for kernel, group in groups for part in _by_pattern(group)]


def _by_pattern(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows of each pattern and scope of zeros; dense weights belong to each."""
    is_dense = rows["pattern"] == "dense"
    patterns = rows[~is_dense].groupby(["pattern", "scope"], sort=False)
    return [pd.concat([rows[is_dense], group]) for _, group in patterns] or [rows]


def _crossover(kernel: str, points: pd.DataFrame) -> Crossover:
    ordered = points.sort_values("sparsity", kind="stable").to_dict("records")
    top = ordered[-1]
    return Crossover(
        kernel=kernel,
        place={name: top[name] for name in (*AXES, "pattern", "scope", "m", "k")},
        estimate=bracket([(row["sparsity"], interval_in(row, "speedup")) for row in ordered]),
        top_sparsity=top["sparsity"],
        top_speedup=top["speedup"],
        top_kernel=top["kernel"],
        baselines=tuple(dict.fromkeys(row["baseline"] for row in ordered)),
        weak_baseline_at=tuple(row["sparsity"] for row in ordered if over_weak_baseline(row)),
    )
