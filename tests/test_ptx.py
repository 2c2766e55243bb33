"""The CUDA kernels compile to PTX without a GPU, in a process without the simulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CAPABILITIES = [(7, 5), (8, 0), (8, 9), (9, 0)]
COMPILE = """
import json, sys
from numba import cuda, types
from kernels.numba_cuda import device_functions
f = device_functions()
f32, i32 = types.float32, types.int32
vector, indices = types.Array(f32, 1, "C"), types.Array(i32, 1, "C")
matrix = types.Array(f32, 2, "C")
signatures = {
    "spmm": (indices, indices, vector, matrix, matrix),
    "spmm_transposed": (indices, indices, indices, vector, matrix, matrix),
    "sddmm": (indices, indices, matrix, matrix, vector),
    "update": (vector, vector, f32),
}
major, minor = map(int, sys.argv[1:])
print(json.dumps({
    name: cuda.compile_ptx(getattr(f, name).py_func, signature, cc=(major, minor))[0]
    for name, signature in signatures.items()
}))
"""


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda c: f"{c[0]}.{c[1]}")
def test_kernels_compile_to_ptx(capability: tuple[int, int]) -> None:
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, *map(str, capability)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "NvvmSupportError" in done.stderr or "libNVVM" in done.stderr:
        pytest.skip("not run: no NVVM here; 'nox -s ptx' installs it")
    assert done.returncode == 0, done.stderr
    compiled = json.loads(done.stdout)
    assert set(compiled) == {"spmm", "spmm_transposed", "sddmm", "update"}
    for name, text in compiled.items():
        assert f".target sm_{capability[0]}{capability[1]}" in text, name
        assert "fma.rn.f32" in text or name == "update", name
        assert ".local" not in text, f"{name} spills to local memory"
