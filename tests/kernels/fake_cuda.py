"""A fake CUDA on the host, for the library kernels: no GPU test, and reported as none.

CuPy's arrays are NumPy's with an address; ``gemmEx`` and nvmath-python's cuSPARSE are a few lines
that read and write memory through the addresses, shapes, orders and leading dimensions they are
given, as the libraries would, and keep a log. What the libraries themselves do is not tested here.
"""

from __future__ import annotations

import ctypes
import enum
import itertools
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from crossover.bench.machine import cuda
from crossover.bench.machine.limits import CudaLimits
from crossover.kernels.cuda import cupy_dense, cusparse_plans, device

#: Of a GPU that is not there.
LIMITS = CudaLimits(
    fp32_gflops=100.0, tf32_gflops=400.0, fp16_gflops=800.0, copy_gbs={"L2": 9.0, "memory": 3.0},
    l2_bytes=1 << 16, launch_s=1e-6, call_s=8e-6, replay_s=1e-6,
)  # fmt: skip

_DTYPES = {0: np.float32, 1: np.float64, 2: np.float16}


class DeviceArray(np.ndarray[Any, Any]):
    """A NumPy array with ``data.ptr``, as CuPy's have."""

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self.ctypes.data)

    def get(self) -> np.ndarray[Any, Any]:
        return np.array(self)


@dataclass
class FakeCuda:
    """What the kernels did: allocations and the calls of both libraries, by name."""

    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    allocations: int = 0
    #: The current stream's address, and the one that the cuSPARSE handle was set to last.
    stream: int = 7
    handle_stream: int = 0
    descriptors: dict[int, dict[str, Any]] = field(default_factory=dict)
    #: What a stream captures instead of doing it; None where none does.
    captured: list[Callable[[], Any]] | None = None

    def launch(self, work: Callable[[], Any]) -> None:
        """Do ``work``, or keep it for the graph that is captured."""
        if self.captured is None:
            work()
        else:
            self.captured.append(work)

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for called, arguments in self.calls if called == name]


