"""What this machine's GPU can do at best, measured in a few seconds."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossover.bench.cuda import EventClock, ReplayClock, WaitingClock, l2_bytes
from crossover.bench.timing import Call

_SIDE = 4096
_MEASURE_S = 0.02
_REPEATS = 10
_SMALL_CALLS = 100


@dataclass(frozen=True)
class CudaCeilings:
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

    def bound_s(self, flops: float, nbytes: float) -> float:
        """Return the least seconds for ``flops`` in fp32 and compulsory ``nbytes``: the roofline.

        The bytes are moved at the bandwidth of the L2 cache if that holds them.
        """
        level = "L2" if nbytes <= self.l2_bytes else "memory"
        return max(flops / self.fp32_gflops, nbytes / self.copy_gbs[level]) / 1e9


def measure() -> CudaCeilings:
    """Return the ceilings of the current GPU."""
    cupy = importlib.import_module("cupy")
    one = cupy.zeros(1, np.float32)
    cache = l2_bytes()

    def nothing() -> None:
        cupy.multiply(one, one, out=one)

    return CudaCeilings(
        fp32_gflops=_product_gflops(cupy, np.float32, "COMPUTE_TYPE_DEFAULT"),
        tf32_gflops=_product_gflops(cupy, np.float32, "COMPUTE_TYPE_TF32"),
        fp16_gflops=_product_gflops(cupy, np.float16, "COMPUTE_TYPE_FP32"),
        copy_gbs={
            "L2": _copy_gbs(cupy, cache // 4),
            "memory": _copy_gbs(cupy, min(16 * cache, 1 << 30)),
        },
        l2_bytes=cache,
        launch_s=_best_s(EventClock(), nothing, _SMALL_CALLS),
        call_s=_best_s(WaitingClock(), nothing, 1),
        replay_s=_best_s(ReplayClock(nothing), nothing, _SMALL_CALLS),
    )


def _product_gflops(cupy: Any, dtype: Any, compute_type: str) -> float:
    a, b, c = (cupy.ones((_SIDE, _SIDE), dtype) for _ in range(3))
    with _computing(cupy, dtype, compute_type):
        seconds = _long_s(lambda: cupy.matmul(a, b, out=c))
    return 2.0 * _SIDE**3 / seconds / 1e9


@contextmanager
def _computing(cupy: Any, dtype: Any, compute_type: str) -> Iterator[None]:
    """Let cuBLAS compute in ``compute_type``, by the only switch that CuPy has for it."""
    linalg = importlib.import_module("cupy._core._routines_linalg")
    before = cupy._core.get_compute_type(dtype)
    cupy._core.set_compute_type(dtype, getattr(linalg, compute_type))
    try:
        yield
    finally:
        cupy._core.set_compute_type(dtype, before)


def _copy_gbs(cupy: Any, nbytes: int) -> float:
    """Return the bandwidth of copies from ``nbytes`` to as many others."""
    source, target = (cupy.ones(nbytes // 4, np.float32) for _ in range(2))
    return 2.0 * int(source.nbytes) / _long_s(lambda: cupy.copyto(target, source)) / 1e9


def _long_s(call: Callable[[], object]) -> float:
    """Return the best seconds of ``call``, in samples of about ``_MEASURE_S``."""
    clock = EventClock()
    call()
    once, _ = clock.seconds(call, 1)
    return _best_s(clock, call, max(1, min(clock.most_loops, int(_MEASURE_S / once))))


def _best_s(clock: Any, call: Call, loops: int) -> float:
    call()
    return min(float(clock.seconds(call, loops)[0]) for _ in range(_REPEATS)) / loops
