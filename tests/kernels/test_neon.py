"""The vector loops compile for a processor that is not here: 64-bit Arm, in vectors of four.

They are assembled, not run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
MODULES = "blocks", "dense", "gradients", "pair_dots", "pairs", "panels", "slices", "tiles"
LOWERED = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}

# In a process of its own: how wide vectors are is decided at import.
COMPILE = """
import importlib, json, sys
import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import types
from numba.core.extending import _Intrinsic
from crossover.kernels.cpu.simd.vectors import LANES

class Context:
    def get_dummy_value(self):
        return None

KINDS = {types.int64: ir.IntType(64), types.boolean: ir.IntType(1), types.float32: ir.FloatType(),
         types.void: ir.VoidType(), types.none: ir.VoidType()}

def emitted(name, intrinsic):
    defined = intrinsic._defn
    signature, codegen = defined(*[None] * defined.__code__.co_argcount)
    module = ir.Module(name)
    module.triple = "aarch64-unknown-linux-gnu"
    kind = ir.FunctionType(KINDS[signature.return_type], [KINDS[a] for a in signature.args])
    function = ir.Function(module, kind, name)
    builder = ir.IRBuilder(function.append_basic_block())
    result = codegen(Context(), builder, signature, function.args)
    builder.ret_void() if result is None else builder.ret(result)
    return str(module)

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
machine = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(opt=3)
found = {}
for part in sys.argv[1:]:
    module = importlib.import_module(f"crossover.kernels.cpu.simd.{part}")
    for name, member in vars(module).items():
        if isinstance(member, _Intrinsic) and member._defn.__module__ == module.__name__:
            parsed = llvm.parse_assembly(emitted(name, member))
            parsed.verify()
            found[name] = machine.emit_assembly(parsed)
print(json.dumps({"lanes": LANES, "assembly": found}))
"""


@pytest.fixture(scope="module")
def assembly() -> dict[str, str]:
    run = subprocess.run(
        [sys.executable, "-c", COMPILE, *MODULES],
        cwd=ROOT,
        env=os.environ | LOWERED,
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(run.stdout)
    assert found["lanes"] == 4
    return dict(found["assembly"])


def test_every_loop_compiles(assembly: dict[str, str]) -> None:
    assert {"sum_pairs", "dot_pairs", "copy_rows", "sum_blocks", "add_group"} <= set(assembly)
    assert {"sum_tiles", "pack_panels", "masked_update"} <= set(assembly)


@pytest.mark.parametrize(
    "name",
    ["sum_pairs", "dot_pairs", "sum_blocks", "sum_tiles", "sum_dense_rows",
     "sum_dense_columns", "outer_dense"],
)  # fmt: skip
def test_products_are_fused_and_four_wide(assembly: dict[str, str], name: str) -> None:
    assert re.search(r"fmla\s+v\d+\.4s", assembly[name])
    assert "fmaf" not in assembly[name]  # a call for each product
