"""What makes this machine a poor place to measure, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from crossover.bench.machine.identity import first_line
from crossover.bench.machine.limits import CpuLimits

#: A BLAS below this share of the FMA rate is a weak baseline.
_WEAK_BLAS = 0.7
_SLOW_PARALLEL_S = 2e-5
_SCALING = 0.8


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, and the remedy where it is not fine."""

    what: str
    found: str
    remedy: str = ""

    @property
    def fine(self) -> bool:
        """Return whether there is nothing to mend."""
        return not self.remedy


def examine(ceilings: CpuLimits, cores: int) -> list[Finding]:
    """Return what was looked at on this machine; ``ceilings`` were measured on all ``cores``."""
    return [
        _baseline(ceilings),
        _scaling(ceilings),
        _parallel(ceilings),
        _load(psutil.getloadavg()[0], cores),
        _governor(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        _quota(Path("/sys/fs/cgroup/cpu.max"), cores),
    ]


def _baseline(ceilings: CpuLimits) -> Finding:
    share = ceilings.blas_gflops / ceilings.fma_gflops
    found = f"your BLAS reaches {share:.0%} of this machine's FMA ceiling"
    remedy = "crossovers against it flatter sparse kernels; use a NumPy built with a better BLAS"
    return Finding("dense baseline", found, "" if share >= _WEAK_BLAS else remedy)


def _scaling(ceilings: CpuLimits) -> Finding:
    gained = ceilings.fma_gflops / ceilings.fma_one_gflops
    found = f"{ceilings.threads} threads reach {gained:.2f} times the FMA rate of one"
    remedy = "cores are shared or in use: stop other work, or --threads 1"
    return Finding("threads", found, "" if gained >= _SCALING * ceilings.threads else remedy)


def _parallel(ceilings: CpuLimits) -> Finding:
    found = f"an empty parallel loop takes {ceilings.parallel_s * 1e6:.1f} µs"
    remedy = "install libgomp (OpenMP) or the package tbb"
    slow = ceilings.parallel_s > _SLOW_PARALLEL_S
    return Finding("threading layer", found, remedy if slow else "")


def _load(load: float, cores: int) -> Finding:
    found = f"{load:.1f} processes wanted to run in the last minute, on {cores} cores"
    remedy = "" if load < cores else "stop other work before measuring"
    return Finding("load", found, remedy)


def _governor(path: Path) -> Finding:
    governor = first_line(path)
    if not governor:
        return Finding("clock governor", "the system does not tell (a virtual machine, perhaps)")
    remedy = "" if governor == "performance" else "set it to performance while measuring"
    return Finding("clock governor", governor, remedy)


def _quota(path: Path, cores: int) -> Finding:
    try:
        quota, period = path.read_text().split()
    except (OSError, ValueError):
        return Finding("container limit", "none found")
    if quota == "max":
        return Finding("container limit", "none")
    allowed = int(quota) / int(period)
    found = f"{allowed:g} cores' worth of time, {cores} cores seen"
    remedy = f"give --threads {max(1, int(allowed))}, or raise the limit"
    return Finding("container limit", found, "" if allowed >= cores else remedy)
