"""A planned network under several callers: how long each waits, and how many inputs a second.

An answer in JSON is an engine at a batch and number of callers: ``network``, ``batch``,
``callers``, ``engine``, ``p50_s`` and ``p99_s`` (medians over rounds; None for one caller),
``time_s`` an answer of all callers together, ``inputs_per_s``, and ``speedup``: its throughput over
that of the fastest all-dense library, with its interval; ``warnings``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from crossover.bench.statistics.comparison import Measurement, Pair, speedups
from crossover.bench.statistics.intervals import Interval
from crossover.bench.statistics.small import median
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import Table, interval, marked, seconds

_TITLE = "Served to several callers"
_STUDY = "serve-check"


@dataclass(frozen=True)
class Served:
    """An engine at a batch, with so many callers."""

    measurement: Measurement
    callers: int
    speedup: Interval
    warnings: tuple[str, ...]

    @property
    def inputs_per_s(self) -> float:
        """Return how many inputs it answers a second, of all callers."""
        return self.measurement.problem.batch / self.measurement.time_s

    def wait_s(self, share: str) -> float:
        """Return the wait (``p50`` or ``p99``), the median over rounds; NaN if not seen."""
        rounds = [
            wait for row in self.measurement.rows for wait in getattr(row, f"{share}_samples")
        ]
        return median(rounds) if rounds else math.nan


def section(results: Results) -> Section | None:
    """Return what callers wait for."""
    if not results.visits_of(_STUDY):
        return None
    found = _served(results)
    table = Table.of(_TITLE, [_line(each) for each in found])
    answers = [_answer(each) for each in found]
    parts = [Part(_TITLE, tables=[table])]
    return Section.of(results, _STUDY, _TITLE, _sentences(found), parts, answers, [table])


def _served(results: Results) -> list[Served]:
    contests = [c for name in results.series_of(_STUDY) for c in results.contests_of(name)]
    pairs = [
        Pair(each, contest.baseline(each))
        for contest in contests
        for each in contest.measurements.values()
    ]
    found = [
        Served(
            pair.candidate,
            int(pair.candidate.problem.recipe["weights"]["callers"]),
            Interval(1.0, 1.0, 1.0) if pair.baseline is pair.candidate else speedup,
            results.warnings_of(pair.candidate),
        )
        for pair, speedup in zip(pairs, speedups(pairs), strict=True)
    ]
    return sorted(found, key=lambda e: (e.callers, e.measurement.problem.batch))


def _sentences(found: Sequence[Served]) -> list[str]:
    ours = [each for each in found if each.measurement.kernel.role == "ours"]
    if not ours:
        return ["No planned network was served."]
    told = [
        f"batch {e.measurement.problem.batch}: {marked(f'{interval(e.speedup)} ×', e.warnings)} "
        f"the inputs a second of all dense"
        + ("" if math.isnan(e.wait_s("p99")) else f", 99 of 100 within {seconds(e.wait_s('p99'))}")
        for e in ours
        if e.callers == max(each.callers for each in ours)
    ]
    it = ours[-1]
    return [f"{it.measurement.problem.network}, {it.callers} callers at a time: {'; '.join(told)}."]


def _line(each: Served) -> dict[str, str]:
    return {
        "network": each.measurement.problem.network,
        "callers": str(each.callers),
        "batch": str(each.measurement.problem.batch),
        "by": each.measurement.kernel.name,
        "half within": seconds(each.wait_s("p50")),
        "99 of 100 within": seconds(each.wait_s("p99")),
        "inputs a second": f"{each.inputs_per_s:,.0f}",
        "× all dense (95 %)": marked(interval(each.speedup), each.warnings),
    }


def _answer(each: Served) -> dict[str, Any]:
    it = each.measurement.problem
    return {
        "network": it.network,
        "batch": it.batch,
        "callers": each.callers,
        "engine": each.measurement.kernel.name,
        "p50_s": each.wait_s("p50"),
        "p99_s": each.wait_s("p99"),
        "time_s": each.measurement.time_s,
        "inputs_per_s": each.inputs_per_s,
        "speedup": asdict(each.speedup),
        "warnings": list(each.warnings),
    }
