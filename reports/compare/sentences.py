"""The answer of a comparison in words: one sentence per network and batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossover.reports.compare.differences import CrossoverDifference
from crossover.reports.compare.machines import Machine

_MOST_SENTENCES = 6


def sentences(
    compared: Sequence[Machine], differences: Sequence[tuple[Machine, CrossoverDifference]]
) -> list[str]:
    """Return the difference of each largest layer in words, that of the middle batch first."""
    ordered = told(differences)
    found = [_sentence(compared[0], *each) for each in ordered[:_MOST_SENTENCES]]
    return found or ["No crossover of these runs is of equal workloads; speedups are."]


def told(
    differences: Sequence[tuple[Machine, CrossoverDifference]],
) -> list[tuple[Machine, CrossoverDifference]]:
    """Return what is told: of each network and batch the largest layer, forward, hot."""
    found: dict[tuple[Any, ...], tuple[Machine, CrossoverDifference]] = {}
    for machine, each in differences:
        place = each.place
        if place["computes"] != "forward" or place["caches"] != "hot":
            continue
        key = machine.name, place["network"], place["batch"], place["device"]
        if key not in found or size(each) > size(found[key][1]):
            found[key] = machine, each
    batches = sorted({each.place["batch"] for _, each in found.values()})
    middle = batches[len(batches) // 2] if batches else 0

    def order(each: tuple[Machine, CrossoverDifference]) -> tuple[bool, bool]:
        return each[1].verdict == "not decided", each[1].place["batch"] != middle

    return sorted(found.values(), key=order)


def size(each: CrossoverDifference) -> int:
    """Return the weights of its layer."""
    return int(each.place["m"] * each.place["k"])


def _sentence(first: Machine, second: Machine, found: CrossoverDifference) -> str:
    place = found.place
    images = "1 image" if place["batch"] == 1 else f"{place['batch']} images"
    both = (
        f"{_says(found.first.estimate.kind, found.first.text)} on {first.name}, "
        f"{_says(found.second.estimate.kind, found.second.text)} on {second.name}"
    )
    noted = f" ({'; '.join(found.notes)})" if found.notes else ""
    return f"{place['network']} {place['layer']}, {images}: {both}: {_verdict(found)}{noted}."


def _says(kind: str, text: str) -> str:
    return f"sparse is faster from {text}" if kind == "between" else text


def _verdict(found: CrossoverDifference) -> str:
    if found.low is None or found.high is None:
        return "no difference is decided"
    if found.verdict == "same within noise":
        return "the ranges overlap, the same within noise"
    later = found.low > 0
    near, far = sorted((abs(found.low), abs(found.high)))
    return (
        f"{100 * near:.3g} to {100 * far:.3g} points {'later' if later else 'earlier'}, more than "
        "noise"
    )
