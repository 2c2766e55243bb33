"""What a gate found, for people: a table, one sentence, and Markdown for a pull request."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import pandas as pd

from crossover.bench.gate.comparison import Comparison, latest
from crossover.bench.gate.verdicts import POLICIES, VERDICTS, Finding
from crossover.reports import tables
from crossover.reports.results import Results
from crossover.reports.sections import Section
from crossover.reports.tables import Table

_TITLE = "One version against another"

# In the order of urgency.
_ORDER = ("wrong", "slower", "ambiguous", "faster", "new", "gone", "same")
_MARKS = {"wrong": "❌", "slower": "❌", "ambiguous": "❔", "faster": "✅", "same": "✅"}
_MARKDOWN_ROWS = 20


def section(results: Results) -> Section | None:
    """Return what the gate found when it was asked last.

    An answer in JSON is a finding: ``metric``, ``name``, ``verdict``, the figures of ``base`` and
    ``head`` (seconds, bytes or sparsity), their ``change`` with its interval, and a ``note``.
    """
    found = latest(results.run, results.series, results.kernels, results.asked("gate"))
    if found is None:
        return None
    outcome = sentence(found)
    shown = Table(_TITLE, table(found), terminal=True)
    answers = [asdict(each) for each in ordered(found)]
    return Section.of(results, "gate", _TITLE, [f"{outcome}."], [shown], answers)


def ordered(found: Comparison) -> list[Finding]:
    """Return the findings, the most urgent first."""
    return sorted(found.findings, key=lambda each: _ORDER.index(each.verdict))


def table(found: Comparison) -> pd.DataFrame:
    """Return a line per quantity."""
    return pd.DataFrame([_line(each) for each in ordered(found)])


def sentence(found: Comparison) -> str:
    """Return the outcome in one sentence."""
    counted = Counter(each.verdict for each in found.findings)
    counts = ", ".join(f"{counted[v]} {v}" for v in VERDICTS if counted[v])
    if counted["wrong"]:
        outcome = "a wrong result"
    elif counted["slower"]:
        outcome = "a confirmed regression"
    else:
        outcome = "no confirmed regression"
    return (
        f"{outcome}: {found.head.title} against {found.base.title}: {counts}; "
        f"{found.measuring_s:.0f} s of measuring in {found.processes} processes"
    )


def markdown(found: Comparison) -> str:
    """Return a summary for a comment on a pull request: what matters open, the rest folded."""
    lines = [_line(each) for each in ordered(found)]
    open_ = [each for each in lines if each["verdict"] not in ("same", "new", "gone")]
    parts = [
        f"### Crossover gate: {sentence(found).split(':')[0]}",
        f"`{found.head.title}` against `{found.base.title}`, measured in turns in one job "
        f"({found.threads} threads, {found.measuring_s:.0f} s).",
        _pipes(open_[:_MARKDOWN_ROWS]) if open_ else "Every quantity that was compared is `same`.",
        f"<details><summary>all {len(lines)} quantities</summary>\n\n{_pipes(lines)}\n</details>",
        _legend(),
    ]
    return "\n\n".join(parts) + "\n"


def change(finding: Finding) -> str:
    """Return a finding's change with its interval, as people read it."""
    if finding.change is None:
        return ""
    points = finding.metric == "crossover"
    value, low, high = (
        "" if each is None else f"{100 * each:+.1f}"
        for each in (finding.change, finding.low, finding.high)
    )
    unit = "points" if points else "%"
    return f"{value} {unit}" if not low else f"{value} [{low}, {high}] {unit}"


def level(finding: Finding, value: float | None) -> str:
    """Return a figure of one version in its unit."""
    if value is None:
        return ""
    if finding.metric == "memory":
        return f"{value:,.0f} B"
    if finding.metric == "crossover":
        return f"{100 * value:.1f} %"
    if value >= 1:
        return f"{value:.2f} s"
    return f"{value * 1e3:.1f} ms" if value >= 0.01 else f"{value * 1e6:.1f} µs"


def _line(finding: Finding) -> dict[str, str]:
    control = "" if finding.control is None else f"{100 * finding.control:+.1f}"
    return {
        "verdict": finding.verdict,
        "what": POLICIES[finding.metric].title,
        "of": finding.name,
        "change (95 %)": change(finding),
        "base": level(finding, finding.base),
        "head": level(finding, finding.head),
        "A/A control": control,
        "visits": str(finding.visits or ""),
        "note": finding.note,
    }


def _pipes(lines: list[dict[str, str]]) -> str:
    """Return a table of GitHub's Markdown."""
    marked = [
        {**line, "verdict": f"{_MARKS.get(line['verdict'], '')} {line['verdict']}".strip()}
        for line in lines
    ]
    return tables.markdown(pd.DataFrame(marked))


def _legend() -> str:
    limits = "; ".join(
        f"{policy.title} {100 * policy.threshold:g} {'%' if policy.relative else 'points'}"
        for policy in POLICIES.values()
    )
    return (
        "A regression is measured twice, in fresh processes, with a quiet A/A control, and at "
        f"least: {limits}. `ambiguous`: neither confirmed nor excluded."
    )
