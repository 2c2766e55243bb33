"""The environment of processes that measure: how many threads each library has, and when they rest.

An idle pool of threads waits busily for its next task before it sleeps: OpenBLAS for 25 ms,
Intel's OpenMP for 200 ms. With one pool after the other on the same cores that wait may fall into
the next kernel's turn. So each pool waits for about 0.1 ms: longer than the gap between two calls
of a sample, shorter than the warm-up before one.

A pool that may not wait at all has to be woken for every call. Under ``KMP_BLOCKTIME=0`` MKL's
inspected CSR (300 x 784, 90 %) took 2.3 to 7 times as long at batch 1, and 1.5 to 4 times at 16,
as under 0.1 ms, 1 ms or its own 200 ms, which agree (two cores of an AMD EPYC, 76 fresh processes
in turn). And so did Numba's kernels: where MKL is loaded first, its OpenMP runs their loops, too.
Under 200 ms OpenBLAS beside them took 4 times as long.

Threads are bound, so that two of a parallel loop never share a core. ``selfcheck`` times Numba's
and MKL's CSR alone and beside dense products, under these settings and under the libraries' own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from crossover.bench.machine.identity import THREADING_LAYERS
from crossover.bench.workloads.problem import Setting

_ORPHAN_CHECK_S = 2.0
_LIBRARIES = "OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM", "BLIS"
_RESTING = {
    "OPENBLAS_THREAD_TIMEOUT": "18",  # 2^18 cycles
    "GOMP_SPINCOUNT": "10000",
    "KMP_BLOCKTIME": "100us",
    "OMP_PROC_BIND": "true",
    "OMP_PLACES": "cores",
}


def environment_of(setting: Setting) -> dict[str, str]:
    """Return the variables under which every library uses the setting's threads, and no more."""
    counts = {f"{library}_NUM_THREADS": str(setting.threads) for library in _LIBRARIES}
    resting = _RESTING if setting.idle_threads == "rest" else {}
    return (
        counts
        | resting
        | {
            "NUMBA_THREADING_LAYER_PRIORITY": os.environ.get(
                "NUMBA_THREADING_LAYER_PRIORITY", THREADING_LAYERS
            ),
            "NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS": "0",
            # What Numba's CUDA simulator takes is not a time worth measuring.
            "NUMBA_ENABLE_CUDASIM": "0",
        }
    )


def in_fresh_process(function: Callable[..., Any], threads: int | None = None) -> Any:
    """Return what ``function`` returns in a process that no library was loaded in before.

    It is called with ``threads``, and its libraries use so many; or without, and they use one.
    """
    given = () if threads is None else (threads,)
    with (
        variables(environment_of(Setting(threads or 1))),
        ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), start_ending_with, (os.getpid(),)
        ) as pool,
    ):
        return pool.submit(function, *given).result()


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while a process is started, which inherits them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C from the first: their parent decides what it ends."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say so
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def start_ending_with(parent: int) -> None:
    """Let this process end soon after its parent, even in the middle of a kernel."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_ORPHAN_CHECK_S)
    os._exit(1)
