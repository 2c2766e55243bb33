"""From what was measured to a verdict on each quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from crossover.bench.gate.crossings import Crossed
from crossover.bench.gate.matching import Checked, Shared
from crossover.bench.gate.preset import Cell
from crossover.bench.gate.statistics import Estimate, Levels, estimates, interval, process_luck
from crossover.bench.gate.trio import Role, TurnError
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
from crossover.bench.gate.verdicts import (
    flagged as is_flagged,
)


@dataclass(frozen=True)
class Key:
    """A quantity: of a cell, of a kernel (conversion, memory, compilation), or a crossover."""

    metric: Metric
    name: str

    def of(self, cell: Cell) -> bool:
        """Return whether it is measured by the rounds of ``cell``."""
        return self.name in (cell.name, cell.kernel)


@dataclass
class Measured:
    """What was measured of both versions, in one look."""

    times: dict[Cell, Levels] = field(default_factory=dict)
    conversions: dict[Cell, Levels] = field(default_factory=dict)
    crossed: list[Crossed] = field(default_factory=list)
    checks: dict[Cell, dict[Role, Checked]] = field(default_factory=dict)
    failures: dict[Cell, TurnError] = field(default_factory=dict)
    #: Cells whose operands the versions drew differently.
    incomparable: set[Cell] = field(default_factory=set)

    def usable(self, cell: Cell) -> bool:
        """Return whether the cell can be timed."""
        return cell not in self.failures and cell not in self.incomparable

    def levels(self, metric: Metric) -> dict[Key, Levels]:
        """Return the rounds of each quantity of a metric that has rounds."""
        if metric == "crossover":
            return {
                Key(metric, each.crossing.name): each.levels
                for each in self.crossed
                if each.levels.rounds
            }
        if metric == "time":
            return {Key(metric, c.name): v for c, v in self.times.items() if self.usable(c)}
        # W is converted alike for every pass and batch, so a kernel's cells say the same.
        found: dict[Key, Levels] = {}
        for cell, levels in self.conversions.items():
            together = found.setdefault(Key(metric, cell.kernel), Levels())
            together.rounds.extend(levels.rounds)
        return found

    def exact(self, metric: Metric) -> dict[Key, tuple[float, float]]:
        """Return (base, head) of each kernel: bytes of its operand, or seconds of compiling."""
        found: dict[Key, tuple[float, float]] = {}
        for cell, checks in self.checks.items():
            if "head" not in checks or "base" not in checks:
                continue
            key = Key(metric, cell.kernel)
            base, head = checks["base"], checks["head"]
            if metric == "memory":
                found.setdefault(key, (float(base.nbytes), float(head.nbytes)))
            else:
                before = found.get(key, (0.0, 0.0))
                found[key] = (before[0] + base.compile_s, before[1] + head.compile_s)
        return found


# Kernels that compile nothing differ by what a first call costs besides.
_SHORTEST_COMPILING_S = 0.1
_WITH_ROUNDS: tuple[Metric, ...] = ("time", "crossover", "conversion")


def flagged(first: Measured) -> dict[Key, Estimate | None]:
    """Return what is to be measured again."""
    found: dict[Key, Estimate | None] = {}
    for metric in _WITH_ROUNDS:
        policy = POLICIES[metric]
        estimated = _estimated(first, metric).items()
        found |= {key: estimate for key, estimate in estimated if is_flagged(policy, estimate)}
    for key, pair in first.exact("compilation").items():
        if compared(POLICIES["compilation"], *pair)[0] in ("slower", "faster"):
            found[key] = None
    return found


def collect(shared: Shared, first: Measured, again: Measured) -> list[Finding]:
    """Return the verdict on every quantity of both versions."""
    estimated = {metric: _estimated(first, metric) for metric in _WITH_ROUNDS}
    tests = sum(len(each) for each in estimated.values())
    digests = _digests(shared)
    found: list[Finding] = []
    for metric in _WITH_ROUNDS:
        luck = process_luck(list(first.levels(metric).values()))
        confirmed = _estimated(again, metric, luck)
        for key, estimate in estimated[metric].items():
            levels = (again if key in confirmed else first).levels(metric)[key]
            second = confirmed.get(key)
            policy = POLICIES[metric]
            verdict, note = decide(policy, estimate, second, tests)
            found.append(_finding(policy, key, digests, levels, second or estimate, verdict, note))
    found += _exact_findings(first, again, digests)
    return [*found, *_not_crossed(first), *_failures(first), *_unmatched(shared, first)]


def undecided(first: Measured, flagged_: Mapping[Key, Estimate | None]) -> list[Cell]:
    """Return the cells that more rounds of the first look could show to be the same."""
    found = {
        key.name
        for key, estimate in _estimated(first, "time").items()
        if key not in flagged_ and decide(POLICIES["time"], estimate, None, 1)[0] == "ambiguous"
    }
    return [cell for cell in first.times if cell.name in found]


def _estimated(measured: Measured, metric: Metric, luck: float = 0.0) -> dict[Key, Estimate]:
    """Return the estimate of each quantity; ``luck`` is what was known of it before."""
    levels = measured.levels(metric)
    if not levels:
        return {}
    least = max(luck, POLICIES[metric].luck)
    return dict(zip(levels, estimates(list(levels.values()), least), strict=True))


def _finding(
    policy: Policy,
    key: Key,
    digests: Mapping[str, str],
    levels: Levels,
    estimate: Estimate,
    verdict: Verdict,
    note: str,
) -> Finding:
    columns = np.asarray(levels.rounds)[:, 1:]
    base = float(np.median((columns[:, 0] + columns[:, 1]) / 2))
    head = float(np.median(columns[:, 2]))
    low, high = (policy.shown(end) for end in estimate.interval(SHOWN_CONFIDENCE))
    if key.metric == "crossover" and verdict != "same":
        ends = [*interval(columns[:, :2].mean(axis=1)), *interval(columns[:, 2])]
        moved = "{:.1f}-{:.1f} % to {:.1f}-{:.1f} %".format(*(100 * end for end in ends))
        note = f"from {moved}; {note}".removesuffix("; ")
    return Finding(
        key.metric,
        key.name,
        digests.get(key.name, ""),
        verdict,
        float(np.exp(base)) if policy.relative else base,
        float(np.exp(head)) if policy.relative else head,
        policy.shown(estimate.value),
        low,
        high,
        policy.shown(estimate.control),
        estimate.rounds,
        note,
    )


def _exact_findings(first: Measured, again: Measured, digests: Mapping[str, str]) -> list[Finding]:
    """Return the verdicts on operand bytes, and on compiling: only if both looks agree."""
    found = []
    for metric in ("memory", "compilation"):
        repeated = again.exact(metric)
        for key, (base, head) in first.exact(metric).items():
            policy, note = POLICIES[metric], ""
            verdict, change = compared(policy, base, head)
            if metric == "compilation" and verdict in ("slower", "faster"):
                second = compared(policy, *repeated[key])[0] if key in repeated else "ambiguous"
                if second != verdict:
                    verdict, note = "ambiguous", "not confirmed"
            if max(base, head) >= _SHORTEST_COMPILING_S:
                found.append(
                    Finding(metric, key.name, digests.get(key.name, ""), verdict, base, head,
                            change, note=note)
                )  # fmt: skip
    return found


def _not_crossed(first: Measured) -> list[Finding]:
    """Return the crossovers that base does not have, or that no line could be laid through."""
    return [
        Finding(
            "crossover",
            each.crossing.name,
            each.crossing.digest,
            "ambiguous",
            note="base has none" if each.place is None else "too noisy",
        )
        for each in first.crossed
        if not each.levels.rounds
    ]


def _failures(first: Measured) -> list[Finding]:
    """Return the cells in which a version computed nothing right.

    Where only base did, head cannot be compared with it: that is no fault of head's.
    """
    found = []
    for cell, error in first.failures.items():
        verdict: Verdict = "wrong" if error.role == "head" else "new"
        note = str(error) if error.role == "head" else f"base: {error}"
        found.append(Finding("time", cell.name, cell.digest, verdict, note=note))
    return found


def _unmatched(shared: Shared, first: Measured) -> list[Finding]:
    """Return the cells that only one version has, and those that are drawn differently."""
    groups: Sequence[tuple[Verdict, Sequence[Cell], str]] = (
        ("new", [each for each in shared.new if each not in first.failures], ""),
        ("gone", shared.gone, ""),
        ("new", sorted(first.incomparable, key=lambda c: c.name), "its operands are not base's"),
    )
    return [
        *(
            Finding("time", cell.name, cell.digest, verdict, note=note)
            for verdict, cells, note in groups
            for cell in cells
        ),
        *shared.other_crossings,
    ]


def _digests(shared: Shared) -> dict[str, str]:
    """Return the digest of each quantity's definition, by name."""
    found = {cell.kernel: cell.digest for cell in reversed(shared.cells)}
    found |= {cell.name: cell.digest for cell in shared.cells}
    return found | {each.name: each.digest for each in shared.crossings}
