"""Several callers at a time: each calls, waits for its answer, and calls again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from crossover.bench.harness.clocks import MOST_LOOPS, Call

# Of a sample: Python's threads take turns of some milliseconds.
_SAMPLE_S = 0.1
# Answers behind a latency: of fewer the hundredth slowest says nothing.
_LEAST_ANSWERS = 500
_MOST_S = 0.5


class Load:
    """A clock of so many callers, each a thread: it tells seconds an answer, of all together."""

    most_loops = MOST_LOOPS

    def __init__(self, callers: int) -> None:
        self.callers = callers
        self._pool = ThreadPoolExecutor(callers)
        self._answer_s = _SAMPLE_S

    def seconds(self, call: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds that ``loops`` answers take, and the last one of one caller.

        More are asked for where they are over too soon to tell.
        """
        each = -(-max(loops, int(_SAMPLE_S / self._answer_s)) // self.callers)

        def caller(_: int) -> Any:
            result = None
            for _ in range(each):
                result = call()
            return result

        taken_s, results = self._together(caller)
        self._answer_s = taken_s / (each * self.callers)
        return self._answer_s * loops, results[0]

    def cold_seconds(self, call: Call, flush: Call, loops: int) -> tuple[float, Any]:
        """Return the seconds of answers after a flush, which callers do not wait for."""
        flush()
        return self.seconds(call, loops)

    def latency(self, share: float) -> Latency:
        """Return a view that tells within which time a ``share`` of the answers comes."""
        return Latency(self, share)

    def waits_s(self, call: Call) -> list[float]:
        """Return the seconds of many answers, as their callers wait for them."""
        end = time.perf_counter() + _MOST_S
        least = -(-_LEAST_ANSWERS // self.callers)

        def caller(_: int) -> list[float]:
            found: list[float] = []
            before = time.perf_counter()
            while len(found) < least and before < end:
                call()
                after = time.perf_counter()
                found.append(after - before)
                before = after
            return found

        _, waits = self._together(caller)
        return [wait for each in waits for wait in each]

    def _together(self, caller: Callable[[int], Any]) -> tuple[float, list[Any]]:
        """Return the seconds until all callers are done, who begin together, and their results."""
        start = threading.Barrier(self.callers)

        def begun(number: int) -> tuple[float, float, Any]:
            start.wait()
            begin = time.perf_counter()
            result = caller(number)
            return begin, time.perf_counter(), result

        # By the callers' own clocks: whoever waits for them may be woken late.
        running = [self._pool.submit(begun, number) for number in range(self.callers)]
        begins, ends, results = zip(*(each.result() for each in running), strict=True)
        return max(ends) - min(begins), list(results)


class Latency:
    """Sees the wait that a share of the answers does not exceed."""

    most_loops = MOST_LOOPS

    def __init__(self, load: Load, share: float) -> None:
        self._load, self._share = load, share

    def seconds(self, call: Call, loops: int) -> tuple[float, Any]:
        """Return ``loops`` times that wait, and the last answer."""
        waits = self._load.waits_s(call)
        return loops * float(np.quantile(waits, self._share)), call()
