"""What Numba CUDA lacks: 128-bit loads and stores, as intrinsics, and the simulator's stand-ins.

Kernels compute places by :func:`operations` and load from them into local arrays, which the
compiler keeps in registers. All elements have 4 bytes. The simulator knows neither intrinsics nor
shuffles: ``simulator`` stands in, with the same offsets.
"""

from __future__ import annotations

import importlib
from functools import cache
from types import SimpleNamespace
from typing import Any

from . import simulator
from .arrays import numba_cuda

# numba.cuda, imported by operations(): a machine where that fails still lists the kernels.
cuda: Any = None
_BYTES = 4


@cache
def operations(simulated: bool) -> SimpleNamespace:
    """Return the operations that kernels close over.

    ``at(array, offset)`` is the place of an element, ``ahead(place, index, stride)`` the one
    ``index * stride`` elements further: one multiply-add, with ``index`` and ``stride`` below
    2^31. ``load1`` and ``load4(into, start, array, place, step)`` copy the 1 or 4 elements of
    ``array`` that lie ``step`` after ``place`` to the local array ``into``, through the read-only
    path: nothing may write them while the kernel runs. ``store1`` and ``store4(array, place,
    step, source, start)`` copy them out. 4 elements must be aligned to their 16 bytes.

    ``exchange(value, distance, width)`` returns the value of the thread whose number in its
    subwarp of ``width`` threads differs in the bit ``distance``; the whole subwarp must call it.
    ``multiply_blocks(totals, start, a, b, first, second)`` adds to 4 ``totals`` of each of a
    warp's 32 threads the product of a block (16, 8) and one (8, 8) on the tensor cores (TF32),
    in the layout of ``mma.m16n8k8``: the thread's parts are ``a[:4]``, ``b[first]`` and
    ``b[second]``. The whole warp must call it.

    ``quotient`` divides natural numbers below 2^31, where Numba would divide 64 bits.
    """
    global cuda
    cuda = numba_cuda()
    if simulated:
        return simulator.operations()
    return _compiled()


def _compiled() -> SimpleNamespace:
    return SimpleNamespace(
        at=_at(),
        ahead=_ahead(),
        load1=_load(1),
        load4=_load(4),
        store1=_store(1),
        store4=_store(4),
        exchange=_exchange(),
        quotient=_quotient(),
        multiply_blocks=_multiply_blocks(),
    )


def _at() -> Any:
    intrinsic, types, ir = _compiler()

    @intrinsic
    def at(typing_context, array, offset):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            data = context.make_array(array)(context, builder, arguments[0]).data
            element = builder.gep(data, [arguments[1]])
            return builder.ptrtoint(
                builder.addrspacecast(element, ir.PointerType(data.type.pointee, 1)),
                ir.IntType(64),
            )

        return types.int64(array, types.int64), generate

    return at


def _ahead() -> Any:
    intrinsic, types, ir = _compiler()
    i32, i64 = ir.IntType(32), ir.IntType(64)
    # Written out, for the compiler hoists the widening out of the loop, and then multiplies 64
    # by 64 bits.
    mad = ir.InlineAsm(ir.FunctionType(i64, [i32, i32, i64]), "mad.wide.s32 $0, $1, $2, $3;",
                       "=l,r,r,l")  # fmt: skip

    @intrinsic
    def ahead(typing_context, place, index, stride):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            start, number, elements = arguments
            return builder.call(mad, [number, builder.mul(elements, i32(_BYTES)), start])

        return types.int64(types.int64, types.int32, types.int32), generate

    return ahead


def _quotient() -> Any:
    intrinsic, types, _ = _compiler()

    @intrinsic
    def quotient(typing_context, dividend, divisor):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.udiv(*arguments)

        return types.int32(types.int32, types.int32), generate

    return quotient


def _load(count: int) -> Any:
    intrinsic, types, _ = _compiler()

    @intrinsic
    def load(typing_context, into, start, array, place, step):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            target, first, _, begin, distance = arguments
            data = context.make_array(into)(context, builder, target).data
            pointer = _vector_pointer(builder, data.type.pointee, begin, distance, count)
            loaded = builder.load(pointer, align=_BYTES * count)
            # Read-only while the kernel runs: ld.global.nc.
            loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
            for lane in range(count):
                element = builder.extract_element(loaded, _i32(lane))
                builder.store(element, builder.gep(data, [builder.add(first, first.type(lane))]))
            return context.get_dummy_value()

        return types.void(into, types.int64, array, types.int64, types.int64), generate

    return load


