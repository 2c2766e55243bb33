"""What a GPU run says of the targets that were set before it: measured values, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from crossover.bench.crossover import Crossover, bracket
from crossover.bench.cuda_ceilings import CudaCeilings
from crossover.bench.gpu_cells import DLMC_LIKE, SQUARES
from crossover.bench.intervals import Interval, median_interval
from crossover.reports import metrics

OURS, CUSPARSE = "numba-cuda", "cusparse-"
DENSE_FP32, DENSE_TF32, DENSE_FP16 = "cupy-dense", "cupy-dense-tf32", "cupy-dense-fp16"
_PROBLEM = ["network", "layer", "batch", "pass_", "temperature"]


@dataclass(frozen=True)
class Target:
    """A target, and what was measured; ``reached`` is None where nothing was, or none was set."""

    name: str
    target: str
    measured: str
    reached: bool | None


def targets(rows: pd.DataFrame, ceilings: CudaCeilings | None) -> list[Target]:
    """Return every target of the project's for a GPU, on the measured ``rows`` of a run."""
    return [
        _against_cusparse(rows, "forward", "SpMM against the best cuSPARSE", 2.0),
        _against_cusparse(rows, "backward_weight", "SDDMM against cuSPARSE", 2.2),
        _rate(rows, ceilings),
        _crossover_target(rows),
        _reported(rows, DENSE_TF32, "crossover against TF32 cuBLAS"),
        _reported(rows, DENSE_FP16, "crossover against fp16 cuBLAS"),
        _from_memory(rows, ceilings),
    ]


def crossovers(rows: pd.DataFrame, dense: str, kernels: str = "") -> pd.DataFrame:
    """Return the crossover of the fastest sparse kernel over ``dense``, per layer, batch and pass.

    Only kernels whose name begins with ``kernels`` count. The columns are those of the problem,
    ``crossover`` (a :class:`Crossover`), ``top`` (sparsity) and ``speedup`` there. ``layer`` is the
    same at every sparsity.
    """
    found = []
    for key, group in rows.groupby(_PROBLEM, sort=False):
        points = []
        for _, cell in group.groupby("cell_id", sort=False):
            pair = _pair(cell, kernels, dense, sparse=True)
            if pair is not None:
                points.append((float(cell["sparsity"].iloc[0]), _speedup(*pair)))
        if points:
            top, speedup = max(points, key=lambda point: point[0])
            answer: dict[str, Any] = {"crossover": bracket(points), "top": top}
            answer |= {"speedup": speedup.median, "side": int(group["m"].iloc[0])}
            found.append(dict(zip(_PROBLEM, key, strict=True)) | answer)
    return pd.DataFrame(found, columns=[*_PROBLEM, "crossover", "top", "speedup", "side"])


def _against_cusparse(rows: pd.DataFrame, pass_: str, name: str, least: float) -> Target:
    chosen = rows[(rows["network"] == DLMC_LIKE) & (rows["pass_"] == pass_)]
    ratios = []
    for _, cell in chosen.groupby("cell_id", sort=False):
        pair = _pair(cell, OURS, CUSPARSE)
        if pair is not None:
            ratios.append(_speedup(*pair).median)
    target = f"geometric mean ≥ {least:g} ×"
    if not ratios:
        return Target(name, target, "not measured", None)
    mean = float(np.exp(np.mean(np.log(ratios))))
    measured = f"{mean:.2f} × ({len(ratios)} problems, worst {min(ratios):.2f})"
    return Target(name, target, measured, mean >= least)


def _rate(rows: pd.DataFrame, ceilings: CudaCeilings | None) -> Target:
    chosen = _at(rows, batch=1024, temperature="hot")
    name, target = "useful rate at 90 %, 4096 × 4096, batch 1024", "≥ 27 % of the fp32 product rate"
    chosen = chosen[chosen["m"] == 4096]
    best = _fastest(chosen, OURS)
    if best is None or ceilings is None:
        return Target(name, target, "not measured", None)
    rate = 2.0 * best.nnz * best.n / _median(best) / 1e9
    share = rate / ceilings.fp32_gflops
    measured = f"{100 * share:.1f} % ({rate:.0f} GFLOP/s, {best.kernel})"
    return Target(name, target, measured, share >= 0.27)


