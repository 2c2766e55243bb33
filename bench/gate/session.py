"""A gate from beginning to end: trees, environments, the comparison, and nothing left behind."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crossover.bench import machine
from crossover.bench.errors import InputError
from crossover.bench.gate import environments
from crossover.bench.gate.checkout import WORKTREE, Checkout
from crossover.bench.gate.comparison import BUDGET_S, Comparer, Comparison
from crossover.bench.gate.trio import Version
from crossover.bench.progress import Progress, Report, ignore


@dataclass(frozen=True)
class Request:
    """What is to be compared, and for how long."""

    base: str
    head: str = WORKTREE
    budget_s: float = BUDGET_S
    #: 0 for all cores.
    threads: int = 0
    seed: int = 0
    #: Whether each version gets an environment of its own; else all run in this one.
    own_environments: bool = True


#: Changes the source trees of base and head before they are measured: what a self-check plants.
Plant = Callable[[Path, Path], None]


def compare(
    request: Request,
    report: Report = ignore,
    plant: Plant | None = None,
) -> Comparison:
    """Return what differs between two versions of the repository of the current folder.

    Raises:
        InputError: if a version is none, does not install, has no benchmark, or too little was
            measured; nothing is left behind.
    """
    threads = request.threads or machine.available_cores()
    if threads > machine.available_cores():
        raise InputError(
            f"threads {threads} is outside 1 to {machine.available_cores()}, this machine's cores"
        )
    with _terminable(), Checkout() as checkout:
        for revision in (request.base, request.head):  # before anything takes time
            if revision != WORKTREE:
                checkout.commit(revision)
        report(Progress("set up", "worktrees", 0.0, 1.0))
        versions = [
            _checked_out(checkout, name, revision)
            for name, revision in (("base", request.base), ("head", request.head))
        ]
        if plant is not None:
            plant(versions[0].source, versions[1].source)
        if request.own_environments:
            versions = [
                _with_environment(version, name, report)
                for version, name in zip(versions, ("base", "head"), strict=True)
            ]
        report(Progress("set up", "done", 1.0, 1.0))
        base, head = versions
        comparer = Comparer(
            base,
            head,
            threads,
            scratch=checkout.folder,
            budget_s=request.budget_s,
            seed=request.seed,
            report=report,
        )
        return comparer.run()


def _checked_out(checkout: Checkout, name: str, revision: str) -> Version:
    """Return a version with its source tree, to be run by this Python."""
    source, commit = checkout.tree(name, revision)
    return Version(
        title=revision if commit.startswith(revision) else f"{revision} ({commit[:12]})",
        commit=commit,
        source=source,
        python=Path(sys.executable),
        compiled=checkout.folder / f"compiled-{name}",
        committed_at=checkout.committed_at(commit),
    )


def _with_environment(version: Version, name: str, report: Report) -> Version:
    """Return a version with the Python of an environment of its own."""

    def tell(what: str) -> None:
        report(Progress("set up", what, 0.5, 1.0))

    python = environments.obtain(version.source, f"{name} {version.title}", tell)
    return replace(version, python=python)


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
