"""A visit inside the worker: every kernel checked, then timed together, then checked again.

How it is kept from cheating in between is said in :mod:`bench.harness.race`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from crossover.bench.errors import one_line
from crossover.bench.harness import race as racing
from crossover.bench.harness.canary import Canary
from crossover.bench.harness.clocks import Call, Clock, HostClock, View
from crossover.bench.harness.examination.examiner import Examiner, poison
from crossover.bench.harness.examination.repeats import PROVEN, TOLD
from crossover.bench.harness.race import LEAST_ROUNDS, MOST_ROUNDS, Competitor
from crossover.bench.machine import cuda
from crossover.bench.machine.flush import flusher
from crossover.bench.records.rows import Row, Status
from crossover.bench.workloads.problem import Problem
from crossover.kernels.base import Kernel

#: Exit code of a worker that lost the GPU.
EXIT_GPU_LOST = 70
#: The warning about a kernel that fresh operands slow down.
SLOWER_ON_FRESH = "slower on fresh X"
TakeTurn = Callable[[str], None]
#: Told the share of a training that is done.
ReportShare = Callable[[float], None]


@dataclass(frozen=True)
class Task:
    """A problem to visit, and the kernels that compete in it."""

    problem: Problem
    kernels: tuple[str, ...]
    #: Seconds after which no further round begins.
    budget_s: float
    seed: tuple[int, ...]
    #: The least and the most rounds.
    rounds: tuple[int, int] = (LEAST_ROUNDS, MOST_ROUNDS)
    #: Whether operands are kept for the next visit to the same weight: converting a large one for
    #: every GPU kernel takes longer than all else.
    keeps_operands: bool = False
    #: The worker process that must not make this visit, for it made all others; or nothing.
    not_in: str = ""
    #: Whether it begins in a process that nothing ran in before.
    fresh_process: bool = False


@dataclass(frozen=True)
class Description:
    """What a problem turned out to be, once its operands were made."""

    m: int
    k: int
    n: int
    nnz: int
    sparsity: float
    zeros_x: float
    zeros_dy: float
    useful_flops: float
    executed_flops: float
    side_bytes: int
    format_bytes: dict[str, int]


@dataclass(frozen=True)
class Outcome:
    """What came of a task: the problem's description, the canary, and a row per kernel."""

    #: None where the operands could not be made.
    description: Description | None
    #: Seconds of its parts, a value a round.
    canary: dict[str, list[float]]
    rows: dict[str, Row]


@dataclass(frozen=True)
class PreparedCall:
    """A kernel that passed its check, ready to be timed."""

    call: Call
    #: Renews its operands and judges its results.
    examiner: Examiner
    #: Further ways to see its calls on a CPU.
    views: Mapping[str, View] = field(default_factory=dict)
    #: Whether a GPU's launch may take longer than the work, so that it is seen apart.
    launch_bound: bool = False
    #: What views see of its parts, a value a round; they go on writing to it.
    parts: Mapping[str, list[float]] = field(default_factory=dict)
    #: What times it, where that is not one call after the other, or a GPU's call from the host.
    clock: Clock | None = None


class Setup(Protocol):
    """What all kernels of a task share."""

    @property
    def description(self) -> Description:
        """Return what the problem is."""

    def prepare(self, kernel: Kernel) -> tuple[Row, PreparedCall | None]:
        """Return the row so far, and the call if the kernel computes what it should."""


class TooLargeError(Exception):
    """Raised where the operands of a problem do not fit into the free memory, in words."""


def run(
    task: Task,
    set_up: Callable[[Task], Setup],
    kernels: Mapping[str, Kernel],
    take_turn: TakeTurn,
) -> Outcome:
    """Return the outcome of every kernel; ``take_turn`` hears which of them runs next.

    The empty name is the harness's own turn.
    """
    take_turn("")
    try:
        setup = set_up(task)
    except TooLargeError as error:
        return Outcome(None, {}, {name: Row(name, "skipped", str(error)) for name in kernels})
    rows: dict[str, Row] = {}
    calls: dict[str, PreparedCall] = {}
    for name, kernel in kernels.items():
        take_turn(name)
        try:
            rows[name], call = setup.prepare(kernel)
        except Exception as error:
            rows[name], call = Row(name, "failed", f"raised {_described(error)}"), None
        # At the end of every turn: a launch returns before it goes wrong.
        _end_if_gpu_lost(kernel)
        if call is not None:
            calls[name] = call
    competitors = _competitors(task, kernels, calls, rows, take_turn)
    rng = np.random.default_rng(task.seed)
    on_gpu = any(kernels[name].device == "cuda" for name in competitors)
    canary = Canary(task.problem.setting.threads, on_gpu)
    racing.race(competitors, task.budget_s, rng, take_turn, task.rounds, canary)
    for name, competitor in competitors.items():
        take_turn(name)
        rows[name] = _timed_row(rows[name], competitor, kernels[name])
        parts = {part: list(samples) for part, samples in calls[name].parts.items()}
        rows[name] = replace(rows[name], part_samples=parts)
        if rows[name].status == "measured":
            rows[name] = _checked_again(rows[name], competitor)
        _end_if_gpu_lost(kernels[name])
    take_turn("")
    found = {name: _in_one_line(row) for name, row in rows.items()}
    return Outcome(setup.description, canary.seconds, found)


