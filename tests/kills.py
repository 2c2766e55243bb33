"""Studies killed at seeded moments, and gone on with: ``nox -s soak`` does so many times.

A study runs in a process of its own, which a SIGKILL ends: without a chance to tidy up, in the
middle of a race or of a write. Its times are planted: an unkilled run is the same each time.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossover.bench.harness.task import Outcome, ReportShare, Task
from crossover.bench.harness.worker import ignore_share
from crossover.bench.records.store import FILE_NAME, Store
from crossover.bench.studies.conduct import conduct
from tests.in_process import InProcess
from tests.small_studies import STUDIES, prepare, with_tiny_network

_LIMIT_S = 60.0
_LOG = "begun.log"
#: A server that imports all once, and forks.
_CONTEXT: Any = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.kills"])


class Logging(InProcess):
    """Notes each visit that is begun in a file, before anything else."""

    log: Path

    def measure(self, task: Task, report_share: ReportShare = ignore_share) -> Outcome:
        with Logging.log.open("a") as log:
            log.write("begun\n")
        return super().measure(task, report_share)


@dataclass(frozen=True)
class Run:
    """Where a study is conducted, and with what."""

    study: str
    folder: Path
    data: Path
    cache: Path

    def start(self) -> Any:
        """Return the process that conducts the study."""
        process = _CONTEXT.Process(target=_conduct, args=(self,))
        process.start()
        return process

    @property
    def begun(self) -> int:
        """Return how many visits were begun, of all processes together."""
        log = self.folder / _LOG
        return len(log.read_text().splitlines()) if log.exists() else 0

    def kept(self) -> list[Any]:
        """Return the visits that are kept, each as what identifies it."""
        if not (self.folder / FILE_NAME).exists():
            return []
        store = Store(self.folder / FILE_NAME, readonly=True)
        try:
            visits = [visit for run in store.runs() for visit in store.visits(run.run_id)]
        finally:
            store.close()
        # Every visit is whole: each of its kernels has a row, and a row its samples.
        for visit in visits:
            assert visit.rows
            assert all(row.samples for row in visit.rows.values() if row.status == "measured")
        return [(v.record.problem_id, v.record.seed, list(v.rows)) for v in visits]


def _conduct(run: Run) -> None:
    def patch(target: Any, name: str, value: object) -> None:
        setattr(target, name, value)

    os.environ["CROSSOVER_CACHE"] = str(run.cache)
    Logging.log = run.folder / _LOG
    with_tiny_network()
    prepare(patch, run.data, Logging)
    conduct([STUDIES[run.study]()], run.folder, f"crossover {run.study}")


def whole(run: Run) -> list[Any]:
    """Return the visits of a run that nobody kills."""
    _finish(run.start())
    return run.kept()


def kill_and_go_on(run: Run, seed: int, expected: list[Any]) -> None:
    """Kill the study once, at a moment that ``seed`` decides, and let it go on to its end.

    Raises:
        AssertionError: if more than the visit in progress was lost, or anything is not as it is in
            the ``expected`` visits of an unkilled run.
    """
    rng = np.random.default_rng(seed)
    visits = int(rng.integers(1, len(expected)))
    process = run.start()
    _wait(lambda: run.begun >= visits or not process.is_alive())
    time.sleep(float(rng.uniform(0.0, 0.02)))
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join(_LIMIT_S)
    begun, kept = run.begun, run.kept()
    assert begun - 1 <= len(kept) <= begun, f"{begun} visits were begun, {len(kept)} are kept"
    assert kept == expected[: len(kept)]
    _finish(run.start())
    assert run.kept() == expected
    assert run.begun - len(expected) <= 1, "more visits than the one in progress were made twice"


def _finish(process: Any) -> None:
    process.join(_LIMIT_S)
    assert process.exitcode == 0, f"the study ended with exit code {process.exitcode}"


def _wait(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while not reached():
        assert time.monotonic() < deadline, "the study does not get on"
        time.sleep(0.0005)
