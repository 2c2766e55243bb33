"""A visit inside the worker: every kernel checked, then timed together, then checked again."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from crossover.bench.errors import one_line
from crossover.bench.harness import race as racing
from crossover.bench.harness.canary import Canary
from crossover.bench.harness.race import (
    LEAST_ROUNDS,
    MOST_ROUNDS,
    Call,
    Competitor,
    HostClock,
    View,
)
from crossover.bench.machine import cuda
from crossover.bench.machine.flush import flusher
from crossover.bench.records.rows import Row, Status
from crossover.bench.workloads.problem import Problem
from crossover.kernels.base import Kernel
from crossover.kernels.oracle import Verdict

#: Exit code of a worker that lost the GPU.
EXIT_GPU_LOST = 70
TakeTurn = Callable[[str], None]


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
    #: Says what is wrong with a result while kernels are timed, or None.
    problem_of: Callable[[Any], str | None]
    #: The whole check of a result.
    check: Callable[[Any], Verdict]
    #: Further ways to see its calls on a CPU.
    views: Mapping[str, View] = field(default_factory=dict)
    #: Whether a GPU's launch may take longer than the work, so that it is seen apart.
    launch_bound: bool = False


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
    canary = _race(task, kernels, calls, rows, take_turn)
    for name, call in calls.items():
        if rows[name].status == "measured":
            take_turn(name)
            rows[name] = _checked_again(rows[name], call)
            _end_if_gpu_lost(kernels[name])
    take_turn("")
    return Outcome(setup.description, canary, {n: _in_one_line(row) for n, row in rows.items()})


def _in_one_line(row: Row) -> Row:
    """Return a row whose texts, which kernels and libraries wrote, fit into every output."""
    reason = row.reason and (one_line(row.reason) or "no reason is given")
    return replace(row, reason=reason, warnings=[one_line(each) for each in row.warnings])


def _race(
    task: Task,
    kernels: Mapping[str, Kernel],
    calls: Mapping[str, PreparedCall],
    rows: dict[str, Row],
    take_turn: TakeTurn,
) -> dict[str, list[float]]:
    """Time the calls together, write what was measured into ``rows``, and return the canary."""
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
    rng = np.random.default_rng(task.seed)
    on_gpu = any(kernels[name].device == "cuda" for name in competitors)
    canary = Canary(task.problem.setting.threads, on_gpu)
    racing.race(competitors, task.budget_s, rng, take_turn, task.rounds, canary)
    for name, competitor in competitors.items():
        if competitor.failure:
            take_turn(name)
            _end_if_gpu_lost(kernels[name])
        rows[name] = _timed_row(rows[name], competitor, kernels[name])
    return canary.seconds


def _end_if_gpu_lost(kernel: Kernel) -> None:
    """End this process if the GPU is unusable: a fresh one measures the others."""
    if kernel.device == "cuda" and kernel.unavailable() is None and cuda.lost():
        os._exit(EXIT_GPU_LOST)


def _competitor(task: Task, kernel: Kernel, call: PreparedCall) -> tuple[Competitor, list[str]]:
    """Return how a call is timed on its device, and the warnings about that."""
    cold = task.problem.setting.caches == "cold"
    if kernel.device != "cuda":
        flush = flusher() if cold else None
        return Competitor(
            call.call, HostClock(), call.problem_of, flush=flush, views=call.views
        ), []
    competitor = Competitor(call.call, cuda.EventClock(), call.problem_of)
    if cold:
        competitor.flush = cuda.flusher()
        return competitor, []
    if not call.launch_bound:
        return competitor, []
    replay = captured(kernel, call.call, call.check)
    competitor.views = {"call": cuda.WaitingClock()}
    if isinstance(replay, str):
        return competitor, [replay]
    competitor.views["replay"] = replay
    return competitor, []


def captured(kernel: Kernel, call: Call, check: Callable[[Any], Verdict]) -> cuda.ReplayClock | str:
    """Return a clock for replays of ``call``, or why there is none, in words.

    A graph is used only if its replay computes the right result over one that was overwritten.
    """
    try:
        replay = cuda.ReplayClock(call)
        result = replay.replayed(lambda result: kernel.local(result).fill(np.nan))
        problem = check(result).problem
    except Exception as error:  # any library call may refuse to be captured, each in its own way
        return f"no CUDA graph: {type(error).__name__}: {error}"
    return f"no CUDA graph: its replay is wrong: {problem}" if problem else replay


def nonfinite(result: Any) -> str | None:
    """Return that ``result`` holds a NaN or infinity, or None; real operands hold neither."""
    total = float(result.sum())
    return None if np.isfinite(total) else "a result had a NaN or infinity while it was timed"


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
        threading_layer=_threading_layer(kernel),
        warnings=row.warnings + (["host delay"] if exposed else []),
        busy_s=row.busy_s + competitor.busy_s,
    )
    if competitor.failure:
        status: Status = "wrong" if competitor.wrong else "failed"
        return replace(row, status=status, reason=competitor.failure)
    return row


def _checked_again(row: Row, call: PreparedCall) -> Row:
    try:
        problem = call.check(call.call()).problem
    except Exception as error:
        reason = f"raised after it was timed: {_described(error)}"
        return replace(row, status="failed", reason=reason)
    return replace(row, status="wrong", reason=f"after it was timed: {problem}") if problem else row


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
