"""A worker that is no process: tasks run here, by kernels that a test can look at."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from crossover.bench.harness.sources import Discovered, KernelSource
from crossover.bench.harness.task import Outcome, ReportShare, Task
from crossover.bench.harness.worker import carry_out, ignore_share
from crossover.bench.workloads.matrices import RandomMatrix
from crossover.bench.workloads.problem import Problem, Setting, Workload
from crossover.kernels.base import Kernel

FAKES = Discovered(("tests.fakes",))


def matrix_task(*kernels: str, rounds: tuple[int, int] = (6, 6), sparsity: float = 0.5) -> Task:
    """Return a task over a small matrix."""
    matrix = RandomMatrix("tests", 12, 8, sparsity)
    return Task(Problem(Workload(matrix, "forward", 4), Setting(1)), kernels, 0.0, (0,), rounds)


def outcome(
    task: Task,
    kernels: Mapping[str, Kernel],
    take_turn: Callable[[str], None] = lambda _: None,
    report_share: ReportShare = ignore_share,
) -> Outcome:
    """Return what comes of ``task`` in this process."""
    return carry_out(task, {name: kernels[name] for name in task.kernels}, take_turn, report_share)


class InProcess:
    """Stands for a :class:`crossover.bench.harness.worker.Worker`."""

    #: Of all such workers, in order.
    tasks: Sequence[Task] = ()
    started = 0

    def __init__(self, setting: Setting, source: KernelSource, time_limit_s: float = 0.0) -> None:
        InProcess.started += 1
        self.process_name = f"{os.getpid()}-{InProcess.started}"
        self._kernels = source.load()

    def measure(self, task: Task, report_share: ReportShare = ignore_share) -> Outcome:
        InProcess.tasks = [*InProcess.tasks, task]
        return outcome(task, self._kernels, report_share=report_share)

    def close(self) -> None:
        pass
