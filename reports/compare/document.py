"""The page of a comparison: whose crossover is where, by how much, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import pandas as pd

from crossover.bench.errors import InputError
from crossover.reports.compare import reasons
from crossover.reports.compare.differences import (
    CrossoverDifference,
    crossover_differences,
    only_in,
    speedup_differences,
)
from crossover.reports.compare.machines import Machine, differing, machines
from crossover.reports.compare.sentences import sentences, told
from crossover.reports.grids import Column, Grid
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.sweep import crossover_map as plot
from crossover.reports.results import Results
from crossover.reports.sections import PASS_TITLES, Document, Part, Section, plain
from crossover.reports.tables import Table, marked
from crossover.reports.views.sweep.crossover_map import cells

_TITLE = "Whose crossover is where?"
SCHEMA_VERSION = 1


def of(found: Sequence[Results]) -> Document:
    """Return the page that compares runs, each with the first.

    Raises:
        InputError: if fewer than two runs differ, or they share no workload.
    """
    compared = machines(found)
    if len(compared) < 2:
        raise InputError("one run is no comparison: name two or more")
    differences = _differences(compared)
    section = Section(
        "compare",
        _TITLE,
        sentences(compared, differences),
        [part for part in _parts(compared, differences) if not part.empty],
        [_table(compared, differences)],
        record(compared, differences),
    )
    about = " · ".join(f"{each.name}: {each.results.run.started[:10]}" for each in compared)
    return Document(
        _TITLE,
        about,
        section.sentences,
        [section],
        [_conditions(compared)],
        "Equal workloads only: the same weights, layer, sparsity, batch and pass. MNIST by Yann "
        "LeCun and Corinna Cortes, CC BY-SA 3.0.",
    )


def record(
    compared: Sequence[Machine], differences: Sequence[tuple[Machine, CrossoverDifference]]
) -> dict[str, Any]:
    """Return the comparison for JSON, as ``schema.json`` beside this describes it."""
    speedups = [
        {"first": compared[0].name, "second": each.name, **row}
        for each in compared[1:]
        for row in _speedups(compared[0], each).to_dict("records")
    ]
    content = {
        "schema": SCHEMA_VERSION,
        "machines": [{"name": each.name, "run": asdict(each.results.run)} for each in compared],
        "crossovers": [
            {
                "first": compared[0].name,
                "second": machine.name,
                **each.place,
                "estimates": [each.first.record()["estimate"], each.second.record()["estimate"]],
                "low": each.low,
                "high": each.high,
                "verdict": each.verdict,
                "notes": list(each.notes),
            }
            for machine, each in differences
        ],
        "speedups": speedups,
        "conditions": differing(compared),
    }
    made: dict[str, Any] = plain(content)
    return made


def _differences(compared: Sequence[Machine]) -> list[tuple[Machine, CrossoverDifference]]:
    """Return the differences of each run from the first.

    Raises:
        InputError: if one shares nothing with it.
    """
    found = []
    for other in compared[1:]:
        theirs = crossover_differences(compared[0], other)
        if not theirs and _speedups(compared[0], other).empty:
            holds = "; ".join(f"{each.name} holds {_holds(each)}" for each in (compared[0], other))
            raise InputError(
                f"{compared[0].name} and {other.name} share no workload ({holds}): measure the "
                "same on both"
            )
        found += [(other, each) for each in theirs]
    return found


def _holds(machine: Machine) -> str:
    if machine.rows.empty:
        return "nothing measured"
    parts = machine.rows.groupby(["network", "device"], sort=False)["batch"].unique()
    told = [
        f"{name} on the {device}, batches {', '.join(map(str, sorted(batches)))}"
        for (name, device), batches in parts.items()
    ]
    return " and ".join(told)


def _speedups(first: Machine, second: Machine) -> pd.DataFrame:
    found = speedup_differences(first, second)
    kept = [
        "network", "layer", "m", "k", "batch", "computes", "caches", "device", "sparsity",
        "kernel", "weights", "threads", "threads_b", "time_s", "time_s_b", "faster", "speedup",
        "speedup_low", "speedup_high", "speedup_b", "speedup_low_b", "speedup_high_b", "ratio",
        "ratio_low", "ratio_high", "verdict", "warnings", "warnings_b", "baseline_warnings",
        "baseline_warnings_b",
    ]  # fmt: skip
    return found if found.empty else found[kept]


# -- what it shows ----------------------------------------------------------------------------


def _parts(
    compared: Sequence[Machine], differences: Sequence[tuple[Machine, CrossoverDifference]]
) -> list[Part]:
    explained = [reasons.reasons(compared[0], *each) for each in told(differences)[:1]]
    forward, others = _maps(compared, forward=True), _maps(compared, forward=False)
    return [
        Part("One map per machine", plots=forward),
        Part("Differences", tables=[_table(compared, differences)]),
        Part("Why", [sentence for each in explained for sentence in each]),
        Part("Speedups at equal workloads", grids=_grids(compared)),
        Part("One map per machine, other passes", plots=others, folded=True),
        Part("What only one run holds", tables=[_alone(compared)], folded=True),
    ]


def _maps(compared: Sequence[Machine], forward: bool) -> list[Plot]:
    """Return a plot per network, pass, device and caches, with a map per machine on one scale."""
    same = "network", "computes", "caches", "device"
    places = dict.fromkeys(
        tuple(each.place[n] for n in same)
        for machine in compared
        for each in machine.crossovers
        if (each.place["computes"] == "forward") == forward
    )
    found = []
    for place in places:
        panels = {
            machine.name: cells(there)
            for machine in compared
            if (
                there := [
                    each
                    for each in machine.crossovers
                    if tuple(each.place[n] for n in same) == place
                ]
            )
        }
        if len(panels) < 2:
            continue
        network, computes, caches, device = place
        title = f"{network}, {PASS_TITLES[computes]}, {device.upper()}, {caches}"
        data = pd.concat([each.assign(machine=name) for name, each in panels.items()])
        said = "; ".join(
            f"{row.machine}, {row.layer}, batch {row.batch}: {row.text}"
            for row in data.head(12).itertuples()
        )
        file = file_name("compare", *place)
        found.append(Plot(title, file, partial(plot.draw, panels, title), data, f"{title}: {said}"))
    return found


def _table(
    compared: Sequence[Machine], differences: Sequence[tuple[Machine, CrossoverDifference]]
) -> Table:
    ordered = sorted(differences, key=lambda each: each[1].verdict == "not decided")
    lines = [
        {
            "network": each.place["network"],
            "layer": f"{each.place['layer']} {each.place['m']} × {each.place['k']}",
            "batch": f"{each.place['batch']}",
            "pass": each.place["computes"],
            "caches": each.place["caches"] if each.place["caches"] != "hot" else "",
            compared[0].name: marked(each.first.text, each.first.warnings),
            "against": machine.name if len(compared) > 2 else "",
            "there" if len(compared) > 2 else machine.name: marked(
                each.second.text, each.second.warnings
            ),
            "points later": _points(each),
            "verdict": each.verdict,
            "note": "; ".join(each.notes),
        }
        for machine, each in ordered
        if each.verdict != "not decided" or each.place["computes"] == "forward"
    ]
    return Table.of("Differences of crossovers", lines)


def _points(found: CrossoverDifference) -> str:
    if found.low is None or found.high is None:
        return ""
    return f"{100 * found.low:+.3g} to {100 * found.high:+.3g}"


def _grids(compared: Sequence[Machine]) -> list[Grid]:
    first = compared[0].name
    found = []
    for other in compared[1:]:
        frame = _speedups(compared[0], other)
        if frame.empty:
            continue
        there = other.name
        both = "warnings", "baseline_warnings"
        theirs = "warnings_b", "baseline_warnings_b"
        frame = frame.rename(columns={
            "speedup_low_b": "speedup_b_low", "speedup_high_b": "speedup_b_high",
        })  # fmt: skip
        columns = [
            Column("layer", "layer", filtered=True),
            Column("kernel", "kernel", filtered=True),
            Column("batch", "batch", "count", filtered=True),
            Column("computes", "pass", filtered=True, chosen="forward"),
            Column("sparsity", "sparsity", "percent", "of the layer"),
            Column("speedup", f"speedup on {first}", "times", "over the fastest dense", both),
            Column("speedup_b", f"speedup on {there}", "times", "over the fastest dense", theirs),
            Column("ratio", "ratio of the speedups", "times", f"{there} over {first}, with its "
                   "95 % interval", (*both, *theirs)),
            Column("verdict", "verdict", filtered=True),
            Column("time_s", f"time on {first}", "seconds", "", ("warnings",)),
            Column("time_s_b", f"time on {there}", "seconds", "", ("warnings_b",)),
            Column("faster", "times as fast", "times", f"time on {first} over that on {there}",
                   ("warnings", "warnings_b")),
            Column("network", "network", filtered=True),
            Column("caches", "caches", filtered=True),
            Column("weights", "weights", meaning="equal, or another result of the same recipe",
                   filtered=True),
        ]  # fmt: skip
        found.append(Grid(f"{there} against {first}", frame, columns))
    return found


def _alone(compared: Sequence[Machine]) -> Table:
    pairs = [(compared[0], compared[1]), *((each, compared[0]) for each in compared[1:])]
    lines = [
        {
            "only in": machine.name,
            "network": place["network"],
            "layer": place["layer"],
            "batch": f"{place['batch']}",
            "pass": place["computes"],
            "caches": place["caches"],
            "device": place["device"],
        }
        for machine, other in pairs
        for place in only_in(machine, other)
    ]
    return Table.of("Measured, or pruned so, in one run only", lines)


def _conditions(compared: Sequence[Machine]) -> Part:
    table = Table.of("Conditions that differ", differing(compared))
    return Part(table.title, tables=[table])
