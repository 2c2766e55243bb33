"""What is a regression: one table of metrics with their thresholds, and one function that decides.

A regression is claimed only where four things agree: the flagged quantity was measured again in
fresh processes, those new visits alone put the interval, corrected for testing many quantities,
above zero, their effect reaches the metric's threshold, and the A/A control beside them is quiet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from crossover.bench.gate.statistics import Estimate

Verdict = Literal["slower", "faster", "same", "ambiguous", "new", "gone", "failed", "wrong"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
Metric = Literal["time", "conversion", "memory", "compilation", "crossover"]

#: Shared by all that is visited again (Bonferroni): one run in a hundred may claim what is not so.
FAMILY_ERROR = 0.01
#: Of the interval that ``same`` asks for, per side: a true change of ``Policy.same`` passes for
#: none in one case of five thousand.
SAME_ERROR = 2e-4
#: What a table shows.
SHOWN_CONFIDENCE = 0.95
#: A quantity with fewer visits than this decides nothing.
LEAST_VISITS = 12


@dataclass(frozen=True)
class Policy:
    """How much of a change counts; ``threshold`` and ``same`` are shares, or sparsity."""

    metric: Metric
    title: str
    #: A regression is at least this.
    threshold: float
    #: ``same`` is the whole interval within this.
    same: float
    #: Whether the quantity is a log, so that a difference is relative.
    relative: bool = True
    #: Below this a change counts for nothing, in the metric's own unit.
    least: float = 0.0
    #: How far processes of one code differ at least, whatever a few controls say.
    between_process_std: float = 0.003

    def scaled(self, share: float) -> float:
        """Return a share as a difference of levels."""
        return float(math.log1p(share)) if self.relative else share

    def shown(self, difference: float) -> float:
        """Return a difference of levels as a share, or in sparsity."""
        return float(math.expm1(difference)) if self.relative else difference


#: More is worse in all of them.
POLICIES: Mapping[Metric, Policy] = {
    policy.metric: policy
    for policy in (
        Policy("time", "time per call", 0.03, 0.02),
        Policy("crossover", "crossover", 0.02, 0.01, relative=False),
        Policy("conversion", "time of prepare", 0.15, 0.10),
        Policy("memory", "bytes of the operand", 0.01, 0.0),
        Policy("compilation", "time to compile", 0.25, 0.10, least=0.5),
    )
}


@dataclass(frozen=True)
class Finding:
    """One quantity of both versions, and the verdict on it."""

    metric: Metric
    name: str
    #: Of the cell's definition.
    digest: str
    verdict: Verdict
    #: In seconds, bytes or sparsity; None where a version has none.
    base: float | None = None
    head: float | None = None
    #: The change, as a share of base or in sparsity, with its interval.
    change: float | None = None
    low: float | None = None
    high: float | None = None
    #: The A/A control's change.
    control: float | None = None
    visits: int = 0
    note: str = ""
    #: Whether head failed in every process that tried, and base in none.
    fails_alone: bool = False

    @property
    def regression(self) -> bool:
        """Return whether this fails the gate."""
        return self.verdict == "slower" or self.fails_alone

    def as_regression(self) -> Finding:
        """Return it as a failure that base does not share."""
        return replace(self, fails_alone=True)


def flagged(policy: Policy, estimate: Estimate) -> bool:
    """Return whether a quantity is to be measured again, in fresh processes."""
    return abs(estimate.value) >= policy.scaled(policy.threshold) / 2


def decide(
    policy: Policy, first: Estimate, again: Estimate | None, tests: int
) -> tuple[Verdict, str]:
    """Return the verdict of the ``first`` look, or of the second one ``again``; and a note.

    ``tests`` is how many quantities the second look tests.
    """
    estimate = again or first
    if estimate.visits < LEAST_VISITS:
        return "ambiguous", f"{estimate.visits} visits are too few"
    limit = policy.scaled(policy.same)
    # A change that neither was seen first nor is excluded now stays ambiguous.
    if abs(estimate.value) + estimate.half_width(SAME_ERROR) < limit:
        return "same", ""
    if again is None:
        return "ambiguous", "flagged, not measured again" if flagged(policy, first) else ""
    corrected = again.half_width(FAMILY_ERROR / max(1, tests))
    if first.value * again.value <= 0 or abs(again.value) < policy.scaled(policy.threshold):
        return "ambiguous", "not confirmed"
    if abs(again.value) <= corrected:
        return "ambiguous", "within the noise"
    if abs(again.control) > abs(again.value) / 2:
        return "ambiguous", f"the A/A control moved by {policy.shown(again.control):+.1%}"
    return ("slower" if again.value > 0 else "faster"), ""


def compared(policy: Policy, base: float, head: float) -> tuple[Verdict, float]:
    """Return the verdict on two exact figures, and the change as a share."""
    change = head / base - 1 if base else float(head > base)
    if abs(change) <= policy.same or abs(head - base) < policy.least:
        return "same", change
    if abs(change) <= policy.threshold:
        return "ambiguous", change
    return ("slower" if change > 0 else "faster"), change
