"""The results of each commit on a machine, and where its trends change.

Figures of different days differ by what the machine was doing; so a change point here is a hint
where to look, and the gate, which measures both sides of it at once, is what decides.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from crossover.bench.gate.comparison import Comparison
from crossover.bench.gate.revisions.checkout import Version
from crossover.bench.gate.verdicts import POLICIES, Finding
from crossover.bench.machine.limits import limits_of
from crossover.bench.records.files import cache_folder
from crossover.bench.records.rows import CommitRow
from crossover.bench.records.store import FILE_NAME, Store
from crossover.bench.statistics import rates

# Fewer commits than this have no trend.
_LEAST_COMMITS = 6
# A change point explains its part of the variance at least so many times better than noise would:
# the penalty of the modified Bayesian information criterion, per change.
_PENALTY = 3.0
_LEAST_SEGMENT = 3


@dataclass(frozen=True)
class Change:
    """A place where a trend changes: the first commit after it, and by how much."""

    revision: str
    committed_at: str
    #: As a share of what was before, or in sparsity.
    change: float


@dataclass(frozen=True)
class Trend:
    """One quantity over the commits of one machine, oldest first."""

    metric: str
    name: str
    digest: str
    threads: int
    revisions: tuple[str, ...]
    values: tuple[float, ...]
    #: Of the measured ceilings, per commit; None where it was not known.
    rooflines: tuple[float | None, ...]
    changes: tuple[Change, ...]


def path_in(folder: Path | None) -> Path:
    """Return where the history is: in ``folder``, or in the user's cache.

    A fresh checkout, as CI makes one each time, finds the history of its machine there.
    """
    return (folder or cache_folder() / "history") / FILE_NAME


def keep(store: Store, found: Comparison) -> int:
    """Keep the results of both versions that are commits, and return how many rows there were."""
    machine = json.dumps(found.run.machine, sort_keys=True)
    where = hashlib.sha256(machine.encode()).hexdigest()[:12]
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    rows = [
        CommitRow(
            machine=where,
            machine_title=found.run.machine_title,
            revision=version.commit,
            committed_at=_utc(version),
            metric=each.metric,
            name=each.name,
            digest=each.digest,
            threads=found.threads,
            value=value,
            roofline=_roofline(found, each, value),
            measured_at=now,
        )
        for version, side in ((found.base, "base"), (found.head, "head"))
        for each in found.findings
        if not version.commit.endswith("-dirty")
        if (value := getattr(each, side)) is not None
    ]
    store.add_commits(rows)
    return len(rows)


def trends(frame: pd.DataFrame) -> list[Trend]:
    """Return each quantity's trend on each machine; ``frame`` is :meth:`Store.commit_frame`'s."""
    found = []
    keys = ["machine", "metric", "name", "digest", "threads"]
    for (_, metric, name, digest, threads), group in frame.groupby(keys, sort=False):
        # A commit that was measured often counts once.
        commits = group.groupby(["committed_at", "revision"], sort=True).agg(
            {"value": "median", "roofline": "median"}
        )
        times, revisions = zip(*commits.index, strict=True)
        values = commits["value"].to_numpy(float)
        policy = POLICIES[metric]
        levels = np.log(values) if policy.relative and (values > 0).all() else values
        changes = tuple(
            Change(revisions[at], times[at], policy.shown(by))
            for at, by in change_points(levels)
            if abs(by) >= policy.scaled(policy.threshold)
        )
        rooflines = tuple(None if np.isnan(r) else float(r) for r in commits["roofline"])
        found.append(
            Trend(metric, name, digest, int(threads), revisions, tuple(values), rooflines, changes)
        )
    return found


def unavailable() -> str | None:
    """Return why change points cannot be found here, as a sentence, or None if they can."""
    try:
        importlib.import_module("ruptures")
    except ImportError as error:
        return f"ruptures cannot be imported ({error}): install the extra history."
    return None


def change_points(levels: np.ndarray) -> list[tuple[int, float]]:
    """Return (index of the first value after it, by how much) of each change of the mean.

    PELT (Killick 2012), as ruptures has it, on values in units of their noise, which is read off
    the differences of neighbours: those a change of the mean leaves alone but for one.
    """
    if len(levels) < _LEAST_COMMITS or unavailable():
        return []
    ruptures = importlib.import_module("ruptures")
    steps = np.diff(levels)
    noise = float(stats.median_abs_deviation(steps, scale="normal")) / np.sqrt(2)
    scaled = np.asarray(levels, float) / max(noise, 1e-9)
    found = ruptures.Pelt(model="l2", min_size=_LEAST_SEGMENT, jump=1).fit(scaled)
    ends = [0, *found.predict(pen=_PENALTY * np.log(len(levels)))]
    means = [float(np.mean(levels[a:b])) for a, b in pairwise(ends)]
    return [
        (end, after - before)
        for end, before, after in zip(ends[1:], means, means[1:], strict=False)
    ]


def _roofline(found: Comparison, finding: Finding, seconds: float) -> float | None:
    """Return the share of this machine's measured limits that a cell's time reaches, or None."""
    limits = limits_of(found.run.ceilings, "cpu", found.threads)
    work = {cell.name: work for cell, work in found.work.items()}.get(finding.name)
    if finding.metric != "time" or work is None or limits is None:
        return None
    return rates.roofline_fraction(limits, work.flops, work.nbytes, seconds)


def _utc(version: Version) -> str:
    """Return when a version was committed, in UTC, so that the texts sort."""
    if not version.committed_at:
        return ""
    return datetime.fromisoformat(version.committed_at).astimezone(UTC).isoformat()
