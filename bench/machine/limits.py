"""What a machine was measured to do at best, by the two modules of ceilings beside this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class CpuLimits:
    """Measured limits with a number of threads; rates in GFLOP/s, bandwidths in GB/s."""

    threads: int
    #: fp32 multiply-adds, two operations each; on one thread, and on all.
    fma_one_gflops: float
    fma_gflops: float
    #: Dense fp32 product of NumPy's BLAS, 1024 x 1024 x 1024.
    blas_gflops: float
    #: Bytes read plus written by copies on all threads: in ``L1``, ``L2``, ``L3``, ``memory``.
    copy_gbs: dict[str, float]
    #: Bytes of each data cache that a core sees.
    cache_bytes: dict[str, int]
    #: Seconds of an empty call from Python, and of an empty parallel loop.
    call_s: float
    parallel_s: float
    #: What Numba starts that loop's threads with.
    threading_layer: str = ""

    def bound_s(self, flops: float, nbytes: float) -> float:
        """Return the least seconds for ``flops`` and compulsory ``nbytes``: the roofline.

        The bytes are moved at the bandwidth of the smallest cache that holds them.
        """
        return max(flops / self.fma_gflops, nbytes / self._bandwidth(nbytes)) / 1e9

    def call_bound_s(self, flops: float, nbytes: float, cold: bool = False) -> float:
        """Return the least seconds of a call: on one thread, or on all once they are woken.

        An empty call or an empty parallel loop is part of it, or no call on a small layer could
        come near. ``cold`` operands come from memory.
        """
        cached = {} if cold else self.cache_bytes
        every = replace(self, cache_bytes=cached)
        one = replace(
            every, threads=1, fma_gflops=self.fma_one_gflops, copy_gbs=self._copy_gbs_of_one()
        )
        costs = (one, self.call_s), (every, self.parallel_s)
        return min(limits.bound_s(flops, nbytes) + cost for limits, cost in costs)

    def _copy_gbs_of_one(self) -> dict[str, float]:
        # L1 and L2 are a core's own; from what is shared one core may take as much as all.
        own = "L1", "L2"
        return {n: gbs / self.threads if n in own else gbs for n, gbs in self.copy_gbs.items()}

    def _bandwidth(self, nbytes: float) -> float:
        # The caches nearest to the cores are one each; the last one is shared.
        for level, size in self.cache_bytes.items():
            if nbytes <= (size if level == "L3" else size * self.threads):
                return self.copy_gbs[level]
        return self.copy_gbs["memory"]


@dataclass(frozen=True)
class CudaLimits:
    """Measured limits of the GPU; rates in GFLOP/s, bandwidths in GB/s, times in seconds."""

    #: Dense products of cuBLAS, 4096 x 4096 x 4096: fp32; operands rounded to TF32; fp16 with
    #: fp32 sums.
    fp32_gflops: float
    tf32_gflops: float
    fp16_gflops: float
    #: Bytes read plus written by copies within half of the L2 cache (``L2``), and within many
    #: times of it (``memory``).
    copy_gbs: dict[str, float]
    l2_bytes: int
    #: A kernel that does nothing: its time on the device behind queued work, the time of a call as
    #: the host sees it, and its time in a replayed graph.
    launch_s: float
    call_s: float
    replay_s: float
    #: Why a limit could not be measured, which is NaN then.
    errors: dict[str, str] = field(default_factory=dict)

    def bound_s(self, flops: float, nbytes: float) -> float:
        """Return the least seconds for ``flops`` in fp32 and compulsory ``nbytes``: the roofline.

        The bytes are moved at the bandwidth of the L2 cache if that holds them.
        """
        level = "L2" if nbytes <= self.l2_bytes else "memory"
        return max(flops / self.fp32_gflops, nbytes / self.copy_gbs[level]) / 1e9

    def call_bound_s(self, flops: float, nbytes: float, cold: bool = False) -> float:
        """Return the least seconds of a call on the device, an empty kernel's launch included.

        ``cold`` operands come from memory.
        """
        bandwidth = replace(self, l2_bytes=0) if cold else self
        return bandwidth.bound_s(flops, nbytes) + self.launch_s


def limits_of(
    ceilings: Mapping[str, Any], device: str, threads: int
) -> CpuLimits | CudaLimits | None:
    """Return what a run keeps for a device, with a number of threads; None where it has nothing."""
    key = "cuda" if device == "cuda" else str(threads)
    if key not in ceilings:
        return None
    return CudaLimits(**ceilings[key]) if key == "cuda" else CpuLimits(**ceilings[key])
