"""Visits: a problem and its kernels go to a worker, and typed rows come back, to be stored."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil

from crossover.bench.harness.pyperf_timer import time_by_pyperf
from crossover.bench.harness.sources import KernelSource
from crossover.bench.harness.task import Description, Outcome, ReportShare, Task
from crossover.bench.harness.worker import TIME_LIMIT_S, Worker, ignore_share
from crossover.bench.records.rows import ProblemRecord, Visit, VisitRecord
from crossover.bench.workloads.problem import Problem, Setting, identity

#: A worker measures for so long, then a fresh process takes its place: code and operands lie
#: elsewhere then, and an answer should not rest on where they happened to lie.
PROCESS_LIFE_S = 45.0


@dataclass
class _Running:
    worker: Worker
    since: float


class Visitor:
    """Makes visits: holds a worker per setting, and replaces it now and then."""

    def __init__(
        self,
        source: KernelSource,
        time_limit_s: float = TIME_LIMIT_S,
        process_life_s: float = PROCESS_LIFE_S,
    ) -> None:
        self.source = source
        self._time_limit_s, self._process_life_s = time_limit_s, process_life_s
        self._workers: dict[Setting, _Running] = {}

    def visit(
        self, task: Task, run_id: str, series: str, report_share: ReportShare = ignore_share
    ) -> Visit:
        """Return what came of one task, not stored yet; ``report_share`` hears of a training.

        Raises:
            WorkerError: if the worker process could not do its own part.
        """
        began, begin = datetime.now(UTC), time.monotonic()
        load = psutil.getloadavg()[0]
        if task.problem.setting.timer == "pyperf":
            outcome, process = time_by_pyperf(task), "pyperf"
        else:
            if task.fresh_process:
                self.renew()
            worker = self._worker(task.problem.setting, task.not_in)
            outcome = worker.measure(task, report_share)
            process = worker.process_name
        problem = problem_record(task.problem, outcome)
        record = VisitRecord(
            visit_id=0,
            run_id=run_id,
            series=series,
            problem_id=problem.problem_id,
            process=process,
            seed=list(task.seed),
            load=load,
            canary=outcome.canary,
            started=began.isoformat(timespec="microseconds"),
            wall_s=time.monotonic() - begin,
        )
        return Visit(record, problem, outcome.rows)

    def renew(self) -> None:
        """End all workers: the next visits begin in fresh processes."""
        for running in self._workers.values():
            running.worker.close()
        self._workers.clear()

    def _worker(self, setting: Setting, not_in: str) -> Worker:
        running = self._workers.get(setting)
        if running and (
            time.monotonic() - running.since > self._process_life_s
            or running.worker.process_name == not_in
        ):
            running.worker.close()
            running = None
        if running is None:
            worker = Worker(setting, self.source, self._time_limit_s)
            running = self._workers[setting] = _Running(worker, time.monotonic())
        return running.worker


@contextmanager
def visiting(
    source: KernelSource,
    time_limit_s: float = TIME_LIMIT_S,
    process_life_s: float = PROCESS_LIFE_S,
) -> Iterator[Visitor]:
    """Yield a visitor whose workers end with the context."""
    visitor = Visitor(source, time_limit_s, process_life_s)
    try:
        yield visitor
    finally:
        visitor.renew()


def problem_record(problem: Problem, outcome: Outcome) -> ProblemRecord:
    """Return the record of a problem; one that could not be made has no nonzeros."""
    workload, setting = problem.workload, problem.setting
    labels = workload.weights.labels
    made = outcome.description or Description(0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, {})
    return ProblemRecord(
        problem_id=problem.problem_id,
        workload_id=workload.workload_id,
        network=labels.network,
        network_sparsity=labels.network_sparsity,
        pattern=labels.pattern,
        scope=labels.scope,
        accuracy=labels.accuracy,
        layer=labels.layer,
        layer_index=labels.layer_index,
        computes=workload.computes,
        dtype=workload.dtype,
        recipe=identity(workload),
        threads=setting.threads,
        caches=setting.caches,
        idle_threads=setting.idle_threads,
        m=made.m,
        k=made.k,
        batch=workload.batch,
        n=made.n,
        nnz=made.nnz,
        sparsity=made.sparsity,
        zeros_x=made.zeros_x,
        zeros_dy=made.zeros_dy,
        useful_flops=made.useful_flops,
        executed_flops=made.executed_flops,
        side_bytes=made.side_bytes,
        format_bytes=made.format_bytes,
    )
