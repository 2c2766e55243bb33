"""The answer in a few sentences: one per network and batch, forward, from hot caches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from crossover.bench.statistics.crossover import CrossoverEstimate
from crossover.reports import networks
from crossover.reports.crossovers import Crossover
from crossover.reports.networks import NetworkPoint
from crossover.reports.sections import PASS_TITLES
from crossover.reports.tables import accuracy, interval, marked, percent, times

_MOST = 6
_NONE = "No sparse kernel was measured beside a dense one."


def headline(best: Sequence[Crossover]) -> Crossover | None:
    """Return the finding: of the largest layer, forward, at the middle batch."""
    found = _told(best)
    return found[0] if found else None


def sentences(best: Sequence[Crossover], points: Sequence[NetworkPoint]) -> list[str]:
    """Return the answer, that of the middle batch first."""
    return [_sentence(each, points) for each in _told(best)[:_MOST]] or [_NONE]


def _told(best: Sequence[Crossover]) -> list[Crossover]:
    """Return the crossover of the largest layer of each network and batch, in order of telling."""
    usual = [e for e in best if e.place["computes"] == "forward" and e.place["caches"] == "hot"]
    largest: dict[tuple[object, ...], Crossover] = {}
    for each in usual or best:
        key = tuple(each.place[n] for n in ("network", "batch", "threads", "caches", "device"))
        if key not in largest or _size(each) > _size(largest[key]):
            largest[key] = each
    batches = sorted({each.place["batch"] for each in largest.values()})
    middle = batches[len(batches) // 2] if batches else 0

    def order(each: Crossover) -> tuple[object, ...]:
        return each.place["batch"] != middle, not each.place["network"], each.place["batch"]

    return sorted(largest.values(), key=order)


def _size(each: Crossover) -> int:
    return int(each.place["m"] * each.place["k"])


def _sentence(found: Crossover, points: Sequence[NetworkPoint]) -> str:
    place = found.place
    images = _images(place)
    device = "" if place["device"] == "cpu" else " on the GPU"
    other = "" if place["computes"] == "forward" else f", {PASS_TITLES[place['computes']]}"
    cold = "" if place["caches"] == "hot" else f", {place['caches']} caches"
    there = networks.at(points, **{name: place[name] for name in networks.PLACE})
    chosen = networks.shown_first(there)
    parts = [_crossing(found), _pruned(chosen, points) if chosen else _at_the_top(found)]
    return f"{place['network']}, {images}{device}{other}{cold}: {'; '.join(parts)}."


def _images(place: Mapping[str, Any]) -> str:
    """Return the batch in words; that of a group of matrices, named by their shape, is no image."""
    if place["layer"] == f"{place['m']}x{place['k']}":
        return f"batch {place['batch']}"
    return "1 image" if place["batch"] == 1 else f"{place['batch']} images"


def _crossing(found: Crossover) -> str:
    """Return from where on sparse pays, on which layer and over what."""
    place = found.place
    layer = f"{place['layer']} ({place['m']} × {place['k']})"
    dense = f"the fastest dense kernel ({' or '.join(found.baselines)})"
    says = marked(_says(found.estimate), found.warnings)
    if found.estimate.kind in ("between", "always"):
        return f"on {layer} {found.top_kernel} beats {dense} {says}{_how(found)}"
    medians = found.by_medians
    hint = f"; medians alone put it at {medians}" if medians.kind == "between" else ""
    return f"on {layer} {says}, over {dense}{hint}"


def _how(found: Crossover) -> str:
    if not found.searched:
        return ""
    return " (searched and confirmed)" if found.confirmed else " (searched, not confirmed yet)"


def _says(estimate: CrossoverEstimate) -> str:
    return {
        "between": f"from {estimate}",
        "always": f"at every sparsity measured, {estimate}",
        "never": f"no sparse kernel was faster ({estimate})",
        "several": f"sparse and dense are faster in turn ({estimate})",
        "level": f"sparse and dense are {estimate}",
        "open": f"no crossover was decided ({estimate})",
    }[estimate.kind]


def _pruned(chosen: NetworkPoint, points: Sequence[NetworkPoint]) -> str:
    """Return what the pruned network gains as a whole."""
    own = networks.unpruned_error(points, chosen.place["network"])
    beside = "" if own is None or not chosen.pruned_here else f" (dense {accuracy(own)})"
    sparsity = percent(chosen.place["network_sparsity"])
    state = f"pruned to {sparsity}" if chosen.pruned_here else f"as it is, {sparsity} zeros,"
    error = (
        "" if math.isnan(chosen.error) else f" it has {accuracy(chosen.error)} error{beside}, and"
    )
    faster = marked(f"{interval(chosen.speedup)} ×", chosen.warnings)
    smaller = chosen.dense_bytes / chosen.nbytes
    return (
        f"{state}{error} all its layers together are {faster} as fast and {smaller:.1f} × smaller, "
        f"by {chosen.kernels}"
    )


def _at_the_top(found: Crossover) -> str:
    faster = marked(f"{times(found.top_speedup)} ×", found.top_warnings)
    return f"at {percent(found.top_sparsity)} {found.top_kernel} is {faster} as fast"