@contextmanager
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    """Put the fake in the place of CuPy and nvmath-python."""
    fake = FakeCuda()
    caches = (
        cuda._hold_kernel, device.cupy_unavailable, cupy_dense.elementwise,
        cusparse_plans.unavailable, cusparse_plans._handle, cusparse_plans._binding,
        cusparse_plans._matrix_call, cusparse_plans._vector_call,
    )  # fmt: skip
    cupy = _cupy(fake)
    modules = {
        "cupy": cupy,
        "cupy.cuda.device": types.SimpleNamespace(get_cublas_handle=lambda: 1),
        "cupy_backends.cuda.libs.cublas": _cublas(fake),
        "cupyx.scipy.sparse": types.SimpleNamespace(
            csr_matrix=sp.csr_matrix, csc_matrix=sp.csc_matrix
        ),
        "nvmath.bindings.cusparse": _cusparse(fake),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    for each in caches:
        each.cache_clear()
    try:
        yield fake
    finally:
        for each in caches:
            each.cache_clear()


def _cupy(fake: FakeCuda) -> Any:
    def allocating(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            fake.allocations += 1
            return np.array(function(*arguments, **options), copy=True).view(DeviceArray)

        return call

    def asarray(array: Any, dtype: Any = None) -> Any:
        if isinstance(array, DeviceArray) and dtype is None:
            return array
        return allocating(np.array)(array, dtype)

    def written(function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a NumPy function that is captured where it writes to an ``out``."""

        def call(*arguments: Any, **options: Any) -> Any:
            if options.get("out") is None:
                return function(*arguments, **options)
            fake.launch(lambda: function(*arguments, **options))
            return options["out"]

        return call

    def copyto(target: Any, source: Any, **options: Any) -> None:
        fake.launch(lambda: np.copyto(target, source, **options))

    made = {name: allocating(getattr(np, name)) for name in ("array", "empty", "zeros", "ones")}
    made |= {name: allocating(getattr(np, name)) for name in ("empty_like", "zeros_like")}
    made |= {name: written(getattr(np, name)) for name in ("matmul", "multiply", "take")}
    module = types.ModuleType("cupy")
    for name in dir(np):
        if not name.startswith("__"):
            setattr(module, name, getattr(np, name))
    vars(module).update(
        made, asarray=asarray, asnumpy=np.array, copyto=copyto, cuda=_runtime(fake),
        ElementwiseKernel=lambda *given: Elementwise(fake, *given),
        RawKernel=lambda *_: lambda *_: None,
    )  # fmt: skip
    return module


def _runtime(fake: FakeCuda) -> Any:
    """Return ``cupy.cuda``: everything is done at once, but for what a stream captures."""

    class Event:
        done = False  # as if the device were still held

        def record(self) -> None:
            self.at = time.perf_counter()

        def synchronize(self) -> None:
            pass

    class Stream:
        ptr = 99

        def __init__(self, non_blocking: bool = False) -> None:
            pass

        def __enter__(self) -> None:
            self.before, fake.stream = fake.stream, self.ptr

        def __exit__(self, *exception: object) -> None:
            fake.stream = self.before

        def synchronize(self) -> None:
            pass

        def begin_capture(self) -> None:
            fake.captured = []

        def end_capture(self) -> Any:
            works, fake.captured = fake.captured or [], None

            def launch(stream: Any) -> None:
                for work in works:
                    work()

            return types.SimpleNamespace(launch=launch)

    class Current(Stream):
        @property
        def ptr(self) -> int:  # type: ignore[override]
            return fake.stream

    attributes = {"L2CacheSize": 1 << 16}
    runtime = types.SimpleNamespace(
        getDeviceCount=lambda: 1, memGetInfo=lambda: (1 << 33, 1 << 33),
        deviceSynchronize=lambda: None,
    )  # fmt: skip
    return types.SimpleNamespace(
        runtime=runtime, Event=Event, Stream=Stream, get_current_stream=Current,
        Device=lambda: types.SimpleNamespace(compute_capability="90", attributes=attributes),
        MemoryPool=lambda: types.SimpleNamespace(malloc=None),
        using_allocator=lambda _: nullcontext(),
        get_elapsed_time=lambda begin, end: 1e3 * (end.at - begin.at),
    )  # fmt: skip


class Elementwise:
    """Evaluates a fused operation with NumPy: names, + - * and assignments, in place."""

    def __init__(
        self, fake: FakeCuda, inputs: str, outputs: str, operation: str, name: str
    ) -> None:
        self.fake = fake
        self.names = [part.split()[1] for part in f"{inputs}, {outputs}".split(",")]
        self.operation = operation

    def __call__(self, *arguments: Any) -> None:
        self.fake.launch(lambda: self._evaluate(arguments))

    def _evaluate(self, arguments: tuple[Any, ...]) -> None:
        given = dict(zip(self.names, arguments, strict=True))
        for statement in self.operation.split(";"):
            target, expression = statement.split("=")
            name = target.strip(" +-*")
            if target.strip() != name:  # "w -= a" is w = w - (a)
                expression = f"{target} ({expression})"
            with np.errstate(invalid="ignore"):
                given[name][...] = eval(expression, {}, given)


def memory(address: int, shape: tuple[int, ...], dtype: Any, strides: Any = None) -> Any:
    """Return the array of ``shape`` that lies at ``address``; strides in elements."""
    kind = np.dtype(dtype)
    steps = strides or tuple(np.cumprod((1, *shape[:0:-1]))[::-1])
    extent = sum((size - 1) * step for size, step in zip(shape, steps, strict=True)) + 1
    if min(shape) == 0:
        return np.empty(shape, kind)
    buffer = (ctypes.c_char * (extent * kind.itemsize)).from_address(address)
    flat = np.frombuffer(buffer, kind)
    return np.lib.stride_tricks.as_strided(
        flat, shape, tuple(step * kind.itemsize for step in steps), writeable=True
    )


def _cublas(fake: FakeCuda) -> Any:
    def gemm_ex(*given: Any) -> None:
        fake.calls.append(("gemmEx", given))
        fake.launch(lambda: compute_gemm(*given))

    def compute_gemm(*given: Any) -> None:
        (_, turn_a, turn_b, m, n, k, one, a, kind_a, lda, b, kind_b, ldb, zero, c, kind_c, ldc,
         compute, _) = given  # fmt: skip
        assert memory(one, (1,), np.float32)[0] == 1
        assert memory(zero, (1,), np.float32)[0] == 0

        def columns(address: int, rows: int, count: int, leading: int, kind: int) -> Any:
            assert leading >= rows
            return memory(address, (rows, count), _DTYPES[kind], (1, leading))

        first = columns(a, *((k, m) if turn_a else (m, k)), lda, kind_a)
        second = columns(b, *((n, k) if turn_b else (k, n)), ldb, kind_b)
        first, second = (first.T if turn_a else first), (second.T if turn_b else second)
        if compute == "TF32":
            first, second = cut_to_tf32(first), cut_to_tf32(second)
        product = first.astype(np.float32) @ second.astype(np.float32)
        columns(c, m, n, ldc, kind_c)[...] = product

    return types.SimpleNamespace(
        gemmEx=gemm_ex, CUBLAS_GEMM_DEFAULT=-1,
        CUBLAS_COMPUTE_32F="fp32", CUBLAS_COMPUTE_32F_FAST_TF32="TF32",
    )  # fmt: skip


def cut_to_tf32(array: Any) -> Any:
    """Return fp32 values without their lowest 13 bits, as tensor cores may read them."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    kept = np.where(np.isfinite(array), bits & np.uint32(0xFFFFE000), bits)
    return kept.astype(np.uint32).view(np.float32)


def _cusparse(fake: FakeCuda) -> Any:
    module = types.ModuleType("nvmath.bindings.cusparse")
    number = itertools.count(100)

    def logged(function: Callable[..., Any]) -> None:
        def call(*arguments: Any) -> Any:
            fake.calls.append((function.__name__, arguments))
            return function(*arguments)

        setattr(module, function.__name__, call)

    def described(**content: Any) -> int:
        key = next(number)
        fake.descriptors[key] = content
        return key

    def create() -> int:
        return 5

    def set_stream(handle: int, stream: int) -> None:
        assert handle == 5
        fake.handle_stream = stream

    def create_csr(m: int, k: int, nnz: int, pointers: int, indices: int, values: int,
                   *kinds: Any) -> int:  # fmt: skip
        assert tuple(kinds[:3]) == (2, 2, 0)
        return described(
            shape=(m, k), nnz=nnz, pointers=pointers, indices=indices, values=values,
            block=(1, 1), kind=kinds[3],
        )  # fmt: skip

    def create_bsr(rows: int, columns: int, blocks: int, r: int, c: int, pointers: int,
                   indices: int, values: int, *kinds: Any) -> int:  # fmt: skip
        assert (*kinds[:3], kinds[4]) == (2, 2, 0, 2)
        return described(
            shape=(rows * r, columns * c), nnz=blocks, pointers=pointers, indices=indices,
            values=values, block=(r, c), kind=kinds[3],
        )  # fmt: skip

    def create_dn_mat(rows: int, columns: int, leading: int, values: int, kind: int,
                      order: int) -> int:  # fmt: skip
        assert order == module.Order.ROW
        assert leading == columns
        return described(shape=(rows, columns), values=values, kind=kind)

    def create_dn_vec(size: int, values: int, kind: int) -> int:
        return described(shape=(size, 1), values=values, kind=kind)

    def set_values(descriptor: int, values: int) -> None:
        fake.descriptors[descriptor]["values"] = values

    def destroy(descriptor: int) -> None:
        del fake.descriptors[descriptor]

    def dense(descriptor: int) -> Any:
        found = fake.descriptors[descriptor]
        return memory(found["values"], found["shape"], _DTYPES[found["kind"]])

    def sparse(descriptor: int) -> tuple[Any, Any]:
        """Return a SciPy matrix whose data is a copy, and the values themselves."""
        found = fake.descriptors[descriptor]
        (r, c), (m, _) = found["block"], found["shape"]
        pointers = memory(found["pointers"], (m // r + 1,), np.int32)
        indices = memory(found["indices"], (found["nnz"],), np.int32)
        kind = _DTYPES[found["kind"]]
        if (r, c) == (1, 1):
            values = memory(found["values"], (found["nnz"],), kind)
            return sp.csr_array((values.copy(), indices, pointers), shape=found["shape"]), values
        values = memory(found["values"], (found["nnz"], r, c), kind)
        return sp.bsr_array((values.copy(), indices, pointers), shape=found["shape"]), values

    active: dict[int, tuple[Any, ...]] = {}

    def check(arguments: tuple[Any, ...], matrix: int) -> None:
        """A preprocessed matrix must be used with the very same arguments and buffer."""
        assert fake.handle_stream == fake.stream
        assert active[matrix] == arguments

    def product(matrix: int, right: int, out: int) -> None:
        # A launch takes the addresses of its moment along.
        source, target = dense(right), dense(out)

        def work() -> None:
            with np.errstate(invalid="ignore"):
                target[...] = sparse(matrix)[0] @ source

        fake.launch(work)

    def sp_mm_buffer_size(*given: Any) -> int:
        assert len(given) == 10
        return 64

    def sp_mm_preprocess(*given: Any) -> None:
        active[given[4]] = given

    def sp_mm(*given: Any) -> None:
        assert (given[1], given[2]) == (0, 0)
        check(given, given[4])
        product(given[4], given[5], given[7])

    def sp_mv_buffer_size(*given: Any) -> int:
        assert len(given) == 9
        return 32

    def sp_mv_preprocess(*given: Any) -> None:
        active[given[3]] = given

    def sp_mv(*given: Any) -> None:
        assert given[1] == 0
        check(given, given[3])
        product(given[3], given[4], given[6])

    def sddmm_buffer_size(*given: Any) -> None:
        assert len(given) == 11
        memory(given[10], (1,), np.uint64)[0] = 16

    def sddmm_preprocess(*given: Any) -> None:
        active[given[7]] = given

    def sddmm(*given: Any) -> None:
        assert (given[1], given[2]) == (0, 1)
        check(given, given[7])
        dy, x = dense(given[4]), dense(given[5])
        matrix, values = sparse(given[7])
        fake.launch(lambda: sample(dy, x, matrix, values))

    def sample(dy: Any, x: Any, matrix: Any, values: Any) -> None:
        with np.errstate(invalid="ignore"):
            whole = dy @ x.T
        r, c = getattr(matrix, "blocksize", (1, 1))
        major = np.repeat(np.arange(matrix.indptr.size - 1), np.diff(matrix.indptr))
        blocks = whole.reshape(whole.shape[0] // r, r, whole.shape[1] // c, c).swapaxes(1, 2)
        values[...] = blocks[major, matrix.indices].reshape(values.shape)

    for function in (
        create, set_stream, create_csr, create_bsr, create_dn_mat, create_dn_vec,
        sp_mm_buffer_size, sp_mm_preprocess, sp_mm, sp_mv_buffer_size, sp_mv_preprocess, sp_mv,
        sddmm_buffer_size, sddmm_preprocess, sddmm,
    ):  # fmt: skip
        logged(function)
    for name in ("dn_mat_set_values", "dn_vec_set_values", "sp_mat_set_values"):
        set_values.__name__ = name
        logged(set_values)
    for name in ("destroy_sp_mat", "destroy_dn_mat", "destroy_dn_vec"):
        setattr(module, name, destroy)
    vars(module).update(_ENUMS)
    return module


#: As in nvmath-python 1.0.
_ENUMS = {
    "SpMMAlg": enum.IntEnum(
        "SpMMAlg", {"DEFAULT": 0, "CSR_ALG1": 4, "CSR_ALG2": 6, "CSR_ALG3": 12}
    ),
    "SpMVAlg": enum.IntEnum("SpMVAlg", {"DEFAULT": 0, "CSR_ALG1": 2, "CSR_ALG2": 3}),
    "SDDMMAlg": enum.IntEnum("SDDMMAlg", {"DEFAULT": 0}),
    "Order": enum.IntEnum("Order", {"COL": 1, "ROW": 2}),
    "Operation": enum.IntEnum("Operation", {"NON_TRANSPOSE": 0, "TRANSPOSE": 1}),
    "IndexType": enum.IntEnum("IndexType", {"INDEX_32I": 2, "INDEX_64I": 3}),
    "IndexBase": enum.IntEnum("IndexBase", {"ZERO": 0, "ONE": 1}),
}
