"""What this machine is: processor, GPU, libraries, and the code that measures."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import threadpoolctl

from crossover.kernels.processor import cache_sizes, vendor

ROOT = Path(__file__).resolve().parent.parent.parent
#: In the order of preference: an empty parallel loop costs 1 µs under OpenMP, 3.5 µs under TBB,
#: 100 µs in Numba's own work queue.
THREADING_LAYERS = "omp tbb workqueue"
_CPU0 = Path("/sys/devices/system/cpu/cpu0")
_CGROUP = Path("/sys/fs/cgroup")
_LIBRARIES = (
    "numpy", "scipy", "numba", "llvmlite", "cupy-cuda12x", "cupy-cuda13x", "numba-cuda",
    "nvmath-python",
    "torch", "mkl", "sparse-dot-mkl",
)  # fmt: skip


def identity() -> dict[str, Any]:
    """Return what identifies the machine; nothing that changes from one run to the next."""
    return {
        "cpu": _cpu_name(),
        "vendor": vendor(),
        "architecture": platform.machine(),
        "cores": available_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "blas": blas(),
        "gpu": _gpu("name,driver_version"),
    }


def conditions() -> dict[str, Any]:
    """Return what may change from one run to the next: clocks, governor, limits, threads."""
    clock = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    most = f" (at most {clock.max:.0f})" if clock and clock.max else ""
    return {
        "caches": ", ".join(f"{level} {size >> 10} KiB" for level, size in cache_sizes().items()),
        "clock": f"{clock.current:.0f} MHz{most}" if clock else "",
        "governor": first_line(_CPU0 / "cpufreq" / "scaling_governor"),
        "container": _container(),
        "threading layer": os.environ.get("NUMBA_THREADING_LAYER_PRIORITY", THREADING_LAYERS),
        "gpu clocks": _gpu("clocks.sm,clocks.max.sm,clocks.mem,power.limit"),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of every library a kernel can use."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def blas() -> str:
    """Return the BLAS that NumPy multiplies with: library, version and kernels."""
    np.ones((2, 2)) @ np.ones((2, 2))
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    if not pools:
        return "unknown"
    # SciPy brings a BLAS of its own, and the two are listed in no fixed order.
    pool = min(pools, key=lambda each: ("numpy" not in each["filepath"], each["filepath"]))
    parts = (pool["internal_api"], pool.get("version"), pool.get("architecture"))
    return " ".join(str(part) for part in parts if part)


def code_digest() -> str:
    """Return a hash of the suite's source files: figures of other code are not mixed in."""
    digest = hashlib.sha256()
    for folder in ("bench", "kernels"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def revision() -> str:
    """Return the git commit of the checkout, ``-dirty`` if it was changed; or ``unknown``."""
    if not (ROOT / ".git").exists():
        return "unknown"
    head = _output("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD")
    changed = _output("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    return f"{head}-dirty" if head and changed else head or "unknown"


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    if platform.system() == "Darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string") or "unknown"
    return platform.processor() or platform.machine() or "unknown"


def _container() -> str:
    """Return the limits of a container: its share of time, and its memory."""
    limits = {
        "time (quota period, µs)": first_line(_CGROUP / "cpu.max"),
        "memory": first_line(_CGROUP / "memory.max"),
    }
    return ", ".join(f"{name} {found}" for name, found in limits.items() if found)


def first_line(path: Path) -> str:
    """Return the first line of a small file, empty if it cannot be read."""
    try:
        return path.read_text().partition("\n")[0].strip()
    except OSError:
        return ""


def _gpu(query: str) -> str:
    """Return what the driver says of the first GPU, or an empty string."""
    if not shutil.which("nvidia-smi"):
        return ""
    lines = _output("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader").splitlines()
    return lines[0] if lines else ""


def _output(*command: str) -> str:
    """Return what a command prints, or an empty string if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
