"""How emitted code is called: as a function of its own, on arrays that are still there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .vectors import I64


def apart(emit: Callable[..., None]) -> Callable[..., None]:
    """Let what ``emit`` emits of 64-bit integers be a function of the module, compiled once there.

    Inlined, a long loop is compiled anew wherever it is called: by one thread, and by several.
    """

    @wraps(emit)
    def call(builder: Any, *values: Any) -> None:
        name = f"crossover_{emit.__name__}"
        function = builder.module.globals.get(name)
        if function is None:
            kind = ir.FunctionType(ir.VoidType(), [I64] * len(values))
            function = ir.Function(builder.module, kind, name)
            function.linkage = "linkonce_odr"
            function.attributes.add("noinline")
            inside = ir.IRBuilder(function.append_basic_block())
            emit(inside, *function.args)
            inside.ret_void()
        builder.call(function, values)

    return call


def load_here(builder: Any) -> None:
    """Let what was loaded until here be loaded here.

    LLVM else moves a load to where its value is used: behind a loop whose end the processor may
    guess wrong, so that it waits for the second miss after the first.
    """
    builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], True)


@intrinsic  # type: ignore[untyped-decorator]
def keep_alive(typingctx: Any, array: Any) -> Any:
    """Keep ``array`` until here, whose address alone is used: Numba frees it after its last use."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_dummy_value()

    return types.void(array), codegen
