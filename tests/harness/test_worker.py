"""The worker process: a crash or a hang costs one kernel of one visit, and nobody else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from crossover.bench.errors import InputError
from crossover.bench.harness.sources import Discovered
from crossover.bench.harness.task import Task
from crossover.bench.harness.worker import Worker, WorkerError
from crossover.bench.workloads.matrices import RandomMatrix
from crossover.bench.workloads.problem import Problem, Setting, Workload
from tests.harness.deadly import DeadlyMatrix, RefusingMatrix
from tests.in_process import matrix_task

SOURCE = Discovered(("tests.fakes", "tests.harness.gpu_fakes"))


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """A worker that starts when it is needed, and again when it was lost."""
    with Worker(Setting(1), SOURCE) as started:
        yield started


def of(matrix: RandomMatrix, *kernels: str) -> Task:
    workload = Workload(matrix, "forward", 4)
    return replace(matrix_task(*kernels), problem=Problem(workload, Setting(1)))


def test_rows_come_back_in_the_order_of_the_kernels(worker: Worker) -> None:
    found = worker.measure(matrix_task("scipy-csr", "fake-absent", "numpy-dense"))
    assert list(found.rows) == ["scipy-csr", "fake-absent", "numpy-dense"]
    assert [row.status for row in found.rows.values()] == ["measured", "skipped", "measured"]
    assert found.description is not None
    assert found.description.nnz == 48


def test_a_worker_stays_for_the_next_task(worker: Worker) -> None:
    worker.measure(matrix_task("numpy-dense"))
    first = worker.process_name
    worker.measure(matrix_task("numpy-dense"))
    assert worker.process_name == first
    assert int(first.split("-")[0]) != os.getpid()


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        ("fake-crashing", "crashed the worker process (SIGABRT)"),
        ("fake-leaving", "ended the worker process (exit code 9)"),
        ("fake-greedy", "raised MemoryError"),
        ("fake-raising", "raised RuntimeError: planted"),
    ],
)
def test_who_ends_the_worker_is_blamed_alone(worker: Worker, kernel: str, reason: str) -> None:
    found = worker.measure(matrix_task("numpy-dense", kernel, "scipy-csr"))
    assert list(found.rows) == ["numpy-dense", kernel, "scipy-csr"]
    assert (found.rows[kernel].status, found.rows[kernel].samples) == ("failed", [])
    assert reason in found.rows[kernel].reason
    others = [found.rows[name] for name in ("numpy-dense", "scipy-csr")]
    assert [row.status for row in others] == ["measured"] * 2
    assert {len(row.samples) for row in others} == {6}


def test_a_hanging_kernel_is_stopped(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    worker.measure(matrix_task("numpy-dense"))  # started before the limit is short
    before = worker.process_name
    monkeypatch.setattr(worker, "time_limit_s", 1.5)
    hanging = worker.measure(matrix_task("numpy-dense", "fake-hanging"))
    assert hanging.rows["fake-hanging"].reason == "no answer within 1.5 s: the worker was stopped"
    assert hanging.rows["numpy-dense"].status == "measured"
    assert worker.process_name != before
    assert not psutil.pid_exists(int(before.split("-")[0]))


def test_several_that_end_it_are_each_blamed(worker: Worker) -> None:
    found = worker.measure(matrix_task("fake-leaving", "fake-crashing"))
    assert [row.status for row in found.rows.values()] == ["failed"] * 2
    assert "exit code 9" in found.rows["fake-leaving"].reason
    assert "SIGABRT" in found.rows["fake-crashing"].reason
    assert found.description is None  # nobody was left to describe it


def test_a_worker_that_dies_in_nobodys_turn_is_tried_once_more(
    worker: Worker, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    found = worker.measure(of(DeadlyMatrix("d", 12, 8, 0.5, log=str(log), deaths=1), "numpy-dense"))
    assert found.rows["numpy-dense"].status == "measured"
    assert log.read_text() == "died\n"


def test_a_worker_that_dies_twice_in_nobodys_turn_blames_nobody(
    worker: Worker, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    deadly = DeadlyMatrix("d", 12, 8, 0.5, log=str(log), deaths=9)
    with pytest.raises(WorkerError, match="in no kernel's turn") as caught:
        worker.measure(of(deadly, "numpy-dense", "scipy-csr"))
    assert isinstance(caught.value, InputError)  # a line, and exit code 2
    assert log.read_text() == "died\n" * 2
    # And the worker is there for the next task.
    assert worker.measure(matrix_task("numpy-dense")).rows["numpy-dense"].status == "measured"


def test_a_worker_that_dies_between_two_tasks_is_replaced(worker: Worker) -> None:
    worker.measure(matrix_task("numpy-dense"))
    idle = psutil.Process(int(worker.process_name.split("-")[0]))
    idle.kill()
    idle.wait()
    found = worker.measure(matrix_task("numpy-dense", "scipy-csr"))
    assert [row.status for row in found.rows.values()] == ["measured"] * 2
    assert not worker.process_name.startswith(f"{idle.pid}-")


def test_what_the_harness_itself_raises_is_the_parents(worker: Worker) -> None:
    with pytest.raises(FileNotFoundError, match="the operands are gone"):
        worker.measure(of(RefusingMatrix("r", 12, 8, 0.5), "numpy-dense"))
    assert worker.measure(matrix_task("numpy-dense")).rows["numpy-dense"].status == "measured"


@pytest.mark.parametrize("blamed", ["fake-loses-gpu", "fake-loses-gpu-unseen"])
def test_a_lost_gpu_is_blamed_on_whose_turn_it_was(worker: Worker, blamed: str) -> None:
    # Between it and the next kernel of the GPU one of the CPU has its turn.
    rows = worker.measure(matrix_task("fake-on-gpu", blamed, "numpy-dense", "scipy-csr")).rows
    assert rows[blamed].status == "failed"
    assert rows[blamed].reason == "left the GPU in an error that no later call recovers from"
    assert rows["fake-on-gpu"].reason == "It computes nothing."
    assert rows["numpy-dense"].status == rows["scipy-csr"].status == "measured"
    rows = worker.measure(matrix_task(blamed, "numpy-dense", "fake-on-gpu")).rows
    assert rows["numpy-dense"].status == "measured"
    assert rows[blamed].status == "failed"


def test_a_closed_worker_is_gone() -> None:
    worker = Worker(Setting(1), SOURCE)
    worker.measure(matrix_task("numpy-dense"))
    pid = int(worker.process_name.split("-")[0])
    assert psutil.pid_exists(pid)
    worker.close()
    worker.close()
    assert not psutil.pid_exists(pid)


def test_a_worker_that_does_not_start_says_so() -> None:
    with pytest.raises(WorkerError, match="did not start"):
        Worker(Setting(1), Discovered(("no.such.module",))).measure(matrix_task("numpy-dense"))


def test_a_worker_has_the_threads_of_its_setting(worker: Worker) -> None:
    worker.measure(matrix_task("numpy-dense"))
    process = psutil.Process(int(worker.process_name.split("-")[0]))
    environment = process.environ()
    assert environment["OMP_NUM_THREADS"] == environment["NUMBA_NUM_THREADS"] == "1"
    assert "OMP_PROC_BIND" in environment
    assert "CROSSOVER_CACHE" in environment


def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    parent = context.Process(target=_orphaning, args=(theirs,))
    parent.start()
    pid = ours.recv()
    parent.kill()
    parent.join()
    deadline = time.monotonic() + 30
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the worker outlived its parent"
        time.sleep(0.05)


def _orphaning(pipe: object) -> None:
    """Start a worker in the middle of a kernel, and tell its process."""
    import threading

    worker = Worker(Setting(1), SOURCE)
    worker.measure(matrix_task("numpy-dense"))
    hanging = threading.Thread(
        target=worker.measure, args=(matrix_task("fake-hanging"),), daemon=True
    )
    hanging.start()
    time.sleep(0.5)
    pipe.send(int(worker.process_name.split("-")[0]))  # type: ignore[attr-defined]
    time.sleep(60)
