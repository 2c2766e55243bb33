"""What this machine can do at best, measured in a few seconds: rates, bandwidths, call costs.

The FMA rate comes from a loop of independent vector multiply-adds that never leave the registers;
the bandwidths from copies whose source and target together fill half of a cache, or several times
the last one. They are what a kernel's time is held against: no data sheet is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import reduce
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from crossover.bench.machine.limits import CpuLimits
from crossover.kernels.processor import cache_sizes, vector_lanes

_ACCUMULATORS = 12
_MEASURE_S = 0.04
_REPEATS = 12
_BLAS_SIDE = 1024


def measure(threads: int) -> CpuLimits:
    """Return the ceilings with ``threads`` threads."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    fma_one = _fma_gflops(1)
    numba.set_num_threads(min(threads, before))
    try:
        sizes = cache_sizes()
        half = {level: size // 2 for level, size in sizes.items()}
        if "L3" in half:
            half["L3"] //= threads
        copies = {level: _copy_gbs(working_set, threads) for level, working_set in half.items()}
        copies["memory"] = _copy_gbs(4 * max([*sizes.values(), 1 << 25]), threads)
        a, b, c = (np.ones((_BLAS_SIDE, _BLAS_SIDE), np.float32) for _ in range(3))
        return CpuLimits(
            threads=threads,
            fma_one_gflops=fma_one,
            fma_gflops=_fma_gflops(threads),
            blas_gflops=2 * _BLAS_SIDE**3 / _best_s(lambda: np.matmul(a, b, out=c)) / 1e9,
            copy_gbs=copies,
            cache_bytes=sizes,
            call_s=_best_s(lambda: _nothing(1.0)),
            parallel_s=_best_s(lambda: _parallel_nothing(threads)),
            threading_layer=str(numba.threading_layer()),
        )
    finally:
        numba.set_num_threads(before)


def _best_s(call: Callable[[], Any]) -> float:
    """Return the seconds of the fastest of a few samples: a ceiling is a best case."""
    call()
    loops = 1
    while _seconds(call, loops) < _MEASURE_S / 4:
        loops *= 2
    return min(_seconds(call, loops) for _ in range(_REPEATS)) / loops


def _seconds(call: Callable[[], Any], loops: int) -> float:
    begin = time.perf_counter()
    for _ in range(loops):
        call()
    return time.perf_counter() - begin


def _fma_gflops(threads: int) -> float:
    steps = 200_000
    seconds = _best_s(lambda: _fma_on_threads(threads, steps))
    return 2.0 * vector_lanes() * _ACCUMULATORS * steps * threads / seconds / 1e9


def _copy_gbs(working_set: int, threads: int) -> float:
    """Return the bandwidth of copies on all threads, each within its own working set of bytes."""
    length = max(1024, working_set // 8)  # floats in each of source and target
    source = np.ones((threads, length), np.float32)
    target = np.empty_like(source)
    times = max(1, (1 << 24) // (4 * length))
    seconds = _best_s(lambda: _copy_on_threads(source, target, times))
    return 2.0 * source.nbytes * times / seconds / 1e9


@intrinsic  # type: ignore[untyped-decorator]
def _fma_chain(typingctx: Any, steps: Any) -> Any:
    """Run ``steps`` times a dozen independent vector multiply-adds; return one of the sums."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = vector_lanes()
        vector = ir.VectorType(ir.FloatType(), lanes)
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f32"
        )
        index = ir.IntType(64)
        entry = builder.block
        body = builder.append_basic_block("body")
        done = builder.append_basic_block("done")
        builder.branch(body)
        builder.position_at_end(body)
        counter = builder.phi(index)
        sums = [builder.phi(vector) for _ in range(_ACCUMULATORS)]
        factor = ir.Constant(vector, [0.999] * lanes)
        new = [builder.call(fma, [each, factor, factor]) for each in sums]
        following = builder.add(counter, ir.Constant(index, 1))
        builder.cbranch(builder.icmp_signed("<", following, arguments[0]), body, done)
        counter.add_incoming(ir.Constant(index, 0), entry)
        counter.add_incoming(following, body)
        for number, (each, result) in enumerate(zip(sums, new, strict=True)):
            each.add_incoming(ir.Constant(vector, [float(number)] * lanes), entry)
            each.add_incoming(result, body)
        builder.position_at_end(done)
        total = reduce(builder.fadd, new)
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.float32(types.int64), codegen


@numba.njit(parallel=True, cache=True)
def _fma_on_threads(threads, steps):  # type: ignore[no-untyped-def]
    sums = np.zeros(threads, np.float32)
    for thread in numba.prange(threads):
        sums[thread] = _fma_chain(np.int64(steps))
    return sums


@numba.njit(parallel=True, cache=True)
def _copy_on_threads(source, target, times):  # type: ignore[no-untyped-def]
    for thread in numba.prange(source.shape[0]):
        for _ in range(times):
            target[thread, :] = source[thread, :]


@numba.njit(cache=True)
def _nothing(value):  # type: ignore[no-untyped-def]
    return value


@numba.njit(parallel=True, cache=True)
def _parallel_nothing(threads):  # type: ignore[no-untyped-def]
    total = 0
    for thread in numba.prange(threads):
        total += thread
    return total
