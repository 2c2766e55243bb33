"""A gate from beginning to end: trees, environments, the comparison, and nothing left behind."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import machine
from bench.errors import InputError
from bench.gate import environments
from bench.gate.checkout import WORKTREE, Checkout
from bench.gate.comparison import BUDGET_S, Comparer, Comparison
from bench.gate.preset import Cell
from bench.gate.trio import Version
from bench.progress import Progress, Report, ignore


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


#: Changes head's source tree before it is measured: a fault that a self-check plants.
Plant = Callable[[Path], None]


def compare(
    request: Request,
    report: Report = ignore,
    plant: Plant | None = None,
    wanted: Callable[[Cell], bool] = lambda cell: True,  # noqa: ARG005
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
        versions = [
            _version(checkout, name, revision, request.own_environments, report)
            for name, revision in (("base", request.base), ("head", request.head))
        ]
        if plant is not None:
            plant(versions[1].source)
        comparer = Comparer(
            *versions,
            threads,
            scratch=checkout.folder,
            budget_s=request.budget_s,
            seed=request.seed,
            report=report,
            wanted=wanted,
        )
        return comparer.run()


def _version(
    checkout: Checkout, name: str, revision: str, own_environment: bool, report: Report
) -> Version:
    """Return a version, checked out, with a Python to run it."""
    report(Progress("set up", f"{name} {revision}", 0.0, 1.0))
    source, commit = checkout.tree(name, revision)
    title = revision if commit.startswith(revision) else f"{revision} ({commit[:12]})"

    def tell(what: str) -> None:
        report(Progress("set up", what, 0.5, 1.0))

    python = Path(sys.executable)
    if own_environment:
        python = environments.obtain(source, f"{name} {title}", tell)
    report(Progress("set up", "done", 1.0, 1.0))
    return Version(
        title=title,
        commit=commit,
        source=source,
        python=python,
        compiled=checkout.folder / f"compiled-{name}",
        committed_at=checkout.committed_at(commit),
    )


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
