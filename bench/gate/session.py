"""A gate from beginning to end: kernels exported, the looks conducted, the findings computed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crossover.bench.errors import InputError
from crossover.bench.gate.comparison import AGAIN, FIRST, MORE, Comparison, LookSpec, comparison
from crossover.bench.gate.revisions.checkout import WORKTREE, Repository, Version, scratch
from crossover.bench.gate.revisions.sides import Declared, Revisions, describe, digests, export
from crossover.bench.gate.study import Again, FirstLook, More
from crossover.bench.options import common
from crossover.bench.options.declaration import option
from crossover.bench.records.store import FILE_NAME, Store
from crossover.bench.studies.conduct import conduct
from crossover.bench.studies.progress import Progress, Report, ignore
from crossover.bench.studies.study import threads_or_all

#: Changes the exported kernels before they are measured: what a self-check plants.
Plant = Callable[[Revisions], None]


@dataclass(frozen=True)
class GateSpec:
    """What is to be compared, and for how long."""

    base: str = option("", "--base", metavar="REV", help="the git revision to compare with")
    head: str = option(
        WORKTREE, "--head", metavar="REV", help="what to compare; worktree: your files as they are"
    )
    kernels: tuple[str, ...] = common.kernels((), "all")
    threads: int = common.one_threads()
    budget_s: float = common.budget(240.0)
    seed: int = common.seed()
    modules: tuple[str, ...] = common.modules()


def compare(
    spec: GateSpec,
    folder: Path,
    command: str,
    report: Report = ignore,
    again: bool = False,
    plant: Plant | None = None,
) -> Comparison:
    """Return what differs between two versions of the kernels in the current folder's repository.

    Every visit is kept in ``folder``: asked again, it goes on where it was stopped; with ``again``
    all is measured anew.

    Raises:
        InputError: if a version is none, or cannot be loaded, or too little was measured.
    """
    (threads,) = threads_or_all([spec.threads] if spec.threads else ())
    repository = Repository()
    with _terminable(), scratch() as temporary:
        report(Progress("set up", "kernels of both versions", 0.0, 1.0))
        revisions, base, head = export(repository, (spec.base, spec.head), spec.modules, temporary)
        if plant is not None:
            plant(revisions)
        known = describe(revisions)
        _refuse_unknown(spec.kernels, known)
        report(Progress("set up", "done", 1.0, 1.0))
        look = _look(spec, digests(revisions), base, head, threads)
        first = FirstLook(look, revisions, known)
        second = Again(first, revisions.compiled_in(temporary / "compiled again"))
        looks = [first, second, More(first, second)]
        done = conduct(looks, folder, command, report, again)
        if done.interrupted:
            raise KeyboardInterrupt
    store = Store(folder / FILE_NAME, readonly=True)
    try:
        series = {
            name: store.visits(done.run_id, name)
            for name in (look.series(each) for each in (FIRST, AGAIN, MORE))
        }
        return comparison(store.run(done.run_id), series, store.kernels(done.run_id), look)
    finally:
        store.close()


def _look(
    spec: GateSpec, digest: Mapping[Any, str], base: Version, head: Version, threads: int
) -> LookSpec:
    """Return what the first look is asked with; what is measured is kept by the source's digest."""
    return LookSpec(
        FIRST,
        replace(base, digest=digest["base"]),
        replace(head, digest=digest["head"]),
        spec.kernels,
        threads,
        spec.budget_s,
        spec.seed,
        spec.modules,
    )


def _refuse_unknown(names: tuple[str, ...], known: Mapping[str, Declared]) -> None:
    there = sorted({name.partition(":")[2] for name in known})
    for name in names:
        if name not in there:
            raise InputError(f"kernel {name!r} is not gated here: choose from {', '.join(there)}")


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end this as Ctrl-C does: with everything cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
