"""The process that runs kernels, so that a crash or a hang costs one kernel of one cell.

The parent sends a job (:mod:`.trial`) and waits for outcomes. Meanwhile the worker writes into
shared memory which kernel has its turn, and counts the turns. If it dies, or stays in one turn
for longer than the time limit, that kernel is blamed: its row says so, a fresh worker takes over
and measures the rest of the cell.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from crossover.bench.machine import THREADING_LAYERS
from crossover.bench.trial import EXIT_GPU_LOST, Job, Outcome
from crossover.kernels import discover

resource: Any
try:
    import resource
except ImportError:  # not on Windows
    resource = None

_POLL_S = 0.02
_ORPHAN_CHECK_S = 2.0
_START_LIMIT_S = 120.0


class Worker:
    """A worker process with a number of threads; replaced by a fresh one when it is lost."""

    def __init__(
        self,
        threads: int,
        modules: Sequence[str] = (),
        time_limit_s: float = 60.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.threads = threads
        self.modules = tuple(modules)
        self.time_limit_s = time_limit_s
        self.environment = dict(environment or thread_environment(threads))
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None

    def measure(self, task: Job) -> dict[str, Outcome]:
        """Return the outcome of every kernel of ``task``, by name."""
        lost: dict[str, Outcome] = {}
        while True:
            names = [name for name in task.kernels if name not in lost]
            answer = self._attempt(task, names)
            if isinstance(answer, dict):
                return {name: (answer | lost)[name] for name in task.kernels}
            culprit, reason = answer
            lost[culprit] = Outcome("failed", reason)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        # Which kernel has its turn (-1: none), and how many turns there have been.
        self._turn = self._context.Value("l", -1, lock=False)
        self._turns = self._context.Value("l", 0, lock=False)
        self._process = self._context.Process(
            target=_serve,
            args=(theirs, self._turn, self._turns, self.modules, os.getpid()),
            daemon=True,
        )
        with _environment(self.environment), _without_interrupts():
            self._process.start()
        theirs.close()
        if not self._pipe.poll(_START_LIMIT_S) or self._pipe.recv() != "ready":
            raise RuntimeError("the worker process did not start")

    def _attempt(self, task: Job, names: list[str]) -> dict[str, Outcome] | tuple[str, str]:
        """Return the outcomes, or (the kernel that lost the worker, why)."""
        if not names:
            return {}
        if self._process is None:
            self._start()
        self._turn.value = -1
        self._pipe.send((task, names))
        turns, since = -1, time.monotonic()
        while not self._pipe.poll(_POLL_S):
            now = time.monotonic()
            if self._turns.value != turns:
                turns, since = self._turns.value, now
            elif now - since > self.time_limit_s:
                reason = f"no answer within {self.time_limit_s:g} s: the worker was stopped"
                return self._lose(names, reason)
            if not self._process.is_alive() and not self._pipe.poll():
                break
        try:
            outcomes: dict[str, Outcome] = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join(_POLL_S)
            return self._lose(names, _death(self._process.exitcode))
        return outcomes

    def _lose(self, names: list[str], reason: str) -> tuple[str, str]:
        """Stop the worker and return whom to blame for what."""
        turn = self._turn.value
        self.close()
        return names[max(turn, 0)], reason


def thread_environment(threads: int) -> dict[str, str]:
    """Return the environment under which every library uses ``threads`` threads, and no more.

    An idle pool of threads waits busily for its next task before it sleeps: OpenBLAS for 25 ms,
    Intel's OpenMP for 200 ms. With one pool after the other on the same cores that wait may fall
    into the next kernel's turn. So each pool waits for about 0.1 ms: longer than the gap between
    two calls of a sample, shorter than the warm-up before one. Threads are bound, so that two of
    a parallel loop never share a core. ``selfcheck`` times a kernel alone and beside dense
    products, under these settings and under the libraries' own.
    """
    libraries = ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM", "BLIS")
    return {f"{library}_NUM_THREADS": str(threads) for library in libraries} | {
        "OPENBLAS_THREAD_TIMEOUT": "18",  # 2^18 cycles
        "GOMP_SPINCOUNT": "10000",
        "KMP_BLOCKTIME": "0",
        "OMP_PROC_BIND": "true",
        "OMP_PLACES": "cores",
        "NUMBA_THREADING_LAYER_PRIORITY": os.environ.get(
            "NUMBA_THREADING_LAYER_PRIORITY", THREADING_LAYERS
        ),
        "NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS": "0",
        # What Numba's CUDA simulator takes is not a time worth measuring.
        "NUMBA_ENABLE_CUDASIM": "0",
    }


def in_fresh_process(function: Callable[..., Any], threads: int | None = None) -> Any:
    """Return what ``function`` returns in a process that no library was loaded in before.

    It is called with ``threads``, and its libraries use so many; or without, and they use one.
    """
    context = multiprocessing.get_context("spawn")
    given = () if threads is None else (threads,)
    with (
        _environment(thread_environment(threads or 1)),
        ProcessPoolExecutor(1, mp_context=context) as pool,
    ):
        return pool.submit(function, *given).result()


class _environment:  # noqa: N801 - used like a function
    """Set environment variables while a process is started, which inherits them."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    def __enter__(self) -> None:
        self.before = {name: os.environ.get(name) for name in self.values}
        os.environ.update(self.values)

    def __exit__(self, *exception: object) -> None:
        for name, value in self.before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C from the first: their parent decides what it ends."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say so
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"crashed the worker process ({signal.Signals(-exitcode).name})"
    if exitcode == EXIT_GPU_LOST:
        return "left the GPU in an error that no later call recovers from"
    return f"ended the worker process (exit code {exitcode})"


# -- in the worker process --------------------------------------------------------------------


def _serve(pipe: Any, turn: Any, turns: Any, modules: tuple[str, ...], parent: int) -> None:
    """Answer tasks until the parent goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    _limit_memory()
    kernels = discover(modules)
    pipe.send("ready")
    while True:
        try:
            task, names = pipe.recv()

            def take_turn(name: str, names: list[str] = names) -> None:
                turn.value = names.index(name)
                turns.value += 1

            pipe.send(task.carry_out({name: kernels[name] for name in names}, take_turn))
        except (EOFError, BrokenPipeError):
            return


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


def end_with(parent: int) -> None:
    """End this process soon after its parent, even in the middle of a kernel."""
    while os.getppid() == parent:
        time.sleep(_ORPHAN_CHECK_S)
    os._exit(1)
