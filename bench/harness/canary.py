"""A fixed piece of work in every round, by which a change of the machine is told from a kernel's.

What slows a machine down may leave one core as it was: a neighbour on another core, or on the way
to memory. So the work has parts, each timed by itself, on threads of the harness's own. All cores
come last: until then the pool of whatever kernel ran before has gone to sleep. A GPU has a clock of
its own, and only that says anything of its kernels.

On two cores of an AMD EPYC the parts take 0.3 ms together, most of it to wake the other core.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable

import numpy as np

from crossover.bench.machine import cuda
from crossover.bench.machine.cores import core_threads
from crossover.kernels.processor import cache_sizes

#: The parts, as warnings name them.
ONE_CORE, MEMORY, ALL_CORES, GPU = "one core", "memory", "all cores", "GPU"
_WORK = bytes(1 << 16)
_USUAL_PRIVATE = 1 << 20


class Canary:
    """The parts that a race needs, and the seconds that each took, a value a call."""

    def __init__(self, threads: int, gpu: bool = False) -> None:
        """Make what the parts work on; ``gpu`` where kernels of a GPU are in the race."""
        self.seconds: dict[str, list[float]] = {}
        # Larger than what a core has to itself, so that it is read from beyond.
        private = [size for level, size in cache_sizes().items() if level != "L3"]
        self._room = np.ones(2 * max(private, default=_USUAL_PRIVATE) // 4, np.float32)
        self._threads = core_threads(threads)
        self._each = [0.0] * self._threads.count
        self._parts: dict[str, Callable[[], float | None]] = {
            ONE_CORE: _work_s,
            MEMORY: self._memory_s,
        }
        if self._threads.count > 1:
            self._parts[ALL_CORES] = self._all_cores_s
        if gpu:
            self._parts[GPU] = cuda.ClockCanary()

    def __call__(self) -> None:
        """Do every part once."""
        for name, part in self._parts.items():
            if (seconds := part()) is not None:
                self.seconds.setdefault(name, []).append(seconds)

    def _memory_s(self) -> float:
        begin = time.perf_counter()
        self._room.max()
        return time.perf_counter() - begin

    def _all_cores_s(self) -> float:
        """Return the seconds of the slowest core, which a parallel loop waits for."""
        self._threads.run(self._work)
        return max(self._each)

    def _work(self, index: int) -> None:
        self._each[index] = _work_s()


def _work_s() -> float:
    """Return the seconds of a core's work in its own cache, without Python's lock.

    It is done twice: what it finds in the cache is the doing of whoever ran before.
    """
    zlib.crc32(_WORK)
    begin = time.perf_counter()
    zlib.crc32(_WORK)
    return time.perf_counter() - begin
