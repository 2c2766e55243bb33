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

from crossover.bench import machine
from crossover.bench.ceilings import Ceilings
from crossover.bench.gate.comparison import Comparison
from crossover.bench.gate.preset import Cell
from crossover.bench.gate.trio import Version
from crossover.bench.gate.verdicts import POLICIES
from crossover.bench.records import CommitRow
from crossover.bench.store import FILE_NAME, Store
from crossover.bench.workloads import pruning
from crossover.bench.workloads.models import cache_folder

_FLOAT_BYTES = 4
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


def keep(store: Store, found: Comparison, ceilings: Ceilings | None = None) -> int:
    """Keep the results of both versions that are commits, and return how many rows there were."""
    identity = machine.identity()
    where = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    rows: list[CommitRow] = []
    for version, side in ((found.base, "base"), (found.head, "head")):
        if version.commit.endswith("-dirty"):
            continue
        rows += [
            CommitRow(
                machine=where,
                machine_title=machine.title(identity),
                revision=version.commit,
                committed_at=_utc(version),
                metric=each.metric,
                name=each.name,
                digest=each.digest,
                threads=found.threads,
                value=getattr(each, side),
                roofline=_roofline(found, each.name, getattr(each, side), ceilings),
                measured_at=now,
            )
            for each in found.findings
            if getattr(each, side) is not None
        ]
    store.add_commit(rows)
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
    noise = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / np.sqrt(2)
    scaled = np.asarray(levels, float) / max(noise, 1e-9)
    found = ruptures.Pelt(model="l2", min_size=_LEAST_SEGMENT, jump=1).fit(scaled)
    ends = [0, *found.predict(pen=_PENALTY * np.log(len(levels)))]
    means = [float(np.mean(levels[a:b])) for a, b in pairwise(ends)]
    return [
        (end, after - before)
        for end, before, after in zip(ends[1:], means, means[1:], strict=False)
    ]


def _roofline(
    found: Comparison, name: str, seconds: float | None, ceilings: Ceilings | None
) -> float | None:
    """Return the share of the measured ceilings that a cell's time reaches; None for the rest."""
    cell = next((each for each in found.levels if each.name == name), None)
    if ceilings is None or cell is None or not seconds:
        return None
    bytes_of = {f.name: f.head for f in found.findings if f.metric == "memory"}
    return ceilings.bound_s(_flops(cell), (bytes_of.get(cell.kernel) or 0) + _sides(cell)) / seconds


def _flops(cell: Cell) -> float:
    """Return the operations that are useful: two per stored weight and column."""
    return 2.0 * pruning.kept(cell.m * cell.k, cell.sparsity) * cell.batch


def _sides(cell: Cell) -> int:
    """Return the bytes of X and of Y."""
    return (cell.m + cell.k) * cell.batch * _FLOAT_BYTES


def _utc(version: Version) -> str:
    """Return when a version was committed, in UTC, so that the texts sort."""
    if not version.committed_at:
        return ""
    return datetime.fromisoformat(version.committed_at).astimezone(UTC).isoformat()
