"""The process that runs kernels, so that a crash or a hang costs one kernel of one visit.

The parent sends a task and waits for its outcome. Meanwhile the worker writes into shared memory
which kernel has its turn, and counts the turns. If it dies, or stays in one turn for longer than
the time limit, that kernel is blamed: its row says so, a fresh worker takes over and measures the
rest. A worker that dies in no kernel's turn blames nobody: the task is tried once more.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from crossover.bench.errors import InputError
from crossover.bench.harness.environment import (
    environment_of,
    start_ending_with,
    variables,
    without_interrupts,
)
from crossover.bench.harness.layer_setup import LayerSetup
from crossover.bench.harness.served.setup import NetworkSetup
from crossover.bench.harness.sources import KernelSource
from crossover.bench.harness.step_setup import StepSetup
from crossover.bench.harness.task import (
    EXIT_GPU_LOST,
    Outcome,
    ReportShare,
    Setup,
    TakeTurn,
    Task,
    run,
)
from crossover.bench.harness.trained.beside import take_first_steps, train_epochs
from crossover.bench.harness.trained.learning import learn
from crossover.bench.records.rows import Row
from crossover.bench.workloads.problem import Setting
from crossover.kernels.base import Kernel

resource: Any
try:
    import resource
except ImportError:  # not on Windows
    resource = None

TIME_LIMIT_S = 60.0
# Of a training, which takes a night at the longest.
_TRAINING_LIMIT_S = 12 * 3600.0
#: What trains, by what a workload computes.
TRAININGS = {"training": learn, "epoch": train_epochs, "first steps": take_first_steps}
_POLL_S = 0.02
_START_LIMIT_S = 120.0
_NOBODY = -1


def ignore_share(share: float) -> None:
    """Show nobody how far a training is."""


class WorkerError(InputError):
    """Raised when a worker does not start, or ends twice in no kernel's turn."""


