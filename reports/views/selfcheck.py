"""The self-check: whether measurements on this machine can be trusted.

An answer in JSON is a check: ``name``, ``holds_to``, ``found``, and ``verdict`` (passed, failed,
not decided, or not run).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

from crossover.bench.statistics.checks import checks
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import Table

_SIGNS = {"passed": "✓", "failed": "✗", "not decided": "?", "not run": "–"}
_TITLE = "Can measurements here be trusted?"


def section(results: Results) -> Section | None:
    """Return what the self-check found."""
    series = {name: results.series[name] for name in results.series_of("selfcheck")}
    if not series:
        return None
    found = checks(series, results.kernels)
    counts = Counter(each.verdict for each in found)
    rest = "".join(f"; {n} {verdict}" for verdict, n in counts.items() if verdict != "passed")
    sentences = [f"{counts['passed']} of {len(found)} checks passed{rest}."]
    lines = [
        {
            "check": e.name,
            "held to": e.holds_to,
            "found": e.found,
            "verdict": f"{_SIGNS[e.verdict]} {e.verdict}",
        }
        for e in found
    ]  # fmt: skip
    table = Table.of(_TITLE, lines)
    answers = [asdict(each) for each in found]
    parts = [Part(_TITLE, tables=[table])]
    return Section.of(results, "selfcheck", _TITLE, sentences, parts, answers, [table])
