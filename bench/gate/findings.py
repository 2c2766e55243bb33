"""From stored visits to a verdict on each quantity; computed again at any time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from crossover.bench.gate.crossovers import Crossing
from crossover.bench.gate.faults import fault_findings
from crossover.bench.gate.measured import Measured
from crossover.bench.gate.quantities import BASE, HEAD, Cell, Crossover
from crossover.bench.gate.statistics import (
    Estimate,
    Levels,
    estimates,
)
from crossover.bench.gate.verdicts import (
    POLICIES,
    SHOWN_CONFIDENCE,
    Finding,
    Metric,
    Policy,
    Verdict,
    compared,
    decide,
)
from crossover.bench.gate.verdicts import flagged as is_flagged

# Kernels that compile nothing differ by what a first call costs besides.
_SHORTEST_COMPILING_S = 0.1
_OVER_VISITS: tuple[Metric, ...] = ("time", "crossover", "conversion")


@dataclass(frozen=True)
class Key:
    """A quantity: of a cell, of a kernel (conversion, memory, compilation), or a crossover."""

    metric: Metric
    name: str
    digest: str = ""


def judged(first: Measured, again: Measured) -> list[Finding]:
    """Return the verdict on every quantity that was measured."""
    estimated = {metric: _estimated(first, metric) for metric in _OVER_VISITS}
    confirmed = {
        metric: _estimated(again, metric, _levels(first, metric)) for metric in _OVER_VISITS
    }
    # The second look is other visits: it tests what was flagged, whatever else was looked at.
    tests = sum(len(each) for each in confirmed.values())
    crossings = {
        _key("crossover", each): crossing
        for look in (first, again)
        for each, crossing in look.crossings.items()
        if crossing.brackets
    }
    found: list[Finding] = []
    for metric in _OVER_VISITS:
        policy, levels = POLICIES[metric], _levels(first, metric) | _levels(again, metric)
        for key, estimate in estimated[metric].items():
            second = confirmed[metric].get(key)
            verdict, note = decide(policy, estimate, second, tests)
            shown = _finding(policy, key, levels[key], second or estimate, verdict, note)
            if metric == "crossover":
                shown = _bracketed(shown, crossings[key])
            found.append(replace(shown, digest=_digest(key, first)))
    found += _exact_findings(first, again)
    found += _not_crossed(first)
    faults = fault_findings(first, again)
    return [
        *(each for each in found if each.metric != "time" or each.name not in faults),
        *faults.values(),
        *(each for each in _unmatched(first) if each.name not in faults),
    ]


def flagged(first: Measured) -> set[Key]:
    """Return what is to be measured again."""
    found = {
        key
        for metric in _OVER_VISITS
        for key, estimate in _estimated(first, metric).items()
        if is_flagged(POLICIES[metric], estimate)
    }
    for name, pair in first.compilations.items():
        if compared(POLICIES["compilation"], *pair)[0] in ("slower", "faster"):
            found.add(Key("compilation", name))
    return found


def undecided(first: Measured, flagged_: set[Key]) -> set[Cell]:
    """Return the cells that more visits of the first look could show to be the same."""
    found = {
        key
        for key, estimate in _estimated(first, "time").items()
        if key not in flagged_ and decide(POLICIES["time"], estimate, None, 1)[0] == "ambiguous"
    }
    return {cell for cell in first.times if _key("time", cell) in found}


def _levels(from_: Measured, metric: Metric) -> dict[Key, Levels]:
    """Return the levels of each quantity of a metric that is measured over visits."""
    if metric == "time":
        return {_key(metric, cell): levels for cell, levels in from_.times.items()}
    if metric == "crossover":
        crossed = from_.crossings.items()
        return {_key(metric, each): found.levels for each, found in crossed if found.levels.visits}
    return {Key(metric, kernel): levels for kernel, levels in from_.conversions.items()}


def _key(metric: Metric, of: Cell | Crossover) -> Key:
    return Key(metric, of.name, of.digest)


def _digest(key: Key, first: Measured) -> str:
    """Return the digest of a quantity's definition; a kernel's figures have that of a cell."""
    digests = [cell.digest for cell in first.work if cell.kernel == key.name]
    return key.digest or min(digests, default="")


def _estimated(
    from_: Measured, metric: Metric, before: Mapping[Key, Levels] | None = None
) -> dict[Key, Estimate]:
    """Return the estimate of each quantity; an earlier look knows how processes scatter, too."""
    return estimates(_levels(from_, metric), POLICIES[metric].between_process_std, before)


def _finding(
    policy: Policy, key: Key, levels: Levels, estimate: Estimate, verdict: Verdict, note: str
) -> Finding:
    columns = np.asarray([each[1:] for each in levels.visits])
    base = float(np.median(columns[:, :2].mean(axis=1)))
    head = float(np.median(columns[:, 2]))
    low, high = (
        policy.shown(end) if estimate.freedom else None
        for end in estimate.interval(SHOWN_CONFIDENCE)
    )
    return Finding(
        key.metric,
        key.name,
        key.digest,
        verdict,
        float(np.exp(base)) if policy.relative else base,
        float(np.exp(head)) if policy.relative else head,
        policy.shown(estimate.value),
        low,
        high,
        policy.shown(estimate.control),
        estimate.visits,
        note,
    )


def _bracketed(finding: Finding, crossing: Crossing) -> Finding:
    """Return a crossover's finding with the brackets that it has by definition.

    Where a line through the speedups leaves the bracket, or there are several, nothing is claimed.
    """
    said, agrees = [finding.note] if finding.note else [], True
    for side, value in ((BASE, finding.base), (HEAD, finding.head)):
        bracket = crossing.brackets[side]
        said.append(f"{side} {bracket.estimate} over {' or '.join(bracket.baselines)}")
        agrees &= value is not None and bracket.holds(value, POLICIES["crossover"].same)
    verdict = finding.verdict
    if not agrees:
        verdict = "ambiguous"
        said.insert(0, "a line through the speedups does not describe them")
    return replace(finding, verdict=verdict, note="; ".join(said))


def _exact_findings(first: Measured, again: Measured) -> Iterator[Finding]:
    """Yield the verdicts on operand bytes, and on compiling: only if both looks agree."""
    for kernel, (base, head) in first.memory.items():
        verdict, change = compared(POLICIES["memory"], base, head)
        digest = _digest(Key("memory", kernel), first)
        yield Finding("memory", kernel, digest, verdict, base, head, change)
    policy = POLICIES["compilation"]
    for kernel, (base, head) in first.compilations.items():
        verdict, change = compared(policy, base, head)
        note = ""
        if verdict in ("slower", "faster"):
            second = again.compilations.get(kernel)
            if second is None or compared(policy, *second)[0] != verdict:
                verdict, note = "ambiguous", "not confirmed"
        if max(base, head) >= _SHORTEST_COMPILING_S:
            digest = _digest(Key("compilation", kernel), first)
            yield Finding("compilation", kernel, digest, verdict, base, head, change, note=note)


def _not_crossed(first: Measured) -> Iterator[Finding]:
    """Yield the crossovers that base does not have, or that no line could be laid through."""
    for each, crossing in first.crossings.items():
        if not crossing.levels.visits:
            note = "base has none, or it is too noisy"
            yield Finding("crossover", each.name, each.digest, "ambiguous", note=note)


def _unmatched(first: Measured) -> Iterator[Finding]:
    """Yield the cells that only one version has."""
    verdicts: dict[Verdict, set[Cell]] = {"new": first.new, "gone": first.gone}
    for verdict, cells in verdicts.items():
        for cell in sorted(cells, key=lambda each: each.name):
            yield Finding("time", cell.name, cell.digest, verdict)
