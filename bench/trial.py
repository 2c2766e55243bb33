"""A trial in the worker process: every kernel checked, then timed together, then checked again."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np

from crossover.bench import cuda
from crossover.bench.machine import free_bytes, too_little
from crossover.bench.timing import Call, Clock, Competitor, HostClock, race
from crossover.kernels.base import Kernel, Problem
from crossover.kernels.oracle import Verdict
from crossover.kernels.processor import cache_sizes

Status = Literal["measured", "skipped", "failed", "wrong"]
#: With which a worker ends that can no longer use the GPU.
EXIT_GPU_LOST = 70


class Job(Protocol):
    """What a worker carries out."""

    @property
    def kernels(self) -> Sequence[str]:
        """Return the names of the kernels that take part."""

    def carry_out(
        self, kernels: Mapping[str, Kernel], take_turn: Callable[[str], None]
    ) -> dict[str, Outcome]:
        """Return the outcome of every kernel; ``take_turn`` hears which of them runs next."""


class Trial(Job, Protocol):
    """A job in which kernels compete in rounds."""

    @property
    def budget_s(self) -> float:
        """Return the seconds after which no further round begins."""

    @property
    def seed(self) -> int | list[int]:
        """Return the seed of the order in which the kernels have their turns."""

    @property
    def rounds(self) -> tuple[int, int]:
        """Return the least and the most rounds."""

    @property
    def cold(self) -> bool:
        """Return whether the caches are emptied before each timed call."""

    def table(self) -> Table:
        """Return what all kernels share, made in the process that runs them."""


class Table(Protocol):
    """What all kernels of a trial share."""

    def enter(self, kernel: Kernel) -> tuple[Outcome, Entrant | None]:
        """Return the outcome so far, and the entrant if the kernel computes what it should."""


@dataclass
class Outcome:
    """What became of one kernel in one cell."""

    status: Status
    reason: str = ""
    #: Seconds per call, one value a round; on a GPU the device's own time.
    samples: list[float] = field(default_factory=list)
    #: Rounds of each visit to the cell.
    visits: list[int] = field(default_factory=list)
    loops: int = 0
    prepare_s: float | None = None
    #: The first call, compilation included.
    first_call_s: float | None = None
    #: Seconds of both that Numba compiled for; 0 where its cache on disk had the code.
    compile_s: float | None = None
    nbytes: int | None = None
    relative_error: float | None = None
    share_of_bound: float | None = None
    #: Seconds of the canary, one value a round.
    canary: list[float] = field(default_factory=list)
    #: Numba's, if it was used.
    threading_layer: str = ""
    #: On a GPU, seconds per call as the host sees it, and in a replayed CUDA graph.
    call_samples: list[float] = field(default_factory=list)
    replay_samples: list[float] = field(default_factory=list)
    #: Of a training step on a CPU, the seconds inside the kernel's passes and updates.
    inside_samples: list[float] = field(default_factory=list)
    #: What else there is to say about how it was timed.
    remarks: list[str] = field(default_factory=list)
    #: Seconds that the kernel itself kept the machine busy: converting, warming up, timed.
    busy_s: float = 0.0

    def joined(self, later: Outcome) -> Outcome:
        """Return this outcome with the rounds of a ``later`` visit to the same cell."""
        return replace(
            self,
            status=later.status,
            reason=later.reason,
            samples=self.samples + later.samples,
            visits=self.visits + later.visits,
            loops=min(self.loops, later.loops),
            canary=self.canary + later.canary,
            call_samples=self.call_samples + later.call_samples,
            replay_samples=self.replay_samples + later.replay_samples,
            inside_samples=self.inside_samples + later.inside_samples,
            remarks=list(dict.fromkeys(self.remarks + later.remarks)),
            busy_s=self.busy_s + later.busy_s,
        )


#: The remark on a sparse operand that stores W with its zeros: a dense product by another name.
FILLED = "blocks fill W"


@dataclass(frozen=True)
class Entrant:
    """A kernel that passed its check."""

    call: Call
    #: Says what is wrong with a result while kernels are timed, or None.
    doubt: Callable[[Any], str | None]
    #: Calls once more, and says what is wrong with the result, or None.
    check_again: Callable[[], str | None]
    #: Further ways to see its calls on a CPU.
    views: Mapping[str, Clock] = field(default_factory=dict)
    #: The check of a result, where the call may be captured into a CUDA graph; it is launch-bound.
    capturable: Callable[[Any], Verdict] | None = None


def measure(
    trial: Trial,
    kernels: Mapping[str, Kernel],
    take_turn: Callable[[str], None],
    table: Table | None = None,
) -> dict[str, Outcome]:
    """Return the outcome of every kernel; ``take_turn`` hears which of them runs next.

    They share ``table``, by default one that the trial makes.
    """
    table = table or trial.table()
    outcomes: dict[str, Outcome] = {}
    entrants: dict[str, Entrant] = {}
    for name, kernel in kernels.items():
        take_turn(name)
        try:
            outcomes[name], entrant = table.enter(kernel)
        except Exception as error:
            end_if_lost(kernel)
            outcomes[name] = Outcome("failed", f"raised {type(error).__name__}: {error}")
        else:
            if entrant is not None:
                entrants[name] = entrant
    competitors = {
        name: _competitor(trial, kernels[name], entrant, outcomes[name])
        for name, entrant in entrants.items()
    }
    rng = np.random.default_rng(trial.seed)
    canary = race(competitors, trial.budget_s, rng, take_turn, trial.rounds)
    for name, competitor in competitors.items():
        outcome = outcomes[name]
        if competitor.failure:
            take_turn(name)
            end_if_lost(kernels[name])
        _take_over(outcome, competitor)
        outcome.canary, outcome.threading_layer = canary, _threading_layer(kernels[name])
        if not competitor.failure:
            take_turn(name)
            if problem := entrants[name].check_again():
                outcome.status, outcome.reason = "wrong", f"after it was timed: {problem}"
    return outcomes


def end_if_lost(kernel: Kernel) -> None:
    """End this process if ``kernel`` left the GPU unusable: a fresh one measures the others."""
    if kernel.device == "cuda" and cuda.lost():
        os._exit(EXIT_GPU_LOST)


def _competitor(trial: Trial, kernel: Kernel, entrant: Entrant, outcome: Outcome) -> Competitor:
    """Return how an entrant is timed on its device."""
    if kernel.device != "cuda":
        flush = flusher(_last_cache_bytes()) if trial.cold else None
        return Competitor(
            entrant.call, HostClock(), entrant.doubt, flush=flush, views=entrant.views
        )
    competitor = Competitor(entrant.call, cuda.EventClock(), entrant.doubt)
    if trial.cold:
        competitor.flush = cuda.flusher()
        return competitor
    if entrant.capturable:
        replay = captured(kernel, entrant.call, entrant.capturable)
        competitor.views = {"call": cuda.WaitingClock()}
        if isinstance(replay, str):
            outcome.remarks.append(replay)
        else:
            competitor.views["replay"] = replay
    return competitor


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


def flusher(last_cache_bytes: int) -> Call:
    """Return a function that empties all caches of the CPU: it writes twice their size."""
    room = np.zeros(2 * last_cache_bytes, np.uint8)
    return lambda: room.fill(1)


def _take_over(outcome: Outcome, competitor: Competitor) -> None:
    """Write what the race measured into the outcome."""
    outcome.samples, outcome.loops = competitor.samples, competitor.loops
    outcome.visits = [len(competitor.samples)]
    outcome.call_samples = competitor.seen.get("call", [])
    outcome.replay_samples = competitor.seen.get("replay", [])
    outcome.inside_samples = competitor.seen.get("inside", [])
    outcome.busy_s += competitor.busy_s
    if isinstance(competitor.clock, cuda.EventClock) and competitor.clock.exposed:
        outcome.remarks.append(cuda.EXPOSED)
    if competitor.failure:
        outcome.status = "wrong" if competitor.wrong else "failed"
        outcome.reason = competitor.failure


def too_large(kernel: Kernel, *problems: Problem) -> str | None:
    """Return that the problems do not fit into the device's free memory together, or None."""
    needed = sum(kernel.needed_bytes(problem) for problem in problems)
    free = free_bytes(kernel.device)
    return None if needed <= free else too_little(needed, free)


def nonfinite(result: Any) -> str | None:
    """Return that ``result`` holds a NaN or infinity, or None; real operands hold neither."""
    total = float(result.sum())
    return None if np.isfinite(total) else "a result had a NaN or infinity while it was timed"


def _last_cache_bytes() -> int:
    """Return the size of the largest cache; 64 MiB where the system does not tell."""
    return max(cache_sizes().values(), default=1 << 26)


def _threading_layer(kernel: Kernel) -> str:
    """Return what Numba starts its threads with, for a kernel that runs in Numba on the CPU."""
    if not kernel.name.startswith("numba-") or kernel.device != "cpu":
        return ""
    try:
        return str(importlib.import_module("numba").threading_layer())
    except ValueError:  # no parallel loop ran
        return ""
