"""Threads of the harness's own, one bound to each core, for what has to be done on all of them.

No kernel's pool is used for that: it would be awake in the next kernel's turn. These sleep between
two pieces of work, and wait busily for nothing. What they run has to give up Python's lock.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache

# Taken before any library is loaded: OpenMP binds the main thread to one of them later.
_ALLOWED: tuple[int | None, ...] = (
    tuple(sorted(os.sched_getaffinity(0)))
    if hasattr(os, "sched_getaffinity")
    else (None,) * (os.cpu_count() or 1)
)

Work = Callable[[int], None]


class CoreThreads:
    """A thread on each of the first ``count`` cores; they end with the process."""

    def __init__(self, count: int) -> None:
        cores = _ALLOWED[:count]
        self.count = len(cores)
        self._work: Work | None = None
        self._error: BaseException | None = None
        self._starts = [threading.Semaphore(0) for _ in cores]
        self._done = threading.Semaphore(0)
        for index, core in enumerate(cores):
            threading.Thread(target=self._serve, args=(index, core), daemon=True).start()

    def run(self, work: Work) -> None:
        """Call ``work`` with its index on every thread, at once, and wait for all of them.

        Raises:
            BaseException: what a call raised.
        """
        self._work, self._error = work, None
        for start in self._starts:
            start.release()
        for _ in self._starts:
            self._done.acquire()
        self._work = None
        if self._error is not None:
            raise self._error

    def _serve(self, index: int, core: int | None) -> None:
        if core is not None:
            os.sched_setaffinity(threading.get_native_id(), {core})
        while True:
            self._starts[index].acquire()
            try:
                assert self._work is not None
                self._work(index)
            except BaseException as error:
                self._error = error
            self._done.release()


def core_count() -> int:
    """Return how many cores this process may use, whatever its threads are bound to by now."""
    return len(_ALLOWED)


@cache
def core_threads(count: int) -> CoreThreads:
    """Return the threads on the first ``count`` cores, started once."""
    return CoreThreads(count)
