"""What this machine's GPU can do at best, measured in a few seconds."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from crossover.bench.machine.cuda import Call, EventClock, ReplayClock, WaitingClock, l2_bytes
from crossover.bench.machine.limits import CudaLimits

_SIDE = 4096
_MEASURE_S = 0.02
_REPEATS = 10
_SMALL_CALLS = 100


def measure() -> CudaLimits:
    """Return the ceilings of the current GPU; NaN where one cannot be measured, with its error."""
    cupy = importlib.import_module("cupy")
    one = cupy.zeros(1, np.float32)
    cache = l2_bytes()
    errors: dict[str, str] = {}

    def nothing() -> None:
        cupy.multiply(one, one, out=one)

    def measured(name: str, measure_one: Callable[[], float]) -> float:
        try:
            return measure_one()
        except Exception as error:  # a library of CuPy's may be missing, each in its own way
            errors[name] = f"{type(error).__name__}: {error}"
            return float("nan")

    def product(name: str, dtype: Any, compute_type: str) -> float:
        return measured(name, lambda: _product_gflops(cupy, dtype, compute_type))

    return CudaLimits(
        fp32_gflops=product("fp32 product", np.float32, "COMPUTE_TYPE_DEFAULT"),
        tf32_gflops=product("TF32 product", np.float32, "COMPUTE_TYPE_TF32"),
        fp16_gflops=product("fp16 product", np.float16, "COMPUTE_TYPE_FP32"),
        copy_gbs={
            "L2": measured("copy in L2", lambda: _copy_gbs(cupy, cache // 4)),
            "memory": measured("copy", lambda: _copy_gbs(cupy, min(16 * cache, 1 << 30))),
        },
        l2_bytes=cache,
        launch_s=measured("launch", lambda: _best_s(EventClock(), nothing, _SMALL_CALLS)),
        call_s=measured("call", lambda: _best_s(WaitingClock(), nothing, 1)),
        replay_s=measured("replay", lambda: _best_s(ReplayClock(nothing), nothing, _SMALL_CALLS)),
        errors=errors,
    )


def _product_gflops(cupy: Any, dtype: Any, compute_type: str) -> float:
    # A GPU is faster on operands without entropy, which no layer has.
    draw = np.random.default_rng(0).standard_normal
    a, b = (cupy.asarray(draw((_SIDE, _SIDE), np.float32).astype(dtype)) for _ in range(2))
    c = cupy.empty((_SIDE, _SIDE), dtype)
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
