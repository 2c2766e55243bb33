"""Networks at several learning rates, judged by training images that were held out.

An answer in JSON is a network, as in :mod:`.random_vs_pruned`, with its ``held_out`` accuracy (a
spread, as ``accuracy``), and ``best``: whether of all rates it does best there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from crossover.bench.statistics.experiments.networks import TrainedNetwork
from crossover.bench.statistics.experiments.seeds import Spread, difference
from crossover.reports.plots.figure import Plot
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import Table
from crossover.reports.views.experiments import shown

NAME = "learning-rates"
_TITLE = "The learning rate that each network needs"
_BATCHES: tuple[int, ...] = ()


def section(results: Results) -> Section | None:
    """Return how each network does at each rate."""
    if not shown.visits_of(results, NAME):
        return None
    networks = [each for each in shown.networks_of(results, NAME) if each.held_out]
    table = _table(networks)
    best = _best_of_each(networks)
    answers = [
        shown.answer(each, _BATCHES) | {"held_out": asdict(_held_out(each)), "best": each in best}
        for each in networks
    ]
    parts = [Part(_TITLE, plots=_plots(networks), tables=[table])]
    sentences = _sentences(networks, shown.size_of(results, NAME))
    return Section.of(results, NAME, _TITLE, sentences, parts, answers, [table])


def _best_of_each(networks: Sequence[TrainedNetwork]) -> list[TrainedNetwork]:
    """Return of each network, by each method, the one whose rate does best on held-out images."""
    return [max(group, key=lambda each: _held_out(each).mean) for group in _by_name(networks)]


def _by_name(networks: Sequence[TrainedNetwork]) -> list[list[TrainedNetwork]]:
    found: dict[str, list[TrainedNetwork]] = {}
    for each in networks:
        found.setdefault(shown.named(each), []).append(each)
    return list(found.values())


def _held_out(network: TrainedNetwork) -> Spread:
    assert network.held_out is not None
    return network.held_out


def _error(network: TrainedNetwork) -> str:
    return shown.error_spread(_held_out(network))


def _table(networks: Sequence[TrainedNetwork]) -> Table:
    """Return a line per network: its error on held-out images at each rate, and the best."""
    lines = []
    for group, best in zip(_by_name(networks), _best_of_each(networks), strict=True):
        at_each = {f"{each.rate:g} ×": _error(each) for each in group}
        named = {"network": shown.named(best), "best rate": f"{best.rate:g} ×"}
        lines.append(named | at_each | {"its test error": shown.error_of(best)})
    return Table.of(f"{_TITLE}: errors on images held out, by times the usual rate", lines)


def _sentences(networks: Sequence[TrainedNetwork], size: str) -> list[str]:
    """Return the rates that are best, and what the usual one would cost."""
    sentences = [
        _sentence(group, best, size)
        for group, best in zip(_by_name(networks), _best_of_each(networks), strict=True)
    ]
    return sentences or ["No network was trained yet: the same command goes on."]


def _sentence(group: Sequence[TrainedNetwork], best: TrainedNetwork, size: str) -> str:
    """Return which of its rates suits a network, and how far that is certain."""
    tried = sorted(each.rate for each in group)
    told = (
        f"{shown.named(best)}: {best.rate:g} × the usual learning rate errs the least of "
        f"{', '.join(f'{rate:g}' for rate in tried)} ×{_meanwhile(best)}, on {_error(best)} of the "
        "images held out"
    )
    usual = next((each for each in group if each.rate == 1), best)
    if usual is not best:
        verdict = shown.verdict(difference(_held_out(best), _held_out(usual)))
        told += f"; beside the usual one's {_error(usual)} it {verdict}"
    if len(tried) > 1 and best.rate in (tried[0], tried[-1]):
        told += f"; a {'smaller' if best.rate == tried[0] else 'larger'} one was not tried"
    return f"{told} {size}."


def _meanwhile(network: TrainedNetwork) -> str:
    """Return when a network has the rate that is varied, where that is not all of the time."""
    if shown.kind_of(network) != "pruned":
        return ""
    return f" while it is pruned (its dense parent has {network.recipe.get('parent_rate', 1):g} ×)"


def _plots(networks: Sequence[TrainedNetwork]) -> list[Plot]:
    """Return a plot of each network's error at its best rate and at the usual; none of nothing."""
    best = _best_of_each(networks)
    told = [each for each in networks if each in best or each.rate == 1]
    title = "Error on images held out, at the best and at the usual learning rate"
    return shown.errors_plot(told, NAME, title, _at_its_rate, _held_out)


def _at_its_rate(network: TrainedNetwork) -> str:
    return f"{shown.named(network)}, {network.rate:g} ×"
