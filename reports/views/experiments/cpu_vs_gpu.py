"""A pruned network on the CPU by sparse kernels, against dense on a GPU, by inputs at a time.

An answer in JSON is a network, as in :mod:`.random_vs_pruned`, and ``gpu``: by inputs at a time the
seconds that the GPU takes (``time_s``), the ``speedup`` of the CPU over it with its interval, or
the ``reason`` why it did not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import pandas as pd

from crossover.bench.records.rows import Visit
from crossover.bench.statistics.comparison import Pair, speedups
from crossover.bench.statistics.experiments.networks import TrainedNetwork
from crossover.bench.statistics.intervals import NOTHING, Interval
from crossover.reports.plots import forest
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.forest import Scale
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import interval, percent
from crossover.reports.views.experiments import shown

NAME = "cpu-vs-gpu"
_TITLE = "Sparse on the CPU, against dense on a GPU"
_GPU = "cupy-network"


def section(results: Results) -> Section | None:
    """Return up to which batch the CPU is faster."""
    visits = shown.visits_of(results, NAME)
    if not visits:
        return None
    networks = shown.networks_of(results, NAME)
    batches = sorted({batch for each in networks for batch in each.races})
    reason = _reason(visits)
    table = shown.table(results, networks, batches, _TITLE)
    answers = [
        shown.answer(each, batches)
        | {"gpu": {str(batch): _gpu_answer(each, batch, reason) for batch in batches}}
        for each in networks
    ]
    parts = [Part(_TITLE, plots=_plots(networks, batches), tables=[table])]
    sentences = _sentences(networks, batches, reason, shown.size_of(results, NAME))
    return Section.of(results, NAME, _TITLE, sentences, parts, answers, [table])


def over_gpu(network: TrainedNetwork, batch: int) -> Interval:
    """Return the speedup of the fastest sparse engine of the CPU over the GPU; NaN without both."""
    race, sparse = network.races.get(batch), network.sparse_at(batch)
    gpu = race.measurements.get(_GPU) if race else None
    return NOTHING if sparse is None or gpu is None else speedups([Pair(sparse, gpu)])[0]


def _reason(visits: Sequence[Visit]) -> str:
    """Return why the GPU did not run; empty where it did."""
    rows = [visit.rows[_GPU] for visit in visits if _GPU in visit.rows]
    ran = any(row.status == "measured" for row in rows)
    return "" if ran or not rows else rows[-1].reason


def _sentences(
    networks: Sequence[TrainedNetwork], batches: Sequence[int], reason: str, size: str
) -> list[str]:
    if reason:
        return [f"Not run: {reason} Engines of the CPU were raced all the same {size}."]
    sentences = []
    for each in networks:
        told = [
            f"{interval(found)} at {batch}"
            for batch in batches
            if (found := over_gpu(each, batch)).median > 0
        ]
        if told:
            faster = [batch for batch in batches if over_gpu(each, batch).low > 1]
            slower = [batch for batch in batches if over_gpu(each, batch).high < 1]
            ends = f"up to {max(faster)} inputs at a time" if faster else "at no batch"
            beyond = f", the GPU from {min(slower)} on" if slower else ""
            sentences.append(
                f"{each.network} at {percent(each.sparsity)} is faster sparse on the CPU {ends}"
                f"{beyond}: times as fast as dense on the GPU {', '.join(told)} {size}."
            )
    return sentences or ["No network was raced yet: the same command goes on."]


def _gpu_answer(network: TrainedNetwork, batch: int, reason: str) -> dict[str, Any]:
    race = network.races.get(batch)
    found = race.measurements.get(_GPU) if race else None
    if found is None:
        return {"time_s": None, "speedup": None, "reason": reason}
    return {"time_s": found.time_s, "speedup": asdict(over_gpu(network, batch)), "reason": ""}


def _plots(networks: Sequence[TrainedNetwork], batches: Sequence[int]) -> list[Plot]:
    lines = [
        {"label": f"{each.network}, {batch} inputs", "value": found.median, "low": found.low,
         "high": found.high, "kind": each.network, "colour": "#1a6fe6", "marker": "^"}
        for each in networks
        for batch in batches
        if (found := over_gpu(each, batch)).median > 0
    ]  # fmt: skip
    if not lines:
        return []
    data = pd.DataFrame(lines)
    title = "Sparse on the CPU against dense on the GPU"
    scale = Scale("times as fast as the GPU", lambda v: f"{v:g}×", log=True, marks=((1.0, ""),))
    drawn = partial(forest.draw, data, title, scale)
    return [Plot(title, file_name(NAME), drawn, data, f"{title}, by inputs at a time.")]
