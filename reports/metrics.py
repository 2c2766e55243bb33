"""What is computed from the rows: pure functions, and one table that names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from crossover.bench.ceilings import Ceilings
from crossover.bench.crossover import Crossover, bracket
from crossover.bench.cuda_ceilings import CudaCeilings
from crossover.bench.intervals import Interval, median_intervals
from crossover.bench.trial import FILLED

DENSE = "dense"
#: Formats that store the zeros.
DENSE_FORMATS = (DENSE, "masked dense")
#: What two rows must share for their times to be compared.
PROBLEM = ["network", "layer_index", "layer", "batch", "pass_", "threads", "temperature"]


@dataclass(frozen=True)
class Metric:
    """One figure of a measured row."""

    name: str
    unit: str
    better: Literal["less", "more", "neither"]
    description: str
    #: From the row and the row of the fastest dense kernel on its device in the same cell.
    compute: Callable[[Any, Any], float]


def useful_gflops(nnz: int, n: int, seconds: float) -> float:
    """Return 2 nnz n / t in GFLOP/s: work on zeros does not count."""
    return 2.0 * nnz * n / seconds / 1e9


def executed_gflops(m: int, k: int, n: int, seconds: float) -> float:
    """Return 2 m k n / t in GFLOP/s: what a dense kernel does, zeros included."""
    return 2.0 * m * k * n / seconds / 1e9


def break_even_calls(prepare_s: float, dense_s: float, sparse_s: float) -> float:
    """Return how many calls repay the one-off cost of ``prepare``.

    All times are seconds; ``dense_s`` and ``sparse_s`` are medians for the same problem on one
    device. The answer is ``inf`` where the sparse kernel is not faster: it never pays back.

    Raises:
        ValueError: if a time is negative or not finite.
    """
    times = {"prepare_s": prepare_s, "dense_s": dense_s, "sparse_s": sparse_s}
    for name, value in times.items():
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} {value} is not a time: must be finite and at least 0")
    return prepare_s / (dense_s - sparse_s) if sparse_s < dense_s else float("inf")


METRICS = (
    Metric("time_s", "s", "less", "median time of a call", lambda row, _: row.interval.median),
    Metric("time_low_s", "s", "less", "lower end of its interval", lambda row, _: row.interval.low),
    Metric(
        "time_high_s", "s", "less", "upper end of its interval", lambda row, _: row.interval.high
    ),
    Metric(
        "useful_gflops",
        "GFLOP/s",
        "more",
        "rate of work on stored nonzeros",
        lambda row, _: useful_gflops(row.nnz, row.n, row.interval.median),
    ),
    Metric(
        "executed_gflops",
        "GFLOP/s",
        "more",
        "rate of all work of a kernel that stores zeros",
        lambda row, _: (
            executed_gflops(row.m, row.k, row.n, row.interval.median)
            if row.format in DENSE_FORMATS
            else float("nan")
        ),
    ),
    Metric(
        "break_even_calls",
        "calls",
        "less",
        "calls that repay the conversion, against the fastest dense kernel of the device",
        lambda row, dense: (
            break_even_calls(row.prepare_s, dense.interval.median, row.interval.median)
            if dense is not None and row.format not in DENSE_FORMATS
            else float("nan")
        ),
    ),
)


def roofline_fraction(row: Any, ceilings: Mapping[str, Ceilings | CudaCeilings]) -> float:
    """Return bound / time: what share of this machine's measured ceilings a kernel reaches.

    The bound is the larger of the useful work over the FMA rate and the compulsory bytes (the
    operand once, the dense side and the result once) over the bandwidth. NaN without ceilings.
    """
    key = "cuda" if row.device == "cuda" else str(row.threads)
    if key not in ceilings:
        return float("nan")
    flops = 2.0 * row.n * (row.m * row.k if row.format in DENSE_FORMATS else row.nnz)
    dense_sides = (row.m + row.k) * row.n * np.dtype(row.dtype).itemsize
    bound = ceilings[key].bound_s(flops, row.nbytes + dense_sides)
    return bound / float(row.interval.median)


def measured(frame: pd.DataFrame, ceilings: Mapping[str, Ceilings | CudaCeilings]) -> pd.DataFrame:
    """Return the measured rows with the columns of :data:`METRICS` and of the speedup.

    ``baseline`` names the fastest dense kernel of the row's device in the same cell, empty where
    none was measured; ``speedup``, ``speedup_low`` and ``speedup_high`` are against it.
    """
    rows = frame[frame["status"] == "measured"].copy()
    rows["interval"] = median_intervals(list(rows["samples"]))
    baselines = _baselines(rows)
    pairs = [(row, baselines.get((row.cell_id, row.device))) for row in rows.itertuples()]
    computed = []
    for (row, dense), speedup in zip(pairs, _speedups(pairs), strict=True):
        values: dict[str, Any] = {m.name: m.compute(row, dense) for m in METRICS}
        values |= {
            "roofline": roofline_fraction(row, ceilings),
            "baseline": "" if dense is None else dense.kernel,
            "speedup": speedup.median,
            "speedup_low": speedup.low,
            "speedup_high": speedup.high,
        }
        computed.append(values)
    return rows.join(pd.DataFrame(computed, index=rows.index))


def sparse(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of sparse kernels that leave something out.

    One whose blocks fill W is none: it is a dense kernel by another name.
    """
    filled = rows["remarks"].map(lambda remarks: FILLED in remarks).astype(bool)
    return rows[~rows["format"].isin(DENSE_FORMATS) & ~filled]