def _store(count: int) -> Any:
    intrinsic, types, _ = _compiler()

    @intrinsic
    def store(typing_context, array, place, step, source, start):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            _, begin, distance, origin, first = arguments
            data = context.make_array(source)(context, builder, origin).data
            pointer = _vector_pointer(builder, data.type.pointee, begin, distance, count)
            value = pointer.type.pointee(None)
            for lane in range(count):
                element = builder.load(builder.gep(data, [builder.add(first, first.type(lane))]))
                value = builder.insert_element(value, element, _i32(lane))
            builder.store(value, pointer, align=_BYTES * count)
            return context.get_dummy_value()

        return types.void(array, types.int64, types.int64, source, types.int64), generate

    return store


def _vector_pointer(builder: Any, element: Any, place: Any, step: Any, count: int) -> Any:
    """Return the vector of ``count`` elements ``step`` after ``place``, in global memory."""
    ir = importlib.import_module("llvmlite.ir")
    first = builder.gep(builder.inttoptr(place, ir.PointerType(element, 1)), [step])
    return builder.bitcast(first, ir.PointerType(ir.VectorType(element, count), 1))


def _i32(value: int) -> Any:
    ir = importlib.import_module("llvmlite.ir")
    return ir.Constant(ir.IntType(32), value)


def _compiler() -> tuple[Any, Any, Any]:
    """Return Numba's decorator for CUDA intrinsics, its types, and LLVM's language."""
    return (
        importlib.import_module("numba.cuda.extending").intrinsic,
        importlib.import_module("numba").types,
        importlib.import_module("llvmlite.ir"),
    )


def _exchange() -> Any:
    intrinsic, types, ir = _compiler()
    i32 = ir.IntType(32)

    @intrinsic
    def exchange(typing_context, value, distance, width):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            shown, bit, threads = arguments
            read_lane = builder.module.declare_intrinsic(
                "llvm.nvvm.read.ptx.sreg.laneid", (), ir.FunctionType(i32, [])
            )
            shuffle = builder.module.declare_intrinsic(
                "llvm.nvvm.shfl.sync.bfly.f32",
                (),
                ir.FunctionType(ir.FloatType(), [i32, ir.FloatType(), i32, i32]),
            )
            # Only the subwarp: the others of the warp may be at another turn of a loop.
            first = builder.and_(builder.call(read_lane, []), builder.neg(threads))
            last = builder.sub(i32(32), threads)
            members = builder.shl(builder.lshr(i32(0xFFFFFFFF), last), first)
            return builder.call(shuffle, [members, shown, bit, i32(31)])

        return types.float32(types.float32, types.int32, types.int32), generate

    return exchange


def _multiply_blocks() -> Any:
    intrinsic, types, ir = _compiler()
    f32 = ir.FloatType()
    kinds = [ir.IntType(32)] * 6 + [f32] * 4
    mma = ir.InlineAsm(
        ir.FunctionType(ir.LiteralStructType([f32] * 4), kinds),
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};",
        "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f",
        side_effect=True,  # or it might move to where not all of the warp comes by
    )

    @intrinsic
    def multiply_blocks(typing_context, totals, start, a, b, first, second):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            to, begin, left, right, one, other = arguments

            def place(kind: Any, array: Any, index: Any) -> Any:
                return builder.gep(context.make_array(kind)(context, builder, array).data, [index])

            sums = [place(totals, to, builder.add(begin, begin.type(i))) for i in range(4)]
            parts = [place(a, left, begin.type(i)) for i in range(4)]
            parts += [place(b, right, index) for index in (one, other)]
            bits = [builder.bitcast(builder.load(part), ir.IntType(32)) for part in parts]
            done = builder.call(mma, [*bits, *(builder.load(each) for each in sums)])
            for i, each in enumerate(sums):
                builder.store(builder.extract_value(done, i), each)
            return context.get_dummy_value()

        number = types.int64
        return types.void(totals, number, a, b, number, number), generate

    return multiply_blocks
