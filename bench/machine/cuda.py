"""Timing on an NVIDIA GPU: events behind queued work, the host's view, and replayed graphs.

Everything goes through CuPy, on its current stream. A launch takes the host a few microseconds,
as long as a small kernel takes the device: between two events around a handful of launches lies
the host's delay, not the kernel's time. So the device is first held by a kernel that only waits,
until all launches are queued.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

Call = Callable[[], Any]
#: More launches than this do not fit into a stream's queue (1,024, and a call may launch several).
_MOST_LOOPS = 200
_SHORTEST_HOLD_S = 2e-4
_LONGEST_HOLD_S = 2e-2
_GRAPH_CALLS = 20
# Cold calls that are queued together: each with its flush and two events.
_COLD_CALLS = 50
_CANARY_STEPS = 20_000
EXPOSED = (
    "the host could not queue its calls ahead (they wait for the device, or take too long to "
    "launch): the time holds the host's delay"
)
_HOLD = r"""
extern "C" __global__ void hold(unsigned long long nanoseconds) {
    unsigned long long begin, now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
    do { asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now)); } while (now - begin < nanoseconds);
}
"""
# Multiply-adds that wait for each other: their time is that of so many clock cycles. Each end of
# it depends on the sum, so that neither can be moved.
_CANARY = r"""
extern "C" __global__ void canary(unsigned long long *nanoseconds, int steps) {
    unsigned long long begin, end;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
    float sum = (float)(begin & 1);
    for (int step = 0; step < steps; step++) sum = fmaf(sum, 0.999f, 0.001f);
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(end) : "f"(sum));
    *nanoseconds = end - begin;
}
"""


class EventClock:
    """CUDA events behind queued work: the device's own time, without the host's delay."""

    most_loops = _MOST_LOOPS

    def __init__(self) -> None:
        self._hold_s = _SHORTEST_HOLD_S
        #: Whether the host could not be kept out of the time.
        self.exposed = False

    def seconds(self, call: Call, loops: int) -> tuple[float, Any]:
        """Return the device's seconds between two events around ``loops`` queued calls."""
        return self._queued(loops, 1, call, lambda: None)

    def cold_seconds(self, call: Call, flush: Call, loops: int) -> tuple[float, Any]:
        """Return the device's seconds of ``loops`` calls, each between events after a flush."""
        total, result = 0.0, None
        for first in range(0, loops, _COLD_CALLS):
            taken, result = self._queued(1, min(_COLD_CALLS, loops - first), call, flush)
            total += taken
        return total, result

    def _queued(self, loops: int, spans: int, call: Call, before: Call) -> tuple[float, Any]:
        """Return the seconds of ``spans`` times ``loops`` calls, ``before`` each span another."""
        while True:
            taken, result, hidden, queueing_s = self._attempt(loops, spans, call, before)
            if hidden or self.exposed:
                return taken, result
            longer = max(2 * self._hold_s, 1.5 * queueing_s)
            self.exposed = longer > _LONGEST_HOLD_S
            self._hold_s = _SHORTEST_HOLD_S if self.exposed else longer

    def _attempt(
        self, loops: int, spans: int, call: Call, before: Call
    ) -> tuple[float, Any, bool, float]:
        """Return the seconds, the result, whether all was queued in time, and how long it took."""
        cuda, result = _cupy().cuda, None
        events = [(cuda.Event(), cuda.Event()) for _ in range(spans)]
        cuda.get_current_stream().synchronize()
        _hold_kernel()((1,), (1,), (np.uint64(self._hold_s * 1e9),))
        start = time.perf_counter()
        for begin, end in events:
            before()
            begin.record()
            for _ in range(loops):
                result = call()
            end.record()
        queueing_s = time.perf_counter() - start
        hidden = not events[0][0].done
        events[-1][1].synchronize()
        taken = sum(float(cuda.get_elapsed_time(begin, end)) for begin, end in events)
        return taken / 1e3, result, hidden, queueing_s


class WaitingClock:
    """What the host sees: calls one after the other, and the wait until the last is done."""

    most_loops = _MOST_LOOPS

    def seconds(self, call: Call, loops: int) -> tuple[float, Any]:
        """Return the host's seconds from before the first call until the device is done."""
        stream, result = _cupy().cuda.get_current_stream(), None
        stream.synchronize()
        begin = time.perf_counter()
        for _ in range(loops):
            result = call()
        stream.synchronize()
        return time.perf_counter() - begin, result


class ReplayClock:
    """The device's time of calls that were captured into a CUDA graph once, and are replayed."""

    most_loops = _MOST_LOOPS

    def __init__(self, call: Call) -> None:
        """Capture ``call``; raises what the library raises if it cannot be captured."""
        cuda = _cupy().cuda
        # What went before ran on another stream, and this one does not wait for it.
        cuda.get_current_stream().synchronize()
        self._stream = cuda.Stream(non_blocking=True)
        # Replays write to what was allocated while capturing, so nothing else may be given that
        # memory as long as the graph lives: it comes from a pool of its own.
        self._pool = cuda.MemoryPool()
        with cuda.using_allocator(self._pool.malloc), self._stream:
            self._result = call()  # what is allocated once is there before the capture
            self._stream.synchronize()
            self._stream.begin_capture()
            try:
                for _ in range(_GRAPH_CALLS):
                    self._result = call()
            finally:
                self._graph = self._stream.end_capture()
        self._clock = EventClock()

    def replayed(self, poison: Callable[[Any], None]) -> Any:
        """Return what a replay computes, in memory that ``poison`` overwrote before.

        A library that launches on a stream of its own leaves an empty graph behind, without an
        error, and what it seems to take is nothing.
        """
        poison(self._result)
        _cupy().cuda.get_current_stream().synchronize()
        with self._stream:
            self._graph.launch(self._stream)
            self._stream.synchronize()
        return self._result

    def seconds(self, call: Call, loops: int) -> tuple[float, Any]:
        """Return the device's seconds for ``loops`` calls inside replayed graphs."""
        replays = -(-loops // _GRAPH_CALLS)
        with self._stream:
            taken, _ = self._clock.seconds(lambda: self._graph.launch(self._stream), replays)
        return taken * loops / (replays * _GRAPH_CALLS), None


class ClockCanary:
    """A fixed number of the GPU's clock cycles, in seconds when it is called."""

    def __init__(self) -> None:
        self._kernel = _cupy().RawKernel(_CANARY, "canary")
        self._nanoseconds = _cupy().zeros(1, np.uint64)

    def __call__(self) -> float | None:
        """Return the device's own seconds; None where the GPU is lost, which its kernel tells."""
        try:
            self._kernel((1,), (1,), (self._nanoseconds, np.int32(_CANARY_STEPS)))
            return int(self._nanoseconds.get()[0]) / 1e9
        except Exception:
            return None


def lost() -> bool:
    """Return whether the GPU no longer answers this process.

    After an illegal access every later call fails, of whatever kernel: only a new process helps.
    """
    try:
        _cupy().cuda.runtime.deviceSynchronize()
    except Exception:
        return True
    return False


def flusher() -> Call:
    """Return a function that empties the GPU's L2 cache: it writes twice its size."""
    cupy = _cupy()
    room = cupy.zeros(2 * l2_bytes(), cupy.uint8)
    return lambda: room.fill(1)


def l2_bytes() -> int:
    """Return the size of the GPU's L2 cache."""
    return int(_cupy().cuda.Device().attributes["L2CacheSize"])


def _cupy() -> Any:
    return importlib.import_module("cupy")


@cache
def _hold_kernel() -> Any:
    return _cupy().RawKernel(_HOLD, "hold")