def best_sparse(rows: pd.DataFrame) -> pd.DataFrame:
    """Return, of :func:`measured` rows, the fastest sparse kernel of each cell and device."""
    found = sparse(rows)
    return found.loc[found.groupby(["cell_id", "device"], sort=False)["time_s"].idxmin()]


def crossovers(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the crossover of each sparse kernel, and of the best of them, per problem.

    The kernel of the best is called ``fastest sparse``; it may be another one at each sparsity.
    The columns beside :data:`PROBLEM` are device, kernel, shape, parameters, crossover (a
    :class:`Crossover`), top_sparsity, and the speedup and kernel there.
    """
    best = best_sparse(rows).assign(fastest=lambda f: f["kernel"], kernel="fastest sparse")
    each = rows[~rows["format"].isin(DENSE_FORMATS)].assign(fastest=lambda f: f["kernel"])
    found = []
    together = pd.concat([best, each])
    for key, group in together.groupby([*PROBLEM, "device", "kernel"], sort=False):
        compared = group[group["speedup"].notna()].sort_values("sparsity")
        if compared.empty:
            continue
        top = compared.iloc[-1]
        found.append(
            dict(zip([*PROBLEM, "device", "kernel"], key, strict=True))
            | {
                "shape": f"{top.m} × {top.k}",
                "parameters": top.m * top.k,
                "crossover": crossover_of(compared),
                "top_sparsity": top.sparsity,
                "top_speedup": top.speedup,
                "top_kernel": top.fastest,
            }
        )
    columns = [*PROBLEM, "device", "kernel", "shape", "parameters", "crossover"]
    tops = ["top_sparsity", "top_speedup", "top_kernel"]
    return pd.DataFrame(found, columns=[*columns, *tops])


def crossover_of(rows: pd.DataFrame) -> Crossover:
    """Return the crossover of rows that differ in their sparsity alone."""
    return bracket(
        [
            (row.sparsity, Interval(row.speedup_low, row.speedup, row.speedup_high))
            for row in rows.itertuples()
        ]
    )


def _baselines(rows: pd.DataFrame) -> dict[tuple[str, str], Any]:
    """Return the fastest dense row per (cell, device)."""
    fastest: dict[tuple[str, str], Any] = {}
    for row in rows[rows["format"] == DENSE].itertuples():
        key = row.cell_id, row.device
        if key not in fastest or row.interval.median < fastest[key].interval.median:
            fastest[key] = row
    return fastest


def _speedups(pairs: Sequence[tuple[Any, Any]]) -> list[Interval]:
    """Return each row's paired speedup; NaN where there is nothing to pair with."""
    ratios = {
        index: list(np.asarray(dense.samples) / np.asarray(row.samples))
        for index, (row, dense) in enumerate(pairs)
        if dense is not None and len(dense.samples) == len(row.samples)
    }
    known = dict(zip(ratios, median_intervals(list(ratios.values())), strict=True))
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    return [known.get(index, nothing) for index in range(len(pairs))]
