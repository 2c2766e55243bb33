"""The CUDA kernels compile without a GPU, to what they were designed for.

PTX is checked wherever NVVM is installed; registers and spills where ptxas is, too. All are
static facts of the code: how fast it runs, only a GPU tells.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
CAPABILITIES = [(7, 5), (8, 0), (8, 9), (9, 0)]
#: Bytes that a thread may spill. A tile of 1,024 threads leaves 64 registers to each, and spills up
#: to 16 bytes; the fastest of all tiles on an H200 are among these.
MOST_SPILLED = 16
UPDATES = ("update", "tiled update", "blocks update")


@cache
def compiled(capability: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """Every kernel compiled, in a process without the simulator."""
    if not importlib.util.find_spec("numba_cuda"):
        pytest.skip("not run: numba-cuda is not installed; 'nox -s ptx' installs it")
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.ptx", *map(str, capability)],
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "0", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "NvvmSupportError" in done.stderr or "libNVVM" in done.stderr:
        pytest.skip("not run: no NVVM here; 'nox -s ptx' installs it")
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture(params=CAPABILITIES, ids=lambda c: f"{c[0]}.{c[1]}")
def capability(request: pytest.FixtureRequest) -> tuple[int, int]:
    """Each compute capability that is supported."""
    major, minor = request.param
    return major, minor


def test_every_kernel_compiles_to_fused_operations_in_registers(
    capability: tuple[int, int],
) -> None:
    kernels = compiled(capability)
    assert {"spmm", "spmm_transposed", "sddmm", "update", "tiled update"} < set(kernels)
    assert len(kernels) > 20
    for name, kernel in kernels.items():
        assert f".target sm_{capability[0]}{capability[1]}" in kernel["ptx"], name
        assert "fma.rn.f32" in kernel["ptx"] or name in UPDATES or "blocks" in name, name
        assert ".local" not in kernel["ptx"], f"{name} has arrays in local memory"


def test_tiled_kernels_load_128_bits(capability: tuple[int, int]) -> None:
    for name, kernel in compiled(capability).items():
        if "vectors" in kernel:
            assert re.search(r"ld\.global\.nc\.v4\.[us]32", kernel["ptx"]), name
            vectors = bool(re.search(r"ld\.global\.nc\.v4\.f32", kernel["ptx"]))
            # Values come four at a time in SpMM; X only where its rows are aligned.
            assert vectors or not kernel["vectors"], name
            assert ("st.global.v4.f32" in kernel["ptx"]) == kernel["stores vectors"], name
            assert ("shfl.sync.bfly" in kernel["ptx"]) == kernel["shuffles"], name


def test_blocks_reach_the_tensor_cores(capability: tuple[int, int]) -> None:
    products = {name: each["ptx"] for name, each in compiled(capability).items() if "x4" in name}
    found = [text for name, text in products.items() if name.startswith("blocks")]
    assert len(found) == (2 if capability >= (8, 0) else 0)
    for text in found:
        assert "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32" in text
        assert len(re.findall(r"ld\.global\.nc\.v4\.", text)) >= 3


def test_little_spills_and_registers_stay_under_their_cap(
    capability: tuple[int, int], tmp_path: Path
) -> None:
    kernels = compiled(capability)
    assembler = find_assembler()
    for number, (name, kernel) in enumerate(kernels.items()):
        source = tmp_path / f"{number}.ptx"
        source.write_text(kernel["ptx"])
        used, spilled = assemble(assembler, source, capability, kernel.get("registers", 255))
        assert used <= kernel.get("registers", 96), f"{name} takes {used} registers"
        assert spilled <= MOST_SPILLED, f"{name} spills {spilled} bytes"


def test_the_release_is_the_one_asked_for() -> None:
    """By the environment that ``nox -s ptx`` makes: a compiler and an assembler of one release."""
    asked = os.environ.get("CROSSOVER_PTX_RELEASE")
    if asked is None:
        pytest.skip("not run: no release of CUDA was asked for; 'nox -s ptx' asks for 12 and 13")
    assert release_of(find_assembler()) == asked
    isa = re.search(r"\.version (\d+)", compiled((9, 0))["update"]["ptx"])
    assert isa is not None
    assert isa[1] == {"12": "8", "13": "9"}[asked]


def test_the_check_for_spills_can_fail(tmp_path: Path) -> None:
    kernels = compiled((9, 0))
    assembler = find_assembler()
    name = next(name for name, kernel in kernels.items() if kernel.get("registers") == 96)
    source = tmp_path / "starved.ptx"
    source.write_text(kernels[name]["ptx"])
    assert assemble(assembler, source, (9, 0), 32)[1] > 0


def find_assembler() -> str:
    """ptxas: of NVIDIA's wheel, which is of the compiler's release, or of a toolkit."""
    package = importlib.util.find_spec("nvidia")
    folders = (package.submodule_search_locations or []) if package else []
    wheels = [str(path) for each in folders for path in Path(each).glob("*/bin/ptxas")]
    found = next(iter(wheels), None) or shutil.which("ptxas")
    if found is None:
        pytest.skip("not run: no ptxas here; 'nox -s ptx' installs it")
    return found


@cache
def release_of(assembler: str) -> str:
    """The CUDA release of an assembler: 12, say."""
    done = subprocess.run([assembler, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"release (\d+)", done.stdout)
    return found[1] if found else "unknown"


def assemble(
    assembler: str, source: Path, capability: tuple[int, int], most: int
) -> tuple[int, int]:
    """The registers per thread, and the bytes spilled, of the one kernel in ``source``."""
    command = [assembler, "-v", f"-arch=sm_{capability[0]}{capability[1]}"]
    output = ["-maxrregcount", str(most), "-o", os.devnull, str(source)]
    done = subprocess.run([*command, *output], capture_output=True, text=True, check=False)
    if "Unsupported .version" in done.stderr:
        pytest.skip(f"not run: {assembler} is older than the compiler; 'nox -s ptx' installs both")
    assert done.returncode == 0, done.stderr
    (used,) = re.findall(r"Used (\d+) registers", done.stderr)
    (spilled,) = re.findall(r"(\d+) bytes spill stores", done.stderr)
    return int(used), int(spilled)
