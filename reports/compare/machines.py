"""What is compared: runs under short names that tell them apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from crossover.bench.errors import InputError
from crossover.bench.records.rows import Run
from crossover.reports import metrics
from crossover.reports.conditions import ceiling_lines
from crossover.reports.crossovers import Crossover
from crossover.reports.results import Results
from crossover.reports.views import sweep

_NOISE = re.compile(r"\((?:R|TM|r|tm)\)|\s(?:CPU|Processor|with Radeon Graphics)(?=\s|$)|@.*$")


@dataclass(frozen=True, eq=False)
class Machine:
    """A run under the name that it has here."""

    name: str
    results: Results

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Return every measured row of its sweeps."""
        return metrics.of_study(self.results, "sweep")

    @cached_property
    def crossovers(self) -> list[Crossover]:
        """Return the crossovers of the fastest sparse kernels, searched where they were."""
        return sweep.found(self.results)[0]

    @cached_property
    def of_the_grid(self) -> list[Crossover]:
        """Return the same without what searches found."""
        return sweep.of_the_grid(self.results)

    @cached_property
    def recipes(self) -> dict[str, str]:
        """Return each workload's recipe without its digests, by the workload's id."""
        return {
            visit.problem.workload_id: recipe_key(visit.problem.recipe)
            for visit in self.results.visits_of("sweep")
        }


def recipe_key(recipe: object) -> str:
    """Return a recipe as text, without what follows from it: the digests of its weights."""
    if isinstance(recipe, dict):
        parts = (f"{k}={recipe_key(v)}" for k, v in sorted(recipe.items()) if k != "digest")
        return f"({','.join(parts)})"
    return repr(recipe)


def machines(found: Sequence[Results]) -> list[Machine]:
    """Return runs under names that are as short as they can be and still differ.

    Raises:
        InputError: if the same run is given twice, or one holds no sweep.
    """
    known: dict[str, int] = {}
    for number, each in enumerate(found, 1):
        if each.run.run_id in known:
            raise InputError(
                f"run {each.run.run_id} is given twice, as the {known[each.run.run_id]}. and the "
                f"{number}.: compare runs that differ (PATH@RUN names one of several)"
            )
        known[each.run.run_id] = number
        if not each.visits_of("sweep"):
            raise InputError(
                f"run {each.run.run_id} holds no sweep, which is what is compared: measure one by "
                "'crossover run'"
            )
    names = _names([each.run for each in found])
    return [Machine(name, each) for name, each in zip(names, found, strict=True)]


def conditions(run: Run) -> dict[str, str]:
    """Return everything that a run was measured under, as text by name."""
    limits = run.ceilings.values()
    caches: dict[str, int] = next(
        (each["cache_bytes"] for each in limits if "cache_bytes" in each), {}
    )
    found = {str(name): str(value) for name, value in run.machine.items()}
    found |= {f"{level} cache": f"{size / 1024:,.0f} KiB" for level, size in caches.items()}
    found |= ceiling_lines(run.ceilings)
    found |= {f"version of {name}": version for name, version in run.versions.items()}
    return found | {"commit": run.revision, "code": run.code[:12], "started": run.started[:16]}


def differing(runs: Sequence[Machine]) -> list[dict[str, str]]:
    """Return a line per condition that is not the same everywhere."""
    each = [conditions(machine.results.run) for machine in runs]
    names = dict.fromkeys(name for found in each for name in found)
    return [
        {"condition": name}
        | {machine.name: found.get(name, "") for machine, found in zip(runs, each, strict=True)}
        for name in names
        if len({found.get(name, "") for found in each}) > 1
    ]


def _names(runs: Sequence[Run]) -> list[str]:
    """Return names made of processor or GPU and cores, and of what else tells them apart."""
    names = [_short(run) for run in runs]
    further = [
        [str(run.machine.get("blas", "")).split(" ")[-1] for run in runs],
        [run.started[:10] for run in runs],
        [run.revision[:10] for run in runs],
        [run.run_id for run in runs],
    ]
    for words in further:
        if len(set(names)) == len(names):
            break
        alike = {name for name in names if names.count(name) > 1}
        names = [
            f"{name}, {word}" if name in alike and word and len(set(words)) > 1 else name
            for name, word in zip(names, words, strict=True)
        ]
    return names


def _short(run: Run) -> str:
    gpu = str(run.machine.get("gpu", "")).split(",")[0]
    cpu = " ".join(_NOISE.sub(" ", str(run.machine.get("cpu", ""))).split())
    cores = run.machine.get("cores", "?")
    return gpu or f"{cpu or 'a machine'}, {cores} core{'' if cores == 1 else 's'}"