class Worker:
    """A worker process for a setting; a context manager. A lost process is replaced."""

    def __init__(
        self, setting: Setting, source: KernelSource, time_limit_s: float = TIME_LIMIT_S
    ) -> None:
        self.source = source
        self.time_limit_s = time_limit_s
        self._environment = environment_of(setting)
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        #: Names the process that runs now.
        self.process_name = ""

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def measure(self, task: Task, report_share: ReportShare = ignore_share) -> Outcome:
        """Return the outcome of every kernel of ``task``; ``report_share`` hears of a training.

        Raises:
            WorkerError: if the process ends twice in no kernel's turn.
        """
        lost: dict[str, Row] = {}
        died_idle = False
        while True:
            names = [name for name in task.kernels if name not in lost]
            answer = self._attempt(task, names, report_share)
            if isinstance(answer, Outcome):
                rows = answer.rows | lost
                ordered = {name: rows[name] for name in task.kernels}
                return Outcome(answer.description, answer.canary, ordered)
            culprit, reason = answer
            if culprit:
                lost[culprit] = Row(culprit, "failed", reason)
            elif died_idle:
                raise WorkerError(f"the worker {reason}, in no kernel's turn: see its messages")
            else:
                died_idle = True

    def close(self) -> None:
        """End the process; the next task gets a fresh one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._turn = self._context.Value("l", _NOBODY, lock=False)
        self._turns = self._context.Value("l", 0, lock=False)
        self._share = self._context.Value("d", 0.0, lock=False)
        self._process = self._context.Process(
            target=_serve,
            args=(theirs, self._turn, self._turns, self._share, self.source, os.getpid()),
            daemon=True,
        )
        with variables(self._environment), without_interrupts():
            self._process.start()
        theirs.close()
        self.process_name = f"{self._process.pid}-{time.time_ns():x}"
        try:
            started = self._pipe.poll(_START_LIMIT_S) and self._pipe.recv() == "ready"
        except EOFError:
            started = False
        if not started:
            self.close()
            raise WorkerError("the worker process did not start: see its messages above")

    def _attempt(
        self, task: Task, names: list[str], report_share: ReportShare
    ) -> Outcome | tuple[str, str]:
        """Return the outcome, or (the kernel that lost the worker or "", why)."""
        if not names:
            return Outcome(None, {}, {})
        if self._process is None:
            self._start()
        self._turn.value, self._share.value = _NOBODY, 0.0
        trains = task.problem.workload.computes in TRAININGS
        limit_s = _TRAINING_LIMIT_S if trains else self.time_limit_s
        try:
            self._pipe.send((task, names))
        except (BrokenPipeError, ConnectionResetError):  # it died between two tasks
            return self._lose_dead(names)
        turns, since, share = -1, time.monotonic(), 0.0
        while not self._pipe.poll(_POLL_S):
            now = time.monotonic()
            if self._share.value != share:
                share = self._share.value
                report_share(share)
            if self._turns.value != turns:
                turns, since = self._turns.value, now
            elif now - since > limit_s and self._turn.value != _NOBODY:
                reason = f"no answer within {limit_s:g} s: the worker was stopped"
                return self._lose(names, reason)
            if not self._process.is_alive() and not self._pipe.poll():
                break
        try:
            outcome: Outcome | Exception = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            return self._lose_dead(names)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _lose_dead(self, names: list[str]) -> tuple[str, str]:
        self._process.join(_POLL_S)
        return self._lose(names, _death(self._process.exitcode))

    def _lose(self, names: list[str], reason: str) -> tuple[str, str]:
        """Stop the worker and return whom to blame for what."""
        turn = self._turn.value
        self.close()
        return names[turn] if turn != _NOBODY else "", reason


def _death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"crashed the worker process ({signal.Signals(-exitcode).name})"
    if exitcode == EXIT_GPU_LOST:
        return "left the GPU in an error that no later call recovers from"
    return f"ended the worker process (exit code {exitcode})"


# -- in the worker process --------------------------------------------------------------------


def _serve(pipe: Any, turn: Any, turns: Any, share: Any, source: KernelSource, parent: int) -> None:
    """Carry out tasks until the parent goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    start_ending_with(parent)
    _limit_memory()
    kernels = source.load()
    pipe.send("ready")
    while True:
        try:
            task, names = pipe.recv()

            def take_turn(name: str, names: list[str] = names) -> None:
                turn.value = names.index(name) if name else _NOBODY
                turns.value += 1

            def report_share(done: float) -> None:
                share.value = done

            try:
                outcome: Outcome | Exception = carry_out(
                    task, {name: kernels[name] for name in names}, take_turn, report_share
                )
            except Exception as error:  # of the harness or the operands: the parent's to tell
                outcome = error
            pipe.send(outcome)
        except (EOFError, BrokenPipeError):
            return


def carry_out(
    task: Task,
    kernels: Mapping[str, Kernel],
    take_turn: TakeTurn,
    report_share: ReportShare = ignore_share,
) -> Outcome:
    """Return what came of a task: of a race, or of trainings, of which ``report_share`` hears."""
    training = TRAININGS.get(task.problem.workload.computes)
    if training is None:
        return run(task, set_up, kernels, take_turn)
    return training(task, kernels, take_turn, report_share)


def set_up(task: Task) -> Setup:
    """Return what the kernels of ``task`` share, made here."""
    setups: dict[str, Callable[[Task], Setup]] = {
        "step": StepSetup,
        "network": NetworkSetup,
        "serving": NetworkSetup,
    }
    return setups.get(task.problem.workload.computes, LayerSetup)(task)


def _limit_memory() -> None:
    """Let a kernel that asks for more memory than there is fail, before the machine swaps.

    Not where there is a GPU: its driver reserves far more addresses than it uses memory.
    """
    if resource is None or Path("/dev/nvidiactl").exists():
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    available = psutil.virtual_memory().available
    soft = available if hard == resource.RLIM_INFINITY else min(available, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
