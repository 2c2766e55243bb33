"""How experiments show the networks that they trained: a table, an answer each, and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import pandas as pd

from crossover.bench.records.rows import EPOCHS, STARTS_SPARSE, Visit
from crossover.bench.statistics.comparison import Measurement
from crossover.bench.statistics.crossover import bracket
from crossover.bench.statistics.experiments.networks import TrainedNetwork, trained_networks
from crossover.bench.statistics.experiments.seeds import Spread, without_seeds
from crossover.bench.statistics.intervals import Interval
from crossover.reports.plots import forest
from crossover.reports.plots.figure import Plot, file_name
from crossover.reports.plots.forest import Scale
from crossover.reports.results import Results
from crossover.reports.tables import Table, count, interval, marked, percent, seconds

_COLOURS = {"dense": "#70655f", "pruned": "#1a6fe6", "sparse from the start": "#d3850f"}
_MARKERS = {"dense": "o", "pruned": "^", "sparse from the start": "s"}
#: Our methods that are sparse from the start, of visits that do not tell.
_SPARSE_FROM_THE_START = (
    "random", "random-scaled", "erdos-renyi", "erdos-renyi-scaled", "pruned-mask-fresh",
    "pruned-mask-original", "local", "convolutional", "set", "rigl",
)  # fmt: skip
# Who draws what goes, layer by layer, whatever the scope.
_OF_NO_SCOPE = "random-gradual"


def visits_of(results: Results, experiment: str) -> list[Visit]:
    """Return the visits of an experiment, of the form that it was asked in last."""
    asked = [each.series for each in results.asked(experiment) if results.series.get(each.series)]
    return _last_tries(results.series[asked[-1]]) if asked else []


def _last_tries(visits: Sequence[Visit]) -> list[Visit]:
    """Return visits without those that failed where their problem was visited again."""
    last = {visit.problem.problem_id: visit for visit in visits}
    return [
        visit
        for visit in visits
        if visit is last[visit.problem.problem_id]
        or any(row.status != "failed" for row in visit.rows.values())
    ]


def networks_of(results: Results, experiment: str) -> list[TrainedNetwork]:
    """Return the networks that an experiment trained."""
    return trained_networks(visits_of(results, experiment), results.kernels)


def named(network: TrainedNetwork) -> str:
    """Return a network in a few words."""
    if network.method == "dense":
        return f"{network.network} dense"
    scope = " by layer" if has_scope(network) and network.scope == "layer" else ""
    return f"{network.network} {percent(network.sparsity)} {network.method}{scope}"


def kind_of(network: TrainedNetwork) -> str:
    """Return what kind of network it is, by how it got its zeros."""
    if network.method == "dense":
        return "dense"
    starts_sparse = network.fact(STARTS_SPARSE)
    if starts_sparse is None:
        starts_sparse = network.method in _SPARSE_FROM_THE_START
    return "sparse from the start" if starts_sparse else "pruned"


def has_scope(network: TrainedNetwork) -> bool:
    """Return whether it matters over what a network was pruned: all layers together, or each."""
    return kind_of(network) == "pruned" and network.method != _OF_NO_SCOPE


def spread(value: Spread, write: Callable[[float], str]) -> str:
    """Return a figure with the least and the most over its seeds."""
    if len(value.values) == 1:
        return f"{write(value.mean)} (1 seed)"
    return f"{write(value.mean)} ({write(value.low)} to {write(value.high)})"


def error(value: float) -> str:
    """Return an accuracy as an error, in percent to a hundredth."""
    return f"{100 * (1 - value):.2f} %"


def error_of(network: TrainedNetwork) -> str:
    """Return a network's test error with its spread."""
    return error_spread(network.accuracy)


def error_spread(accuracy: Spread) -> str:
    """Return an accuracy as an error with its spread, the least error first."""
    turned = Spread(accuracy.mean, accuracy.high, accuracy.low, accuracy.values)
    return spread(turned, error)


def verdict(gained: Interval) -> str:
    """Return what a difference of accuracy says, in points with its interval."""
    points = Interval(*(100 * each for each in (gained.low, gained.median, gained.high)))
    told = interval(points, lambda value: f"{value:+.2f}")
    if gained.low > 0:
        return f"is better, by {told} points"
    if gained.high < 0:
        return f"is worse, by {told} points"
    return f"is not distinguishable ({told} points)"


def beats(other: str, points: Sequence[tuple[float, Interval]]) -> str:
    """Return from which sparsity on something is faster than an ``other``: a sentence's verb.

    ``points`` are sparsities with speedups over that.
    """
    crossover = bracket(points)
    ends = f"{percent(crossover.low)} to {percent(crossover.high)}"
    _, last = max(points, key=lambda point: point[0])
    if crossover.kind == "open" and last.decided:
        return (
            f"is faster than {other} from {percent(crossover.high)} of sparsity on; from {ends} it "
            "was not decided everywhere"
        )
    return {
        "between": f"is faster than {other} from {crossover} of sparsity on",
        "always": f"is faster than {other} at every sparsity measured, {ends}",
        "never": f"is no faster than {other} at any sparsity measured, {ends}",
    }.get(crossover.kind, f"against {other}: {crossover}")


