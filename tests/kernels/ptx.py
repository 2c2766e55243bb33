"""Compiles every CUDA kernel for one compute capability: ``python -m tests.kernels.ptx 9 0``.

Prints JSON: per kernel its PTX, the most registers it may take, and whether it loads vectors.
Run apart from the tests, which may have Numba's simulator loaded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from numba import cuda, types

from crossover.kernels.base import PASSES, Pass
from crossover.kernels.cuda.numba import bsr
from crossover.kernels.cuda.numba.csr import device_functions
from crossover.kernels.cuda.numba.sddmm import update
from crossover.kernels.cuda.numba.tiled import kernel_of
from crossover.kernels.cuda.numba.tiles import Tile, choose

f32, i32 = types.float32, types.int32
VECTOR, INDICES = types.Array(f32, 1, "C"), types.Array(i32, 1, "C")
MATRIX, TABLE = types.Array(f32, 2, "C"), types.Array(i32, 2, "C")
#: Rows, nonzeros and batch of problems that reach every variant.
PROBLEMS = [
    (rows, nonzeros, n)
    for rows, nonzeros in ((4096, 1_677_722), (300, 18_816))
    for n in (1, 3, 8, 33, 64, 100, 1024)
]


def plain() -> Iterator[tuple[str, Any, Any]]:
    """The kernels of numba-cuda-csr, with their signatures."""
    functions = device_functions()
    yield "spmm", functions.spmm, (INDICES, INDICES, VECTOR, MATRIX, MATRIX)
    signature = (INDICES, INDICES, INDICES, VECTOR, MATRIX, MATRIX)
    yield "spmm_transposed", functions.spmm_transposed, signature
    yield "sddmm", functions.sddmm, (INDICES, INDICES, MATRIX, MATRIX, VECTOR)
    yield "update", functions.update, (VECTOR, VECTOR, f32)


def signature_of(pass_: Pass, n: int) -> tuple[Any, ...]:
    """The arguments of a tiled kernel."""
    if pass_ == "backward_weight":
        return TABLE, INDICES, MATRIX, MATRIX, VECTOR
    product = TABLE, INDICES, VECTOR, MATRIX, MATRIX
    return product if n == 1 else (*product, types.int64, types.int64)


def tiled() -> dict[str, tuple[Pass, Tile, int]]:
    """Every variant of numba-cuda-tiled that the choice by size arrives at, by name."""
    found: dict[str, tuple[Pass, Tile, int]] = {}
    for rows, nonzeros, n in PROBLEMS:
        for pass_ in PASSES:
            if pass_ != "backward_input":  # the same kernel as forward
                tile = choose(pass_, rows, nonzeros, n)
                exact = "exact" if n % tile.columns == 0 else "partial"
                kind = "spmv" if n == 1 and pass_ == "forward" else pass_
                found.setdefault(f"{kind} {tile.name} {exact}", (pass_, tile, n))
    return found


def blocks() -> dict[str, tuple[Any, Any]]:
    """The kernels of numba-cuda-bsr, with their signatures."""
    product = INDICES, INDICES, VECTOR, MATRIX, MATRIX
    found: dict[str, tuple[Any, Any]] = {
        f"blocks {pieces}x{vector}": (bsr.bsr_spmm(pieces, vector), product)
        for pieces, vector in ((1, 1), (1, 4), (2, 4))
    }
    update = VECTOR, VECTOR, INDICES, INDICES, VECTOR, f32
    return found | {"blocks update": (bsr.update(), update)}


def compiled(capability: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """All kernels, compiled."""

    def ptx(kernel: Any, signature: Any) -> str:
        return str(cuda.compile_ptx(kernel.py_func, signature, cc=capability)[0])

    found: dict[str, dict[str, Any]] = {
        name: {"ptx": ptx(kernel, signature)} for name, kernel, signature in plain()
    }
    arguments = (VECTOR, VECTOR, INDICES, VECTOR, f32)
    found["tiled update"] = {"ptx": ptx(update(), arguments)}
    if capability >= (8, 0):  # TF32
        most = {"registers": bsr.REGISTERS}
        found |= {name: {"ptx": ptx(*each), **most} for name, each in blocks().items()}
    for name, (pass_, tile, n) in tiled().items():
        kernel = kernel_of(pass_, tile, n)
        found[name] = {
            "ptx": ptx(kernel, signature_of(pass_, n)),
            "registers": tile.registers,
            "vectors": tile.vector == 4,
            "shuffles": tile.width > 1 and (tile.splits > 1 or pass_ == "backward_weight")
            and not (pass_ == "backward_weight" and tile.lanes == 1),
            "stores vectors": tile.vector == 4 and pass_ == "forward",
        }  # fmt: skip
    return found


if __name__ == "__main__":
    json.dump(compiled((int(sys.argv[1]), int(sys.argv[2]))), sys.stdout)
