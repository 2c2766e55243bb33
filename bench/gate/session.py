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
from crossover.bench.gate.comparison import (
    ALONE,
    FIRST,
    LOOKS,
    Comparison,
    LookSpec,
    comparison,
)
from crossover.bench.gate.looks.look import Look
from crossover.bench.gate.looks.study import Again, FirstLook, More
from crossover.bench.gate.revisions.checkout import WORKTREE, Repository, Version, scratch
from crossover.bench.gate.revisions.sides import Declared, Revisions, describe, digests, export
from crossover.bench.options import common
from crossover.bench.options.declaration import option
from crossover.bench.records.store import FILE_NAME, Store
from crossover.bench.studies.conduct import conduct
from crossover.bench.studies.study import Progress, Report, ignore, threads_or_all

#: Changes the exported kernels before they are measured: what a self-check plants.
Plant = Callable[[Revisions], None]


class UnloadableHeadError(InputError):
    """Raised where head failed twice before it computed anything, and base did not."""


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
        UnloadableHeadError: if head cannot be loaded, and base can.
        InputError: if a version is none, or base cannot be loaded and head is not wrong, or under
            half of what was asked was compared and nothing was found.
    """
    (threads,) = threads_or_all([spec.threads] if spec.threads else ())
    repository = Repository()
    with _terminable(), scratch() as temporary:
        report(Progress("set up", "kernels of both versions", 0.0, 1.0))
        revisions, base, head = export(repository, (spec.base, spec.head), spec.modules, temporary)
        if plant is not None:
            plant(revisions)
        sides = _loaded(revisions)
        _refuse_unknown(spec.kernels, sides.known)
        report(Progress("set up", "done", 1.0, 1.0))
        look = _look(spec, digests(revisions), base, head, threads)
        done = conduct(_looks(look, sides, temporary), folder, command, report, again)
        if done.interrupted:
            raise KeyboardInterrupt
    found = _compared(look, folder, done.run_id)
    if not (found.wrong or found.regressed):
        _refuse_too_little(found, sides.base_unloadable)
    return found


@dataclass(frozen=True)
class _Sides:
    """The sides that can be loaded, and what their kernels declare."""

    revisions: Revisions
    known: Mapping[str, Declared]
    #: Why base cannot be loaded, if it cannot: head is checked by itself then.
    base_unloadable: str = ""


def _loaded(revisions: Revisions) -> _Sides:
    """Return the sides that can be loaded, each loaded on its own.

    Raises:
        UnloadableHeadError: if head cannot be loaded, twice, and base can.
        InputError: if neither can.
    """
    try:
        base = describe(revisions.only("base", "control"))
    except InputError as error:
        return _Sides(revisions.only("head"), describe(revisions.only("head")), str(error))
    try:
        head = describe(revisions.only("head"))
    except InputError:
        try:
            head = describe(revisions.only("head"))
        except InputError as error:
            raise UnloadableHeadError(f"{error}; base can be loaded") from error
    return _Sides(revisions, base | head)


def _looks(look: LookSpec, sides: _Sides, temporary: Path) -> list[Look]:
    """Return the looks to take, one after the other."""
    if sides.base_unloadable:
        return [FirstLook(replace(look, look=ALONE), sides.revisions, sides.known)]
    first = FirstLook(look, sides.revisions, sides.known)
    second = Again(first, sides.revisions.compiled_in(temporary / "compiled again"))
    return [first, second, More(first, second)]


def _compared(look: LookSpec, folder: Path, run_id: str) -> Comparison:
    """Return what the stored visits say."""
    store = Store(folder / FILE_NAME, readonly=True)
    try:
        names = (look.series(each) for each in LOOKS)
        series = {name: store.visits(run_id, name) for name in names}
        return comparison(store.run(run_id), series, store.kernels(run_id), look)
    finally:
        store.close()


def _refuse_too_little(found: Comparison, base_unloadable: str) -> None:
    """Raise if nothing, or under half of what was asked, was compared."""
    covered = found.coverage
    if base_unloadable:
        checked = sum(each.verdict == "new" for each in found.findings)
        raise InputError(
            f"{base_unloadable}. Nothing was compared; head was checked by itself, and computes "
            f"{checked} cells right"
        )
    if not covered.asked:
        raise InputError(
            "nothing was compared: base and head have no kernel in common: name others"
        )
    if not covered.enough:
        raise InputError(
            f"only {covered}: at least half is needed; give more --budget (default: 4m), "
            "what was measured is kept"
        )


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
