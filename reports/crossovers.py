"""Crossovers of measured rows: from which sparsity kernels beat their baselines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from crossover.bench.statistics.crossover import CrossoverEstimate, bracket, from_signs
from crossover.bench.statistics.networks import UNPRUNED
from crossover.bench.statistics.search_answers import FASTEST, SearchAnswer
from crossover.reports import metrics
from crossover.reports.tables import interval_in

#: What the points of a crossover share. Its pattern and scope they share, too, but for dense W.
AXES = (
    "network", "layer_index", "layer", "batch", "computes", "dtype", "threads", "caches", "device",
)  # fmt: skip
_READ = (
    *AXES, "pattern", "scope", "m", "k", "sparsity", "kernel", "baseline", "speedup_low", "speedup",
    "speedup_high", "warnings", "baseline_warnings",
)  # fmt: skip
# In JSON: its parts stand beside it, or it is a guess.
_NOT_SHOWN = {"place", "by_medians"}
#: What is read of a row: the columns above.
Point = Mapping[str, Any]


@dataclass(frozen=True)
class Crossover:
    """Where a kernel crosses over the fastest dense one, on one layer in one setting."""

    #: A kernel's name, or :data:`FASTEST`.
    kernel: str
    #: The values of :data:`AXES`, and the pattern, scope and shape.
    place: dict[str, Any]
    estimate: CrossoverEstimate
    #: What the medians alone would say, whatever their intervals.
    by_medians: CrossoverEstimate
    #: The highest sparsity, the speedup there, and the kernel that reaches it.
    top_sparsity: float
    top_speedup: float
    top_kernel: str
    #: Every baseline that was the fastest at some sparsity.
    baselines: tuple[str, ...]
    #: About the times that decide it: at both ends of the bracket, or at every sparsity.
    warnings: tuple[str, ...]
    top_warnings: tuple[str, ...]
    #: Whether it was searched for between the sparsities of the grid, and whether later visits then
    #: bore it out.
    searched: bool = False
    confirmed: bool = False

    @property
    def text(self) -> str:
        """Return the answer as a table shows it."""
        if self.searched:
            return f"{self.estimate}" if self.confirmed else f"{self.estimate}, not confirmed"
        return f"{self.estimate}"

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        estimate = asdict(self.estimate) | {"text": str(self.estimate)}
        content = {name: value for name, value in vars(self).items() if name not in _NOT_SHOWN}
        return {**self.place, **content, "estimate": estimate}


def crossovers(rows: pd.DataFrame) -> list[Crossover]:
    """Return the crossover of the fastest sparse kernel, then of each, per layer and setting.

    ``rows`` are those of :func:`metrics.measured`. Where an operand leaves nothing out of W, or
    never met its baseline, a kernel has no point.
    """
    if rows.empty:
        return []
    points = rows[rows["sparse"].astype(bool) & rows["speedup"].notna()]
    groups: dict[tuple[Any, ...], list[Point]] = {}
    for row in _records(metrics.fastest_sparse(rows)):
        groups.setdefault((FASTEST, *(row[name] for name in AXES)), []).append(row)
    for row in _records(points):
        key = row["kernel"], *(row[name] for name in AXES)
        groups.setdefault(key, []).append(row)
    return [_crossover(key[0], part) for key, group in groups.items() for part in _split(group)]


def _records(rows: pd.DataFrame) -> Iterator[Point]:
    """Yield rows as mappings of what a crossover is read off."""
    columns = [rows[name].tolist() for name in _READ]
    for values in zip(*columns, strict=True):
        yield dict(zip(_READ, values, strict=True))


def narrowed(
    found: Iterable[Crossover], searched: Iterable[tuple[SearchAnswer, Sequence[str]]]
) -> list[Crossover]:
    """Return the crossovers of the fastest sparse kernel, those that were searched for as found.

    Each answer of a search comes with the warnings about it. A search prunes the layer alone: the
    pattern is that of the search.
    """
    by_place = {
        _asked(vars(answer.problem)): (answer, warnings)
        for answer, warnings in searched
        if answer.problem is not None and answer.begun and not answer.failure
    }
    return [
        _narrowed(each, *by_place[place]) if (place := _asked(each.place)) in by_place else each
        for each in found
    ]


def _asked(place: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(place[name] for name in AXES if name != "device")


def _narrowed(found: Crossover, answer: SearchAnswer, warnings: Sequence[str]) -> Crossover:
    if found.place["device"] != answer.device:
        return found
    assert answer.problem is not None
    return replace(
        found,
        place=found.place | {"pattern": answer.problem.pattern, "scope": answer.problem.scope},
        estimate=answer.search.estimate(),
        baselines=answer.baselines,
        warnings=tuple(warnings),
        searched=True,
        confirmed=answer.search.confirmed,
    )


def _split(points: Sequence[Point]) -> list[list[Point]]:
    """Return the points of each pattern and scope of zeros; what we did not prune is in each."""
    dense = [row for row in points if row["pattern"] in UNPRUNED]
    by_pattern: dict[tuple[str, str], list[Point]] = {}
    for row in points:
        if row["pattern"] not in UNPRUNED:
            by_pattern.setdefault((row["pattern"], row["scope"]), []).append(row)
    return [dense + group for group in by_pattern.values()] or [list(points)]


def _crossover(kernel: str, points: Sequence[Point]) -> Crossover:
    ordered = sorted(points, key=lambda row: row["sparsity"])
    top = ordered[-1]
    estimate = bracket([(row["sparsity"], interval_in(row, "speedup")) for row in ordered])
    ends = (estimate.low, estimate.high)
    deciding = [row for row in ordered if estimate.kind != "between" or row["sparsity"] in ends]
    return Crossover(
        kernel=kernel,
        place={name: top[name] for name in (*AXES, "pattern", "scope", "m", "k")},
        estimate=estimate,
        by_medians=from_signs([(row["sparsity"], row["speedup"] > 1) for row in ordered]),
        top_sparsity=top["sparsity"],
        top_speedup=top["speedup"],
        top_kernel=top["kernel"],
        baselines=tuple(dict.fromkeys(row["baseline"] for row in ordered)),
        warnings=metrics.warnings_in(deciding),
        top_warnings=metrics.warnings_in([top]),
    )