def _in_one_line(row: Row) -> Row:
    """Return a row whose texts, which kernels and libraries wrote, fit into every output."""
    reason = row.reason and (one_line(row.reason) or "no reason is given")
    return replace(row, reason=reason, warnings=[one_line(each) for each in row.warnings])


def _competitors(
    task: Task,
    kernels: Mapping[str, Kernel],
    calls: Mapping[str, PreparedCall],
    rows: dict[str, Row],
    take_turn: TakeTurn,
) -> dict[str, Competitor]:
    """Return how each call is timed; write into ``rows`` what cannot be, and warnings."""
    competitors = {}
    for name, call in calls.items():
        take_turn(name)
        try:
            competitors[name], seen = _competitor(task, kernels[name], call)
        except Exception as error:
            reason = f"raised {_described(error)}"
            rows[name] = replace(rows[name], status="failed", reason=reason)
        else:
            rows[name] = replace(rows[name], warnings=rows[name].warnings + seen)
        _end_if_gpu_lost(kernels[name])
    return competitors


def _end_if_gpu_lost(kernel: Kernel) -> None:
    """End this process if the GPU is unusable: a fresh one measures the others."""
    if kernel.device == "cuda" and kernel.unavailable() is None and cuda.lost():
        os._exit(EXIT_GPU_LOST)


def _competitor(task: Task, kernel: Kernel, call: PreparedCall) -> tuple[Competitor, list[str]]:
    """Return how a call is timed on its device, and the warnings about that."""
    cold = task.problem.setting.caches == "cold"
    if kernel.device != "cuda" or call.clock is not None:
        flush = flusher() if cold else None
        clock = call.clock or HostClock()
        return Competitor(call.call, clock, call.examiner, flush=flush, views=call.views), []
    competitor = Competitor(call.call, cuda.EventClock(), call.examiner)
    if cold:
        competitor.flush = cuda.flusher()
        return competitor, []
    if not call.launch_bound:
        return competitor, []
    replay = captured(kernel, call.call, call.examiner)
    competitor.views = {"call": cuda.WaitingClock()}
    if isinstance(replay, str):
        return competitor, [replay]
    competitor.views["replay"] = replay
    return competitor, []


def captured(kernel: Kernel, call: Call, examiner: Examiner) -> cuda.ReplayClock | str:
    """Return a clock for replays of ``call``, or why there is none, in words.

    A graph is used only if its replay computes the right result for operands that were renewed
    after it was captured, over a result that was overwritten.
    """
    try:
        replay = cuda.ReplayClock(call)
        examiner.renew()
        result = replay.replayed(lambda result: poison(kernel, result))
        problem = examiner.check(result).problem
    except Exception as error:  # any library call may refuse to be captured, each in its own way
        return f"no CUDA graph: {type(error).__name__}: {error}"
    return f"no CUDA graph: its replay is wrong: {problem}" if problem else replay


def _timed_row(row: Row, competitor: Competitor, kernel: Kernel) -> Row:
    """Return the row with what the race measured."""
    exposed = isinstance(competitor.clock, cuda.EventClock) and competitor.clock.exposed
    row = replace(
        row,
        samples=competitor.samples,
        loops=competitor.loops,
        call_samples=competitor.seen.get("call", []),
        replay_samples=competitor.seen.get("replay", []),
        inside_samples=competitor.seen.get("inside", []),
        p50_samples=competitor.seen.get("p50", []),
        p99_samples=competitor.seen.get("p99", []),
        threading_layer=_threading_layer(kernel),
        warnings=row.warnings + (["host delay"] if exposed else []),
        busy_s=row.busy_s + competitor.busy_s,
    )
    if competitor.failure:
        status: Status = "wrong" if competitor.wrong else "failed"
        return replace(row, status=status, reason=competitor.failure)
    return row


def _checked_again(row: Row, competitor: Competitor) -> Row:
    """Return the row with what is noticed once the times are known."""
    try:
        slowdown = racing.slowdown_on_fresh(competitor)
        result = racing.examined_call(competitor)
        problem = competitor.examiner.check(result).problem
    except Exception as error:
        reason = f"raised after it was timed: {_described(error)}"
        return replace(row, status="failed", reason=reason)
    if not problem and slowdown >= PROVEN:
        problem = f"it keeps answers: a call takes {slowdown:.3g} times as long for a fresh X"
    if problem:
        return replace(row, status="wrong", reason=f"after it was timed: {problem}")
    slower = [SLOWER_ON_FRESH] if slowdown >= TOLD else []
    return replace(row, warnings=row.warnings + slower)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _threading_layer(kernel: Kernel) -> str:
    """Return what Numba starts its threads with, for a kernel that runs in Numba on the CPU."""
    if kernel.runtime != "numba" or kernel.device != "cpu":
        return ""
    try:
        return str(importlib.import_module("numba").threading_layer())
    except ValueError:  # no parallel loop ran
        return ""
