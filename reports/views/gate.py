"""What a gate found, for people: a table, one sentence, and Markdown for a pull request."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from functools import partial

import pandas as pd

from crossover.bench.gate.comparison import Comparison, latest
from crossover.bench.gate.verdicts import POLICIES, VERDICTS, Finding
from crossover.reports import tables
from crossover.reports.foreign import markdown_text
from crossover.reports.plots import forest
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.forest import Scale
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import Table

_TITLE = "One version against another"

# In the order of urgency.
_ORDER = ("wrong", "slower", "failed", "ambiguous", "faster", "new", "gone", "same")
_MARKS = {
    "wrong": "❌", "slower": "❌", "failed": "❌", "ambiguous": "❔", "faster": "✅", "same": "✅",
}  # fmt: skip
#: Of what only one side has, and of no change, nothing is to be read first.
_FOLDED = "same", "new", "gone"
_MARKDOWN_ROWS = 20
_BRIEF = 10
#: Colour and marker by verdict: its shape says it without colour.
_LOOKS = {
    "slower": ("#cf2a1a", ">"), "faster": ("#4ba45d", "<"), "ambiguous": ("#cd810f", "D"),
    "same": ("#84939c", "o"),
}  # fmt: skip


def section(results: Results) -> Section | None:
    """Return what the gate found when it was asked last.

    An answer in JSON is a finding: ``metric``, ``name``, ``verdict``, the figures of ``base`` and
    ``head`` (seconds, bytes or sparsity), their ``change`` with its interval, a ``note``, and
    ``environment``: what a version declares to need and did not have (empty: it had all).
    """
    found = latest(results.run, results.series, results.kernels, results.asked("gate"))
    if found is None:
        return None
    shown = Table(_TITLE, table(found))
    urgent = Table(_TITLE, _urgent(found))
    answers = [asdict(each) | {"environment": found.environment} for each in ordered(found)]
    sentences = [f"{sentence(found)}.", f"{libraries(found)}."]
    parts = [Part(_TITLE, plots=_plots(found), tables=[shown])]
    return Section.of(results, "gate", _TITLE, sentences, parts, answers, [urgent])


def _urgent(found: Comparison) -> pd.DataFrame:
    """Return the lines to be read first, why a verdict fell as it did beside it."""
    lines = table(found)
    chosen = lines[~lines["verdict"].isin(_FOLDED)]
    first = ["verdict", "of", "change (95 %)", "note"]
    columns = [*first, *lines.columns.difference(first, sort=False)]
    return (chosen if len(chosen) else lines)[columns].head(_BRIEF)


def _plots(found: Comparison) -> list[Plot]:
    """Return a plot per metric: changes with their intervals, and what counts as one."""
    plots = []
    for metric, policy in POLICIES.items():
        lines = [
            {"label": each.name, "value": 100 * each.change, "low": _percent(each.low),
             "high": _percent(each.high), "kind": each.verdict,
             "colour": _LOOKS[each.verdict][0], "marker": _LOOKS[each.verdict][1]}
            for each in ordered(found)
            if each.metric == metric and each.change is not None and each.verdict in _LOOKS
        ]  # fmt: skip
        if not lines:
            continue
        data = pd.DataFrame(lines)
        unit = "%" if policy.relative else "points"
        at = 100 * policy.threshold
        scale = Scale(f"change of the {policy.title}, {unit}", lambda value: f"{value:+g}",
                      marks=((0.0, ""), (at, "slower")))  # fmt: skip
        title = f"{found.head.title} against {found.base.title}: {policy.title}"
        file = file_name("gate", metric)
        counts = ", ".join(f"{n} {verdict}" for verdict, n in Counter(data["kind"]).items())
        drawn = partial(forest.draw, data, title, scale)
        plots.append(Plot(title, file, drawn, data, f"{title}. {counts}."))
    return plots


def _percent(value: float | None) -> float:
    return float("nan") if value is None else 100 * value


def ordered(found: Comparison) -> list[Finding]:
    """Return the findings, the most urgent first."""
    return sorted(found.findings, key=lambda each: _ORDER.index(each.verdict))


def table(found: Comparison) -> pd.DataFrame:
    """Return a line per quantity."""
    return pd.DataFrame(_lines(found))


def libraries(found: Comparison) -> str:
    """Return under which libraries both versions ran, and what either needs besides."""
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    missing = f", which is not what they declare to need ({found.environment})"
    return f"Both ran in one process, under {versions}{missing if found.environment else ''}"


def sentence(found: Comparison) -> str:
    """Return the outcome in one sentence."""
    counted = Counter(each.verdict for each in found.findings)
    counts = ", ".join(f"{counted[v]} {v}" for v in VERDICTS if counted[v])
    return (
        f"{outcome(found)}: {found.head.title} against {found.base.title}: {counts}; "
        f"{found.coverage}; {found.measuring_s:.0f} s of measuring in {found.processes} processes"
    )


def outcome(found: Comparison) -> str:
    """Return the outcome in a few words."""
    if found.wrong:
        return "a wrong result"
    if found.regressed:
        return "a confirmed regression"
    return "no confirmed regression" if found.coverage.enough else "not compared"


def markdown(found: Comparison) -> str:
    """Return a summary for a comment on a pull request: what matters open, the rest folded."""
    lines = _lines(found)
    open_ = [each for each in lines if each["verdict"] not in _FOLDED]
    head, base = (markdown_text(version.title) for version in (found.head, found.base))
    parts = [
        f"### Crossover gate: {outcome(found)}",
        f"{head} against {base}, raced in one job ({found.threads} threads, "
        f"{found.measuring_s:.0f} s): {found.coverage}. {markdown_text(libraries(found))}.",
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


def _lines(found: Comparison) -> list[dict[str, str]]:
    """Return a line per quantity; what a version lacked stands beside every verdict."""
    lacking = {"environment": found.environment} if found.environment else {}
    return [_line(each) | lacking for each in ordered(found)]


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
        f"least: {limits}. `ambiguous`: neither confirmed nor excluded. `failed`: raised, crashed "
        "or stalled, and again in a fresh process; a regression where base never did."
    )
