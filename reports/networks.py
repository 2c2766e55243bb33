"""Networks as a whole: what their layers take together, each by its fastest kernel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from crossover.bench.statistics.intervals import Interval
from crossover.bench.statistics.networks import SCOPES, UNPRUNED, LayerTime, total_speedup
from crossover.reports import metrics

#: Where a network runs: what all its points over sparsity share.
PLACE = ["network", "batch", "computes", "dtype", "threads", "caches", "device"]
#: What tells its points apart.
PRUNED = ["network_sparsity", "pattern", "scope", "accuracy"]
#: The sparsity that reports look at first, if it was measured; else the nearest.
USUAL_SPARSITY = 0.9
# From here on a network that was brought is a pruned one.
_SPARSE = 0.3


@dataclass(frozen=True)
class NetworkPoint:
    """A network at a sparsity, in a place: its layers, each by the fastest of all its kernels."""

    #: The values of :data:`PLACE` and :data:`PRUNED`.
    place: dict[str, Any]
    #: A row per layer: its fastest sparse kernel's row of :func:`metrics.measured`, and of the
    #: fastest of all ``chosen`` (a kernel), ``chosen_s``, ``chosen_bytes``, ``chosen_speedup`` with
    #: its ends, and ``chosen_error``.
    layers: pd.DataFrame

    @property
    def sparsity(self) -> float:
        """Return the sparsity of all layers together."""
        return 1 - self.nnz / self.parameters

    @property
    def parameters(self) -> int:
        """Return how many weights there are, zeros included."""
        return int((self.layers["m"] * self.layers["k"]).sum())

    @property
    def nnz(self) -> int:
        """Return how many weights are left."""
        return int(self.layers["nnz"].sum())

    @property
    def error(self) -> float:
        """Return the share of test images that it gets wrong; NaN where it is not known."""
        return 1 - float(self.place["accuracy"])

    @property
    def pruned_here(self) -> bool:
        """Return whether it was pruned by us: it is not dense, nor as it was brought."""
        return self.place["pattern"] not in UNPRUNED

    @property
    def dense_s(self) -> float:
        """Return the seconds of its layers by their fastest dense kernels."""
        return float(self.layers["baseline_s"].sum())

    @property
    def time_s(self) -> float:
        """Return the seconds of its layers by their fastest kernels."""
        return float(self.layers["chosen_s"].sum())

    @property
    def dense_bytes(self) -> float:
        """Return the bytes of its weights stored dense."""
        return float(self.layers["dense_bytes"].sum())

    @property
    def nbytes(self) -> float:
        """Return the bytes of the operands of its fastest kernels."""
        return float(self.layers["chosen_bytes"].sum())

    @cached_property
    def speedup(self) -> Interval:
        """Return how much faster the fastest kernels are than the fastest dense ones."""
        names = "chosen_speedup_low", "chosen_speedup", "chosen_speedup_high"
        ends = zip(*(self.layers[name].tolist() for name in names), strict=True)
        times = zip(
            self.layers["baseline_s"].tolist(), self.layers["chosen_s"].tolist(), strict=True
        )
        return total_speedup(
            [LayerTime(*both, Interval(*each)) for both, each in zip(times, ends, strict=True)]
        )

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Return the warnings that its times rest on, each once."""
        return metrics.warnings_in(
            self.layers[["warnings", "baseline_warnings"]].to_dict("records")
        )

    @property
    def kernels(self) -> str:
        """Return its kernels in words, each with its layers if there are several."""
        by_kernel: dict[str, list[str]] = {}
        for row in self.layers.itertuples():
            by_kernel.setdefault(row.chosen, []).append(row.layer)
        if len(by_kernel) == 1:
            return next(iter(by_kernel))
        told = [f"{kernel} ({', '.join(layers)})" for kernel, layers in by_kernel.items()]
        return f"{', '.join(told[:-1])} and {told[-1]}"


def points(rows: pd.DataFrame) -> list[NetworkPoint]:
    """Return every point of every network of which all layers were measured there.

    ``rows`` are those of :func:`metrics.measured`. A network has an accuracy, or a scope that only
    networks have; a group of matrices has no total.
    """
    if rows.empty:
        return []
    known = rows[rows["accuracy"].notna() | rows["scope"].isin(SCOPES)]
    fastest = metrics.fastest_sparse(known)
    if fastest.empty:
        return []
    layers = known.groupby("network")["layer"].nunique()
    groups = _with_choice(fastest, known).groupby([*PLACE, *PRUNED], sort=False, dropna=False)
    return [
        NetworkPoint(dict(zip([*PLACE, *PRUNED], key, strict=True)), _by_layer(part))
        for key, part in groups
        if part["layer"].nunique() == layers[key[0]]
    ]


def shown_first(found: Iterable[NetworkPoint]) -> NetworkPoint | None:
    """Return the point that is shown first: brought with zeros, or near 90 %; None of none."""
    sparse = [each for each in found if each.place["pattern"] != "dense"]
    brought = [e for e in sparse if not e.pruned_here and e.place["network_sparsity"] >= _SPARSE]
    return brought[0] if brought else nearest(sparse)


def nearest(found: Sequence[NetworkPoint], sparsity: float = USUAL_SPARSITY) -> NetworkPoint | None:
    """Return the point whose asked sparsity is nearest, None of none."""
    return min(found, key=lambda each: abs(each.place["network_sparsity"] - sparsity), default=None)


def at(found: Iterable[NetworkPoint], **place: Any) -> list[NetworkPoint]:
    """Return the points of a place, by sparsity."""
    chosen = [each for each in found if all(each.place[n] == v for n, v in place.items())]
    return sorted(chosen, key=lambda each: float(each.place["network_sparsity"]))


def unpruned_error(found: Iterable[NetworkPoint], network: str) -> float | None:
    """Return the error of a network that was not pruned by us, None where that is not known."""
    own = [e for e in found if e.place["network"] == network and not e.pruned_here]
    return own[0].error if own and not math.isnan(own[0].error) else None


def _by_layer(part: pd.DataFrame) -> pd.DataFrame:
    return part.sort_values("layer_index", kind="stable").drop_duplicates("layer")


def _with_choice(fastest: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the fastest sparse rows with the choice between each and its baseline."""
    sparse = fastest["speedup"] > 1
    same = ["problem_id", "kernel"]
    errors = rows.set_index(same)["relative_error"]
    keys = pd.MultiIndex.from_frame(fastest[["problem_id", "baseline"]])
    ends = {
        f"chosen_speedup{end}": fastest[f"speedup{end}"].where(sparse, 1.0)
        for end in ("_low", "", "_high")
    }
    return fastest.assign(
        chosen=fastest["kernel"].where(sparse, fastest["baseline"]),
        chosen_s=fastest["time_s"].where(sparse, fastest["baseline_s"]),
        chosen_bytes=fastest["nbytes"].where(sparse, fastest["dense_bytes"]),
        chosen_error=fastest["relative_error"].where(sparse, errors.reindex(keys).to_numpy()),
        **ends,
    )
