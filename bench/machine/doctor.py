"""What makes this machine a poor place to measure, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from crossover.bench.machine.flush import ColdProbe
from crossover.bench.machine.identity import first_line
from crossover.bench.machine.limits import CpuLimits
from crossover.kernels.base import Kernel

#: A BLAS below this share of the FMA rate is a weak baseline.
_WEAK_BLAS = 0.7
_SLOW_PARALLEL_S = 2e-5
_SCALING = 0.8
#: A line that is read faster than this share of memory's time came from a cache.
_COLD = 0.8


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


def examine(
    ceilings: CpuLimits, cores: int, cold: ColdProbe, vendor: str, kernels: Iterable[Kernel]
) -> list[Finding]:
    """Return what was looked at on this machine.

    ``ceilings`` were measured on all ``cores``, ``cold`` by :func:`flush.probe`; ``vendor`` is the
    maker of the processor, ``kernels`` those that it could run.
    """
    return [
        _baseline(ceilings),
        _scaling(ceilings),
        _parallel(ceilings),
        _cold(cold),
        _libraries(vendor, kernels),
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


def _cold(cold: ColdProbe) -> Finding:
    cached, flushed, memory = (
        f"{seconds * 1e9:.0f}" for seconds in (cold.cached_s, cold.flushed_s, cold.memory_s)
    )
    found = (
        f"a line takes {cached} ns in a core's caches, {flushed} ns after a flush of "
        f"{cold.flush_s * 1e3:.1f} ms, {memory} ns after four"
    )
    remedy = "what is called cold is found in the last cache in part: give --caches hot alone"
    return Finding("cold calls", found, "" if cold.flushed_s > _COLD * cold.memory_s else remedy)


def _libraries(vendor: str, kernels: Iterable[Kernel]) -> Finding:
    foreign: dict[str, list[str]] = {}
    for each in kernels:
        if vendor and each.made_for not in ("", vendor) and each.unavailable() is None:
            foreign.setdefault(each.made_for, []).append(each.name)
    if not foreign:
        return Finding("libraries", "none is made for processors of another maker alone")
    named = "; ".join(f"{', '.join(names)} for {maker}'s" for maker, names in foreign.items())
    found = f"made for other processors than {vendor}'s: {named}"
    remedy = "their figures here say nothing of those processors: compare with them there"
    return Finding("libraries", found, remedy)


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
