"""Emptying the caches of all cores, so that a call finds its operands in memory.

Every core reads a room of its own, as large as its caches, ``_PASSES`` times. A last cache does not
give up what is read twice for what is read once: on an AMD EPYC with 32 MiB of it, a line took
105 ns from memory, and 35 ns after one thread had written 64 MiB: two thirds came from the cache,
and the other core's own was as it had been. Six passes over 34 MiB leave 97 ns, in 3.7 ms.

A virtual machine may claim the last cache of the whole host (300 and 480 MiB were seen on two
cores), most of which its neighbours fill. So a core's part of it counts up to ``_MOST_SHARE``,
more than a core of nearly any processor has. ``doctor`` measures whether that is enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

from crossover.bench.machine.cores import core_count, core_threads
from crossover.kernels.processor import LINE, cache_sizes

_CPU0_CACHE = Path("/sys/devices/system/cpu/cpu0/cache")
_PASSES = 6
_MOST_SHARE = 16 << 20
# Of a processor that does not tell.
_USUAL_PRIVATE = 2 << 20
_PROBED_LINES, _PROBES = 8192, 7


class Flusher:
    """Empties the caches of the CPU when it is called; its room is written to once."""

    def __init__(self, bytes_per_core: int) -> None:
        self._threads = core_threads(core_count())
        words = LINE // 8
        rooms = [np.ones(bytes_per_core // 8, np.uint64) for _ in range(self._threads.count)]
        self._lines = [room[::words] for room in rooms]

    def __call__(self) -> None:
        """Read every line of the room, on every core its part."""
        self._threads.run(self._read)

    def _read(self, index: int) -> None:
        for _ in range(_PASSES):
            self._lines[index].sum()


@cache
def flusher() -> Flusher:
    """Return what empties the caches of this machine's cores, made once."""
    return Flusher(bytes_per_core(cache_sizes(), _sharing(_CPU0_CACHE), core_count()))


def bytes_per_core(sizes: dict[str, int], sharing: int, cores: int) -> int:
    """Return the bytes of cache that a core has: its own, and its part of the last one.

    ``sizes`` are bytes by level; ``sharing`` is how many cores have the last level together.
    """
    private = max((size for level, size in sizes.items() if level != "L3"), default=_USUAL_PRIVATE)
    share = sizes.get("L3", _MOST_SHARE) // max(1, min(sharing, cores))
    return private + min(share, _MOST_SHARE)


def _sharing(folder: Path) -> int:
    """Return how many cores share the last cache; 1 where the system does not tell."""
    try:
        listed = (folder / "index3" / "shared_cpu_list").read_text().strip()
        ranges = [part.split("-") for part in listed.split(",")]
        return sum(int(each[-1]) - int(each[0]) + 1 for each in ranges)
    except (OSError, ValueError):
        return 1


@dataclass(frozen=True)
class ColdProbe:
    """Seconds of reading a line of 512 KiB, in a random order, on the slowest core."""

    cached_s: float
    flushed_s: float
    #: After four flushes, which leave nothing.
    memory_s: float
    #: Of a flush.
    flush_s: float


def probe() -> ColdProbe:
    """Return what a flush leaves in the caches."""
    flush, threads = flusher(), core_threads(core_count())
    chains = [_chain(seed) for seed in range(threads.count)]
    seconds = [0.0] * threads.count

    def follow(index: int) -> None:
        begin = time.perf_counter()
        _follow(chains[index], _PROBED_LINES)
        seconds[index] = (time.perf_counter() - begin) / _PROBED_LINES

    def read_after(prepare: Callable[[], None]) -> float:
        found = []
        for _ in range(_PROBES):
            threads.run(follow)
            threads.run(follow)
            prepare()
            threads.run(follow)
            found.append(max(seconds))
        return float(np.median(found))

    def flush_more() -> None:
        for _ in range(4):
            flush()

    def flush_s() -> float:
        begin = time.perf_counter()
        flush()
        return time.perf_counter() - begin

    threads.run(follow)
    return ColdProbe(
        cached_s=read_after(lambda: None),
        flushed_s=read_after(flush),
        memory_s=read_after(flush_more),
        flush_s=float(np.median([flush_s() for _ in range(_PROBES)])),
    )


def _chain(seed: int) -> NDArray[np.int64]:
    """Return a closed chain through all lines of a room: each word says where the next is."""
    order = np.random.default_rng(seed).permutation(_PROBED_LINES)
    chain = np.zeros(_PROBED_LINES * LINE // 8, np.int64)
    chain[order * (LINE // 8)] = np.roll(order, -1) * (LINE // 8)
    return chain


@numba.njit(nogil=True, cache=True)
def _follow(chain, steps):  # type: ignore[no-untyped-def]
    place = 0
    for _ in range(steps):
        place = chain[place]
    return place
