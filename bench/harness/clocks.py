"""How the seconds of calls are read on the host; :mod:`bench.machine.cuda` has a GPU's clocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

Call = Callable[[], Any]
#: More calls than this nobody times in one go.
MOST_LOOPS = 1 << 20


class View(Protocol):
    """Times a number of calls, one after the other."""

    #: More calls than this it cannot time in one go.
    most_loops: int

    def seconds(self, call: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds that ``loops`` calls took together, and what the last returned."""


class Clock(View, Protocol):
    """Times calls one by one, too."""

    def cold_seconds(self, call: Call, flush: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds of ``loops`` calls, each after an untimed flush, and the last result.

        A pool of threads has gone to sleep by the end of a flush, so that a call wakes its own.
        """


class HostClock:
    """The monotonic clock of the host, for kernels that return when they are done."""

    most_loops = MOST_LOOPS

    def seconds(self, call: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds between before the first call and after the last."""
        repeat, result = range(loops), None
        begin = time.perf_counter()
        for _ in repeat:
            result = call()
        return time.perf_counter() - begin, result

    def cold_seconds(self, call: Call, flush: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds of calls that are timed one by one, each after a flush."""
        total, result = 0.0, None
        for _ in range(loops):
            flush()
            seconds, result = self.seconds(call, 1)
            total += seconds
        return total, result
