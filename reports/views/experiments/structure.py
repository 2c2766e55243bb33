"""What pruned patterns look like, against random ones, and whether it is worth speed.

An answer in JSON is a layer: ``network``, ``network_sparsity``, ``layer``, ``facts`` of its pattern
(mean over seeds), and ``speedups``: of each kernel over itself on entries of as many rows and
columns that lie elsewhere, by ``relabelled``, ``shuffled in rows`` and ``random``, with intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from crossover.bench.records.rows import KernelRecord, Visit
from crossover.bench.statistics.comparison import enough
from crossover.bench.statistics.intervals import Interval, VisitMedians, pooled_intervals
from crossover.bench.statistics.rates import geometric_mean
from crossover.reports.plots import forest
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.forest import Scale
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import Table, interval, number, percent, times
from crossover.reports.views.experiments import shown

NAME = "structure"
_TITLE = "The structure of pruned patterns"
_AS_PRUNED = "as pruned"
#: What is counted of a pattern.
_FIGURES = (
    "empty rows", "empty columns", "row spread", "column spread", "overlap", "rows per column",
    "empty blocks",
)  # fmt: skip
#: A pattern drawn at random, of a density d: what its figures are about.
_EXPECTED = {
    "overlap": lambda d: d,
    "rows per column": lambda d: 4 * d / (1 - (1 - d) ** 4),
    "empty blocks": lambda d: (1 - d) ** 16,
}


@dataclass(frozen=True)
class Gain:
    """How much faster a kernel is on a pruned layer than on the same entries elsewhere."""

    network: str
    sparsity: float
    layer: str
    kernel: KernelRecord
    arrangement: str
    speedup: Interval


def section(results: Results) -> Section | None:
    """Return what patterns look like, and what that is worth."""
    visits = shown.visits_of(results, NAME)
    if not visits:
        return None
    found = gains(visits, results)
    layers = _layers(visits)
    table = Table.of(f"{_TITLE}: a random one of the same density in brackets", layers)
    speeds = Table.of("Times as fast as with the entries elsewhere", _lines(found))
    parts = [Part(_TITLE, plots=_plots(found), tables=[table, speeds])]
    size = shown.size_of(results, NAME)
    sentences = _sentences(visits, found, size)
    answers = _answers(visits, found)
    return Section.of(results, NAME, _TITLE, sentences, parts, answers, [table])


def gains(visits: Sequence[Visit], results: Results) -> list[Gain]:
    """Return what the places of entries are worth: each seed's layers are held against themselves.

    They were raced in visits of their own, so that medians are compared, not rounds.
    """
    medians: dict[tuple[tuple[str, float, str], str, str], dict[Any, tuple[float, Visit]]] = {}
    for visit in visits:
        it = visit.problem
        if it.computes != "forward":
            continue
        seed = it.recipe["weights"]["training"]["seed"]
        for name, row in visit.rows.items():
            if row.status == "measured" and name in results.kernels:
                key = (it.network, it.network_sparsity, it.layer), name, it.pattern
                medians.setdefault(key, {})[seed] = float(np.median(row.samples)), visit
    found, quantities = [], []
    for (place, name, arrangement), own in medians.items():
        base = medians.get((place, name, _AS_PRUNED), {})
        seeds = [seed for seed in own if seed in base]
        if arrangement == _AS_PRUNED or not seeds:
            continue
        logs = np.array([np.log(own[seed][0]) - np.log(base[seed][0]) for seed in seeds])
        quantities.append(VisitMedians(logs, np.zeros(len(logs))))
        known = enough([own[seed][1] for seed in seeds])
        found.append((place, results.kernels[name], arrangement, known))
    groups = [(kernel.name, arrangement) for _, kernel, arrangement, _ in found]
    return [
        Gain(*place, kernel, arrangement, each if known else Interval(np.nan, each.median, np.nan))
        for (place, kernel, arrangement, known), each in zip(
            found, pooled_intervals(quantities, groups), strict=True
        )
    ]


def _facts(visits: Sequence[Visit]) -> dict[tuple[str, float, str], dict[str, float]]:
    """Return the figures of each layer's pattern, means over seeds."""
    found: dict[tuple[str, float, str], dict[str, list[float]]] = {}
    for visit in visits:
        for row in visit.rows.values():
            for name, value in row.facts.items():
                layer, _, what = name.partition(" ")
                if what not in _FIGURES:
                    continue
                key = visit.problem.network, visit.problem.network_sparsity, layer
                found.setdefault(key, {}).setdefault(what, []).append(value)
    return {
        key: {what: float(np.mean(values)) for what, values in facts.items()}
        for key, facts in found.items()
    }


def _density(visits: Sequence[Visit], key: tuple[str, float, str]) -> float:
    """Return the density of a layer, as its races had it."""
    found = [
        1 - each.problem.sparsity
        for each in visits
        if (each.problem.network, each.problem.network_sparsity, each.problem.layer) == key
    ]
    return float(np.mean(found)) if found else float("nan")


