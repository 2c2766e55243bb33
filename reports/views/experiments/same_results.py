"""One network trained by every kernel that trains: weights after the first steps, and accuracy.

An answer in JSON is a kernel: ``kernel``, ``status`` and ``reason``; ``differences``, by optimizer,
how far its weights were from those of a training in float64 after 1, 2, 4 … steps, the most over
seeds, in units of a layer's largest weight; and ``accuracy`` after the same epochs of all (mean,
least, most and each over seeds), and by how much it is ``apart`` from NumPy's on the same seed, at
most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from crossover.bench.records.rows import KernelRecord, Row, Visit
from crossover.bench.statistics.experiments.seeds import Spread
from crossover.reports.plots import trajectories
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import Table, scientific
from crossover.reports.views.experiments import shown

NAME = "same-results"
#: The kernel that others' accuracies are held against, or the first: plain NumPy with its zeros.
_BESIDE = "numpy-masked-update"
_TITLE = "The same results by every kernel"


@dataclass(frozen=True)
class TrainedBy:
    """What one kernel made of the network."""

    kernel: KernelRecord
    #: By optimizer, after 1, 2, 4 … steps: the most over seeds.
    differences: dict[str, list[float]]
    accuracy: Spread | None
    #: By how much the accuracy differs from that of :data:`_BESIDE` on the same seed, at most.
    apart: float | None = None
    #: Where it is out: in which status, and why.
    status: str = "measured"
    reason: str = ""


def section(results: Results) -> Section | None:
    """Return what kernels have in common, and where they part."""
    visits = shown.visits_of(results, NAME)
    if not visits:
        return None
    found = trained_by(visits, results)
    table = Table.of(_TITLE, [_line(each) for each in found])
    parts = [Part(_TITLE, plots=_plots(found), tables=[table])]
    answers = [_answer(each) for each in found]
    size = shown.size_of(results, NAME)
    return Section.of(results, NAME, _TITLE, _sentences(found, size), parts, answers, [table])


def trained_by(visits: Sequence[Visit], results: Results) -> list[TrainedBy]:
    """Return what each kernel made of the network, in the order of their names."""
    rows: dict[str, list[tuple[Visit, Row]]] = {}
    for visit in visits:
        for name, row in visit.rows.items():
            rows.setdefault(name, []).append((visit, row))
    known = [name for name in sorted(rows) if name in results.kernels]
    beside = next(filter(None, map(_ends, [rows.get(_BESIDE, []), *rows.values()])), {})
    return [_trained(results.kernels[name], rows[name], beside) for name in known]


def _ends(rows: Sequence[tuple[Visit, Row]]) -> dict[int, float]:
    """Return the accuracy at the end of each seed."""
    return {
        visit.problem.recipe["weights"]["training"]["seed"]: row.accuracies[-1]
        for visit, row in rows
        if row.accuracies
    }


def _trained(
    kernel: KernelRecord, rows: Sequence[tuple[Visit, Row]], beside: Mapping[int, float]
) -> TrainedBy:
    out = next((row for _, row in rows if row.status != "measured"), None)
    if out is not None:
        return TrainedBy(kernel, {}, None, status=out.status, reason=out.reason)
    differences: dict[str, list[float]] = {}
    for visit, row in rows:
        if row.differences:
            optimizer = str(visit.problem.recipe["optimizer"])
            before = differences.get(optimizer, row.differences)
            differences[optimizer] = np.maximum(before, row.differences).tolist()
    ends = _ends(rows)
    apart = [abs(end - beside[seed]) for seed, end in ends.items() if seed in beside]
    spread = Spread.of(list(ends.values())) if ends else None
    return TrainedBy(kernel, differences, spread, max(apart) if apart else None)


def _sentences(found: Sequence[TrainedBy], size: str) -> list[str]:
    right = [each for each in found if each.differences]
    exact = [each for each in right if not each.kernel.rounds]
    if not exact:
        return ["No kernel has trained to its end yet: the same command goes on."]
    steps = 2 ** (len(next(iter(exact[0].differences.values()))) - 1)
    sgd = max(each.differences["sgd"][-1] for each in exact if "sgd" in each.differences)
    sentences = [
        f"After {steps} steps of plain gradient descent the weights of all {len(exact)} kernels "
        f"that compute in fp32 are within {scientific(sgd)} of those of float64, in units of a "
        f"layer's largest weight; every product of a step passed the oracle {size}."
    ]
    adam = [each.differences["adam"][-1] for each in exact if "adam" in each.differences]
    if adam:
        sentences.append(
            f"With Adam it is {scientific(max(adam))}: it divides by a gradient's size, so that "
            "where that is near 0 rounding, which is in another order of sums by every kernel, "
            "becomes a step of full length."
        )
    ends = [each for each in exact if each.accuracy and each.apart is not None]
    if ends:
        of_seeds = [
            each.accuracy.high - each.accuracy.low for each in ends if each.accuracy is not None
        ]
        sentences.append(
            f"At the end accuracies on the same seed differ by {100 * _range_on_a_seed(ends):.2f} "
            f"points at most between any two of them; other seeds make {_from_to(of_seeds)}."
        )
    if wrong := [each.kernel.name for each in found if each.status == "wrong"]:
        sentences.insert(0, f"Wrong results: {', '.join(wrong)}.")
    return sentences


def _from_to(ranges: Sequence[float]) -> str:
    """Return the least and the largest of ranges of accuracy, in points."""
    least, largest = f"{100 * min(ranges):.2f}", f"{100 * max(ranges):.2f}"
    return least if least == largest else f"{least} to {largest}, by kernel"


def _range_on_a_seed(found: Sequence[TrainedBy]) -> float:
    """Return by how much accuracies on one seed differ at most."""
    seeds = zip(*(each.accuracy.values for each in found if each.accuracy), strict=False)
    return max((float(np.ptp(values)) for values in seeds), default=0.0)


def _line(each: TrainedBy) -> dict[str, str]:
    line = {"kernel": each.kernel.name, "arithmetic": each.kernel.arithmetic}
    if each.status != "measured":
        return line | {"result": f"{each.status}: {each.reason}"}
    for optimizer, name in (("sgd", "gradient descent"), ("adam", "Adam")):
        values = each.differences.get(optimizer, [])
        if values:
            last = 2 ** (len(values) - 1)
            line |= (
                {
                    f"{name}, 1 step": scientific(values[0]),
                    f"{last} steps": scientific(values[-1]),
                }
                if optimizer == "sgd"
                else {f"{name}, {last} steps": scientific(values[-1])}
            )
    if each.accuracy:
        it = each.accuracy
        line["test error"] = shown.spread(Spread(it.mean, it.high, it.low, it.values), shown.error)
    if each.apart is not None:
        line["points apart, at most"] = f"{100 * each.apart:.2f}"
    return line


def _answer(each: TrainedBy) -> dict[str, Any]:
    return {
        "kernel": each.kernel.name,
        "status": each.status,
        "reason": each.reason,
        "differences": each.differences,
        "accuracy": asdict(each.accuracy) if each.accuracy else None,
        "apart": each.apart,
    }


def _plots(found: Sequence[TrainedBy]) -> list[Plot]:
    """Return a plot of the differences over steps, by optimizer; none of nothing."""
    lines = [
        {"kernel": each.kernel.name, "optimizer": optimizer, "steps": 2**power, "value": value,
         "colour": each.kernel.colour, "dash": each.kernel.dash}
        for each in found
        for optimizer, values in each.differences.items()
        for power, value in enumerate(values)
    ]  # fmt: skip
    if not lines:
        return []
    data = pd.DataFrame(lines)
    title = "How far weights are from those of float64, over the first steps"
    said = f"{title}, by gradient descent and by Adam, a line per kernel."
    return [Plot(title, file_name(NAME), partial(trajectories.draw, data, title), data, said)]
