"""Everything that stores hold, as a value: merged, pruned, and written whole.

Machines that never met name runs, problems and studies by hashes of what they are, so that equal
names mean equal things; only visits are numbered, and are numbered anew in the order of time.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crossover.bench.errors import InputError
from crossover.bench.records.rows import (
    CommitRow,
    KernelRecord,
    ProblemRecord,
    Run,
    StudyRecord,
    Visit,
)
from crossover.bench.records.store import FILE_NAME, Store


@dataclass(frozen=True)
class Contents:
    """What a store holds; everything in an order that does not depend on how it came together."""

    runs: tuple[Run, ...]
    #: By run.
    kernels: dict[str, tuple[KernelRecord, ...]]
    studies: tuple[StudyRecord, ...]
    visits: tuple[Visit, ...]
    commits: tuple[CommitRow, ...]


def contents(store: Store) -> Contents:
    """Return what ``store`` holds."""
    runs = store.runs()
    return merged(
        [
            Contents(
                tuple(runs),
                {run.run_id: tuple(store.kernels(run.run_id).values()) for run in runs},
                tuple(each for run in runs for each in store.studies(run.run_id)),
                tuple(each for run in runs for each in store.visits(run.run_id)),
                tuple(store.commits()),
            )
        ]
    )


def read(place: Path) -> Contents:
    """Return what a folder or a file holds, without touching it.

    Raises:
        InputError: if it is no store.
    """
    store = Store(place if place.is_file() else place / FILE_NAME, readonly=True)
    try:
        return contents(store)
    finally:
        store.close()


def merged(parts: Iterable[Contents]) -> Contents:
    """Return what several stores hold together, each thing once.

    A run that two of them hold keeps the conditions of the one that began earlier; a study that
    was asked twice is the latest. Visits are the same if run, series, problem, process, seed and
    time are.

    Raises:
        InputError: if two of them say different things of a problem.
    """
    runs: dict[str, Run] = {}
    kernels: dict[str, dict[str, KernelRecord]] = {}
    studies: dict[str, StudyRecord] = {}
    problems: dict[str, ProblemRecord] = {}
    visits: dict[tuple[Any, ...], Visit] = {}
    commits: dict[tuple[Any, ...], CommitRow] = {}
    for part in parts:
        for run in part.runs:
            runs[run.run_id] = min(runs.get(run.run_id, run), run, key=_run_order)
        for run_id, found in part.kernels.items():
            kernels.setdefault(run_id, {}).update({each.name: each for each in found})
        for study in part.studies:
            known = studies.get(study.study_id, study)
            studies[study.study_id] = max(known, study, key=lambda each: each.asked_at)
        for visit in part.visits:
            if visit.problem.was_made:
                _check_same(problems.setdefault(visit.problem.problem_id, visit.problem), visit)
            visits[visit_key(visit)] = visit
        commits |= {_commit_key(each): each for each in part.commits}
    return Contents(
        tuple(sorted(runs.values(), key=_run_order)),
        {run_id: tuple(found[name] for name in sorted(found))
         for run_id, found in sorted(kernels.items())},
        tuple(sorted(studies.values(), key=lambda each: (each.asked_at, each.study_id))),
        tuple(
            replace(visit, record=replace(visit.record, visit_id=number))
            for number, (_, visit) in enumerate(sorted(visits.items()), 1)
        ),
        tuple(each for _, each in sorted(commits.items())),
    )  # fmt: skip


def without(whole: Contents, run_ids: Iterable[str]) -> Contents:
    """Return what is left when runs go, with all that was measured in them."""
    gone = set(run_ids)
    return merged(
        [
            Contents(
                tuple(run for run in whole.runs if run.run_id not in gone),
                {run_id: found for run_id, found in whole.kernels.items() if run_id not in gone},
                tuple(each for each in whole.studies if each.run_id not in gone),
                tuple(each for each in whole.visits if each.record.run_id not in gone),
                whole.commits,
            )
        ]
    )


def write(whole: Contents, folder: Path) -> Path:
    """Write a store with ``whole`` to ``folder``, in the place of what is there; all or nothing.

    Raises:
        InputError: if it cannot be written.
    """
    path = folder / FILE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".store-") as fresh:
            store = Store(Path(fresh) / FILE_NAME)
            for run in whole.runs:
                store.put_run(run)
            for run_id, kernels in whole.kernels.items():
                store.add_kernels(run_id, kernels)
            for study in whole.studies:
                store.add_study(study)
            store.add_visits(whole.visits)
            store.add_commits(whole.commits)
            # Closed, its log is part of the file.
            store.close()
            for end in ("-wal", "-shm"):
                path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
            os.replace(Path(fresh) / FILE_NAME, path)
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror or error}): free space, or use another --out"
        ) from error
    return path


def visit_key(visit: Visit) -> tuple[Any, ...]:
    """Return what a visit is told by, the time first."""
    it = visit.record
    return it.started, it.run_id, it.series, it.problem_id, it.process, tuple(it.seed)


def _run_order(run: Run) -> tuple[str, str, str]:
    return run.started, run.run_id, repr(run)


def _commit_key(row: CommitRow) -> tuple[Any, ...]:
    return (row.committed_at, row.measured_at, row.machine, row.revision, row.metric, row.name,
            row.digest, row.threads)  # fmt: skip


def _check_same(known: ProblemRecord, visit: Visit) -> None:
    if known != visit.problem:
        raise InputError(
            f"problem {known.problem_id} is not the same in both stores ({known.layer}, batch "
            f"{known.batch}): one of them was changed by hand; leave it out"
        )
