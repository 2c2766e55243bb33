"""Why a crossover lies elsewhere: what each side of the ratio does, and what the machine allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from crossover.bench.machine.limits import CpuLimits, CudaLimits
from crossover.reports import metrics
from crossover.reports.compare.differences import CrossoverDifference
from crossover.reports.compare.machines import Machine
from crossover.reports.networks import USUAL_SPARSITY
from crossover.reports.tables import seconds, share, times


def reasons(first: Machine, second: Machine, found: CrossoverDifference) -> list[str]:
    """Return what was measured that speaks to a difference, the most direct first."""
    one, other = (_at_the_usual(each, found) for each in (first, second))
    sentences = []
    if one is not None and other is not None:
        sentences = [*_sides(first, second, one, other), *_baselines(first, second, one, other)]
    threads = found.first.place["threads"], found.second.place["threads"]
    limits = [
        machine.results.limits(found.place["device"], count)
        for machine, count in zip((first, second), threads, strict=True)
    ]
    if limits[0] is not None and limits[1] is not None:
        sentences.append(_ceilings(first.name, second.name, limits[0], limits[1]))
    return sentences


def _at_the_usual(machine: Machine, found: CrossoverDifference) -> Mapping[Any, Any] | None:
    """Return the fastest sparse kernel's row in a place, at the sparsity nearest the usual one."""
    rows: pd.DataFrame = metrics.fastest_sparse(machine.rows)
    for name, value in found.place.items():
        rows = rows[rows[name] == value]
    if rows.empty:
        return None
    nearest = (rows["network_sparsity"] - USUAL_SPARSITY).abs().idxmin()
    row: Mapping[Any, Any] = rows.loc[nearest].to_dict()
    return row


def _sides(
    first: Machine, second: Machine, one: Mapping[Any, Any], other: Mapping[Any, Any]
) -> list[str]:
    """Say which side of the speedup changed more from one machine to the other."""
    dense, sparse = one["baseline_s"] / other["baseline_s"], one["time_s"] / other["time_s"]
    more = "dense" if dense > sparse else "sparse"
    at = f"{one['layer']}, batch {one['batch']}, {100 * one['network_sparsity']:g} %"
    return [
        f"At {at}: the dense baseline takes {seconds(one['baseline_s'])} ({one['baseline']}) on "
        f"{first.name} and {seconds(other['baseline_s'])} ({other['baseline']}) on {second.name}, "
        f"{times(dense)} × as fast; the fastest sparse kernel {seconds(one['time_s'])} "
        f"({one['kernel']}) and {seconds(other['time_s'])} ({other['kernel']}), {times(sparse)} × "
        f"as fast: {second.name} gives more to the {more} side."
    ]


def _baselines(
    first: Machine, second: Machine, one: Mapping[Any, Any], other: Mapping[Any, Any]
) -> list[str]:
    mine, theirs = one["baseline_of_bound"], other["baseline_of_bound"]
    if pd.isna(mine) or pd.isna(theirs):
        return []
    return [
        f"Of what its machine allows the baseline reaches {share(mine)} on {first.name} and "
        f"{share(theirs)} on {second.name}: the lower, the easier it is to beat."
    ]


def _ceilings(
    first: str, second: str, one: CpuLimits | CudaLimits, other: CpuLimits | CudaLimits
) -> str:
    """Say what the machines were measured to do: arithmetic helps dense kernels, bytes sparse."""
    rate, their_rate = (
        each.fp32_gflops if isinstance(each, CudaLimits) else each.fma_gflops
        for each in (one, other)
    )
    shared = [level for level in one.copy_gbs if level in other.copy_gbs]
    copies = ", ".join(
        f"{level} {one.copy_gbs[level]:.0f} and {other.copy_gbs[level]:.0f}" for level in shared
    )
    return (
        f"Ceilings on {first} and {second}: fp32 {rate:.0f} and {their_rate:.0f} GFLOP/s "
        f"({times(their_rate / rate)} ×); copies in GB/s {copies}. More arithmetic for the same "
        "bandwidth helps the dense side."
    )