def _crossover_target(rows: pd.DataFrame) -> Target:
    name, target = "crossover against fp32 cuBLAS, layers of 2048 and more", "≤ 71 %"
    found = _large(crossovers(rows, DENSE_FP32, OURS))
    if found.empty:
        return Target(name, target, "not measured", None)
    reached = all(_at_most(each, 0.71) for each in found["crossover"])
    return Target(name, target, _listed(found), reached)


def _reported(rows: pd.DataFrame, dense: str, name: str) -> Target:
    found = _large(crossovers(rows, dense, OURS))
    measured = "not measured" if found.empty else _listed(found)
    return Target(f"{name}, layers of 2048 and more", "reported, whatever it is", measured, None)


def _from_memory(rows: pd.DataFrame, ceilings: CudaCeilings | None) -> Target:
    name, target = "batch 1, from memory, 90 %", "≥ 70 % of the copy bandwidth"
    chosen = _at(rows, batch=1, temperature="cold")
    best = _fastest(chosen[chosen["m"] == chosen["m"].max()], OURS)
    if best is None or ceilings is None:
        return Target(name, target, "not measured", None)
    # What any CSR product must read and write: values, indices, pointers, x and y.
    nbytes = 8 * best.nnz + 4 * (best.m + 1) + 4 * (best.m + best.k)
    rate = nbytes / _median(best) / 1e9
    share = rate / ceilings.copy_gbs["memory"]
    measured = f"{100 * share:.0f} % ({rate:.0f} GB/s, {best.m} × {best.k}, {best.kernel})"
    return Target(name, target, measured, share >= 0.7)


def _at(rows: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """Return the forward rows of random squares at 90 % with these values."""
    chosen = rows[(rows["network"] == SQUARES) & (rows["pass_"] == "forward")]
    chosen = chosen[chosen["network_sparsity"] == 0.9]
    for column, value in values.items():
        chosen = chosen[chosen[column] == value]
    return chosen


def _large(found: pd.DataFrame) -> pd.DataFrame:
    large = (found["side"] >= 2048) & (found["batch"] >= 128) & (found["pass_"] == "forward")
    return found[large & (found["network"] == SQUARES)]


def _listed(found: pd.DataFrame) -> str:
    return "; ".join(
        f"{row.layer}, batch {row.batch}: {row.crossover}" for row in found.itertuples()
    )


def _at_most(crossover: Crossover, most: float) -> bool:
    return crossover.kind == "always" or (crossover.kind == "between" and crossover.high <= most)


def _pair(cell: pd.DataFrame, kernels: str, other: str, sparse: bool = False) -> Any:
    """Return the fastest row of ``kernels`` in a cell and the one to compare it with, or None.

    Of the sparse kernels alone where ``sparse``; ``other`` is then one kernel's whole name.
    """
    ours = metrics.sparse(cell) if sparse else cell
    one = _fastest(ours, kernels)
    theirs = cell[cell["kernel"] == other] if sparse else cell
    two = _fastest(theirs, other)
    return None if one is None or two is None else (one, two)


def _fastest(rows: pd.DataFrame, prefix: str) -> Any:
    """Return the fastest row whose kernel's name begins with ``prefix``, or None."""
    chosen = [row for row in rows.itertuples() if row.kernel.startswith(prefix)]
    return min(chosen, key=_median, default=None)


def _speedup(one: Any, other: Any) -> Interval:
    """Return how many times faster ``one`` is, paired by rounds where they pair."""
    if len(one.samples) == len(other.samples):
        return median_interval(list(np.asarray(other.samples) / np.asarray(one.samples)))
    ratio = _median(other) / _median(one)
    return Interval(0.0, ratio, float("inf"))  # decides nothing


def _median(row: Any) -> float:
    return float(np.median(row.samples))


def reached_words(each: Sequence[Target]) -> list[str]:
    """Return for each target whether it was reached, in a word."""
    words = {True: "reached", False: "missed", None: ""}
    return [words[target.reached] for target in each]