def from_where(points: Sequence[tuple[float, Interval]]) -> str:
    """Return the same as a table shows it."""
    crossover = bracket(points)
    _, last = max(points, key=lambda point: point[0])
    if crossover.kind == "open" and last.decided:
        return f"from {percent(crossover.high)} ({crossover})"
    return str(crossover)


def size_of(results: Results, experiment: str) -> str:
    """Return how large an experiment was, in words that end a sentence."""
    visits = [visit for visit in visits_of(results, experiment) if visit.problem.was_made]
    images = max((v.problem.recipe["weights"]["training"]["images"] for v in visits), default=0)
    data = f"{images:,} training images" if images else "all of MNIST"
    return f"({seeds_of(visits)}, {data})"


def seeds_of(visits: Iterable[Visit]) -> str:
    """Return of how many seeds something was measured, problem by problem: ``3 seeds``."""
    seeds: dict[str, set[int]] = {}
    for visit in visits:
        if any(row.status == "measured" for row in visit.rows.values()):
            recipe = visit.problem.recipe
            own = seeds.setdefault(str(without_seeds(recipe)), set())
            own.add(recipe["weights"]["training"]["seed"])
    counts = sorted(map(len, seeds.values())) or [0]
    least = f"{counts[0]} to " if counts[0] != counts[-1] else ""
    return f"{least}{counts[-1]} seed{'s' if counts[-1] != 1 else ''}"


def table(
    results: Results, networks: Sequence[TrainedNetwork], batches: Sequence[int], title: str
) -> Table:
    """Return a line per network: what it reaches, what is left, and how fast it runs."""
    lines = []
    for each in networks:
        line = {
            "network": each.network,
            "asked": percent(each.sparsity) if each.sparsity else "dense",
            "method": f"{each.method}, {each.scope}" if has_scope(each) else each.method,
            "test error": error_of(each),
            "weights left": count(round(each.nnz.mean)),
            "learning rate": f"{each.rate:g} × usual" if each.rate != 1 else "",
            "epochs": f"{epochs:g}" if (epochs := each.fact(EPOCHS)) is not None else "",
        }
        for batch in batches:
            best = each.best_at(batch)
            line |= {
                f"{batch} images": time_of(results, best),
                f"by ({batch})": best.kernel.name if best else "",
                f"sparse × dense ({batch})": speedup_of(results, each, batch),
            }
        lines.append(line)
    return Table.of(title, lines)


def time_of(results: Results, measured: Measurement | None) -> str:
    """Return a time, marked where there is a warning about it; empty of nothing."""
    return marked(seconds(measured.time_s), results.warnings_of(measured)) if measured else ""


def speedup_of(results: Results, network: TrainedNetwork, batch: int) -> str:
    """Return a network's speedup, marked where there is a warning about either time."""
    both = network.sparse_at(batch), network.dense_at(batch)
    warned = [results.warnings_of(each) for each in both if each]
    return marked(interval(network.speedup(batch)), *warned)


def answer(network: TrainedNetwork, batches: Sequence[int]) -> dict[str, Any]:
    """Return a network as JSON has it."""
    races = {}
    for batch in batches:
        best = network.best_at(batch)
        races[str(batch)] = {
            "time_s": best.time_s if best else None,
            "by": best.kernel.name if best else None,
            "speedup": asdict(network.speedup(batch)),
        }
    return {
        "network": network.network,
        "network_sparsity": network.sparsity,
        "pattern": network.method,
        "scope": network.scope,
        "rate": network.rate,
        "accuracy": asdict(network.accuracy),
        "nnz": asdict(network.nnz),
        "parameters": network.parameters,
        "races": races,
    }


def errors_plot(
    networks: Sequence[TrainedNetwork],
    experiment: str,
    title: str,
    label: Callable[[TrainedNetwork], str] = named,
    accuracy: Callable[[TrainedNetwork], Spread] = lambda network: network.accuracy,
) -> list[Plot]:
    """Return a plot of the networks' errors, the best first; none of nothing."""
    if not networks:
        return []
    lines = []
    for each in sorted(networks, key=lambda each: -accuracy(each).mean):
        it, kind = accuracy(each), kind_of(each)
        lines.append(
            {"label": label(each), "value": 100 * (1 - it.mean), "low": 100 * (1 - it.high),
             "high": 100 * (1 - it.low), "kind": kind, "colour": _COLOURS[kind],
             "marker": _MARKERS[kind], "nnz": each.nnz.mean}
        )  # fmt: skip
    data = pd.DataFrame(lines)
    scale = Scale("error in percent: mean, least and most over seeds", lambda v: f"{v:g}")
    drawn = partial(forest.draw, data, title, scale)
    best = lines[0]
    said = f"{title}. The least error, {best['value']:.2f} %, has {best['label']}."
    return [Plot(title, file_name(experiment, "errors"), drawn, data, said)]
