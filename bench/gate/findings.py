"""From stored visits to a verdict on each quantity; computed again at any time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from crossover.bench.gate.measured import HEAD, Measured, measured
from crossover.bench.gate.quantities import Cell, Crossover
from crossover.bench.gate.statistics import (
    Estimate,
    Levels,
    between_process_std,
    estimates,
    interval,
)
from crossover.bench.gate.verdicts import (
    LEAST_VISITS,
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
from crossover.bench.records.rows import KernelRecord, Visit

#: What a crossover's figure means, said beside it.
_CROSSOVER_NOTE = "over the fastest dense kernel, on a drawn row-skewed pattern"
# Kernels that compile nothing differ by what a first call costs besides.
_SHORTEST_COMPILING_S = 0.1
_OVER_VISITS: tuple[Metric, ...] = ("time", "crossover", "conversion")


@dataclass(frozen=True)
class Key:
    """A quantity: of a cell, of a kernel (conversion, memory, compilation), or a crossover."""

    metric: Metric
    name: str
    digest: str = ""


def findings(
    first: Iterable[Visit], again: Iterable[Visit], kernels: Mapping[str, KernelRecord]
) -> list[Finding]:
    """Return the verdict on every quantity, from the visits of the first look and the second."""
    return judged(measured(first, kernels), measured(again, kernels))


def judged(first: Measured, again: Measured) -> list[Finding]:
    """Return the verdict on every quantity that was measured."""
    estimated = {metric: _estimated(first, metric) for metric in _OVER_VISITS}
    tests = sum(len(each) for each in estimated.values())
    found: list[Finding] = []
    for metric in _OVER_VISITS:
        policy, before = POLICIES[metric], _levels(first, metric)
        known = between_process_std(list(before.values()))
        confirmed = _estimated(again, metric, known)
        for key, estimate in estimated[metric].items():
            levels = (_levels(again, metric) if key in confirmed else before)[key]
            second = confirmed.get(key)
            verdict, note = decide(policy, estimate, second, tests)
            shown = _finding(policy, key, levels, second or estimate, verdict, note)
            found.append(replace(shown, digest=_digest(key, first)))
    found += _exact_findings(first, again)
    found += _not_crossed(first)
    failed = _failures(first, again)
    return [
        *(each for each in found if each.metric != "time" or each.name not in failed),
        *failed.values(),
        *(each for each in _unmatched(first) if each.name not in failed),
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


def enough(first: Measured) -> tuple[int, int]:
    """Return how many cells have visits enough for a verdict, of how many."""
    counts = [len(levels.visits) for levels in first.times.values()]
    return sum(count >= LEAST_VISITS for count in counts), len(counts)


def _levels(from_: Measured, metric: Metric) -> dict[Key, Levels]:
    """Return the levels of each quantity of a metric that is measured over visits."""
    if metric == "time":
        return {_key(metric, cell): levels for cell, levels in from_.times.items()}
    if metric == "crossover":
        crossed = from_.crossovers.items()
        return {_key(metric, each): levels for each, levels in crossed if levels.visits}
    return {Key(metric, kernel): levels for kernel, levels in from_.conversions.items()}


def _key(metric: Metric, of: Cell | Crossover) -> Key:
    return Key(metric, of.name, of.digest)


def _digest(key: Key, first: Measured) -> str:
    """Return the digest of a quantity's definition; a kernel's figures have that of a cell."""
    digests = [cell.digest for cell in first.work if cell.kernel == key.name]
    return key.digest or min(digests, default="")


def _estimated(from_: Measured, metric: Metric, known_std: float = 0.0) -> dict[Key, Estimate]:
    """Return the estimate of each quantity."""
    levels = _levels(from_, metric)
    if not levels:
        return {}
    least = max(known_std, POLICIES[metric].between_process_std)
    return dict(zip(levels, estimates(list(levels.values()), least), strict=True))


def _finding(
    policy: Policy, key: Key, levels: Levels, estimate: Estimate, verdict: Verdict, note: str
) -> Finding:
    columns = np.asarray([each[1:] for each in levels.visits])
    base = float(np.median(columns[:, :2].mean(axis=1)))
    head = float(np.median(columns[:, 2]))
    low, high = (policy.shown(end) for end in estimate.interval(SHOWN_CONFIDENCE))
    if key.metric == "crossover":
        ends = [*interval(columns[:, :2].mean(axis=1)), *interval(columns[:, 2])]
        moved = "from {:.1f}-{:.1f} % to {:.1f}-{:.1f} %".format(*(100 * end for end in ends))
        parts = [note, moved if verdict != "same" else "", _CROSSOVER_NOTE]
        note = "; ".join(part for part in parts if part)
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
    for each, levels in first.crossovers.items():
        if not levels.visits:
            note = f"base has none, or it is too noisy; {_CROSSOVER_NOTE}"
            yield Finding("crossover", each.name, each.digest, "ambiguous", note=note)


def _failures(first: Measured, again: Measured) -> dict[str, Finding]:
    """Return, by name, the cells in which a side computed nothing right, in whichever look.

    Where only base did, head cannot be compared with it: that is no fault of head's.
    """
    found: dict[str, Finding] = {}
    for cell, (side, reason) in [*first.failures.items(), *again.failures.items()]:
        verdict: Verdict = "wrong" if side == HEAD else "new"
        note = reason if side == HEAD else f"base: {reason}"
        if cell.name not in found or verdict == "wrong":
            found[cell.name] = Finding("time", cell.name, cell.digest, verdict, note=note)
    return found


def _unmatched(first: Measured) -> Iterator[Finding]:
    """Yield the cells that only one version has."""
    verdicts: dict[Verdict, set[Cell]] = {"new": first.new, "gone": first.gone}
    for verdict, cells in verdicts.items():
        for cell in sorted(cells, key=lambda each: each.name):
            yield Finding("time", cell.name, cell.digest, verdict)