def _layers(visits: Sequence[Visit]) -> list[dict[str, str]]:
    lines = []
    for key, facts in _facts(visits).items():
        density = _density(visits, key)
        line = {"network": key[0], "asked": percent(key[1]), "layer": key[2],
                "sparsity": percent(1 - density)}  # fmt: skip
        for what, value in facts.items():
            expected = _EXPECTED.get(what)
            random = f" ({number(expected(density))})" if expected and density == density else ""
            line[what] = f"{number(value)}{random}"
        lines.append(line)
    return lines


def _lines(found: Sequence[Gain]) -> list[dict[str, str]]:
    lines: dict[tuple[str, float, str, str], dict[str, str]] = {}
    for each in found:
        key = each.network, each.sparsity, each.layer, each.kernel.name
        start = {"network": each.network, "asked": percent(each.sparsity), "layer": each.layer,
                 "kernel": each.kernel.name}  # fmt: skip
        lines.setdefault(key, start)[each.arrangement] = interval(each.speedup)
    return list(lines.values())


def _sentences(visits: Sequence[Visit], found: Sequence[Gain], size: str) -> list[str]:
    facts = _facts(visits)
    if not facts:
        return ["No network was pruned yet: the same command goes on."]
    sentences = []
    for network, sparsity in dict.fromkeys(key[:2] for key in facts):
        told = [
            _looks(key[2], own, _density(visits, key))
            for key, own in facts.items()
            if key[:2] == (network, sparsity)
        ]
        sentences.append(
            f"{network} pruned to {percent(sparsity)}: {'; '.join(told)} (rows of a random pattern "
            f"share as large a part as is left of W) {size}."
        )
    for arrangement in dict.fromkeys(each.arrangement for each in found):
        own = [each for each in found if each.arrangement == arrangement]
        sentences.append(_worth(arrangement, own))
    return sentences


def _looks(layer: str, facts: Mapping[str, float], density: float) -> str:
    """Return what a layer's pattern looks like."""
    left = f", where {percent(density)} of W is left" if density == density else ""
    return (
        f"in {layer} neighbouring rows share {percent(facts['overlap'])} of their columns{left}; "
        f"{percent(facts['empty columns'])} of its inputs and {percent(facts['empty rows'])} of "
        "its units are not used"
    )


def _worth(arrangement: str, found: Sequence[Gain]) -> str:
    """Return what the places of entries are worth, and what a dense kernel shows to be noise."""
    by_kernel: dict[str, list[Gain]] = {}
    for each in found:
        by_kernel.setdefault(each.kernel.name, []).append(each)
    told = [_told(own) for own in by_kernel.values() if not own[0].kernel.stores_zeros]
    noise = [_told(own) for own in by_kernel.values() if own[0].kernel.stores_zeros]
    control = f" Of dense kernels, for whom it is all one: {', '.join(noise)}." if noise else ""
    return (
        f"Times as fast on layers as they were pruned as with the entries {arrangement}, "
        f"geometric means of the layers: {', '.join(told)}.{control}"
    )


def _told(own: Sequence[Gain]) -> str:
    """Return a kernel's gain, and in how many layers it is certain."""
    mean = times(geometric_mean([each.speedup.median for each in own]))
    faster, slower = (sum(f(each.speedup) for each in own) for f in (_faster, _slower))
    return f"{own[0].kernel.name} {mean} (faster in {faster}, slower in {slower} of {len(own)})"


def _faster(speedup: Interval) -> bool:
    return speedup.low > 1


def _slower(speedup: Interval) -> bool:
    return speedup.high < 1


def _answers(visits: Sequence[Visit], found: Sequence[Gain]) -> list[dict[str, Any]]:
    return [
        {
            "network": key[0], "network_sparsity": key[1], "layer": key[2], "facts": facts,
            "speedups": [
                {"kernel": each.kernel.name, "over": each.arrangement, **asdict(each.speedup)}
                for each in found
                if (each.network, each.sparsity, each.layer) == key
            ],
        }
        for key, facts in _facts(visits).items()
    ]  # fmt: skip


def _plots(found: Sequence[Gain]) -> list[Plot]:
    """Return a plot of what structure is worth, by kernel and layer; none of nothing."""
    lines = [
        {"label": f"{each.kernel.name}, {each.layer} at {percent(each.sparsity)}, "
                  f"{each.arrangement}",
         "value": each.speedup.median, "low": each.speedup.low, "high": each.speedup.high,
         "kind": each.kernel.name, "colour": each.kernel.colour, "marker": each.kernel.marker}
        for each in sorted(found, key=lambda e: (e.kernel.name, e.layer, e.sparsity))
        if each.kernel.role != "dense"
    ]  # fmt: skip
    if not lines:
        return []
    data = pd.DataFrame(lines)
    title = "What the places of entries are worth: times as fast as elsewhere"
    scale = Scale("times as fast as with the entries elsewhere", lambda v: f"{v:g}×",
                  marks=((1.0, ""),))  # fmt: skip
    drawn = partial(forest.draw, data, title, scale)
    return [Plot(title, file_name(NAME), drawn, data, f"{title}, by kernel and layer.")]
