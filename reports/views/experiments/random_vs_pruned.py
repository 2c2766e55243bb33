"""Sparse from the start, in several ways, against dense first and pruned then.

An answer in JSON is a network: ``network``, ``network_sparsity`` (asked for), ``pattern`` (the
method), ``scope``, ``rate`` (times the usual learning rate), ``accuracy`` and ``nnz`` (mean, least,
most and each over seeds), ``parameters``, and ``races`` by inputs at a time: ``time_s`` of the
fastest engine, which it was (``by``), and the ``speedup`` of the fastest sparse over the fastest
dense one.
"""

from __future__ import annotations

from collections.abc import Sequence

from crossover.bench.records.rows import EPOCHS
from crossover.bench.statistics.experiments.networks import TrainedNetwork
from crossover.bench.statistics.experiments.seeds import difference
from crossover.reports.results import Results
from crossover.reports.sections import Part, Section
from crossover.reports.tables import percent
from crossover.reports.views.experiments import shown

NAME = "random-vs-pruned"
_TITLE = "Sparse from the start, against pruned"
#: None is raced: what is asked is what they reach.
_BATCHES: tuple[int, ...] = ()
#: Whose pattern is drawn without regard to anything, and stays.
_RANDOM = "random", "random-scaled", "erdos-renyi", "erdos-renyi-scaled"
_TEST_IMAGES = (
    "Intervals are over seeds, of these test images: others of their kind would move errors, too."
)


def section(results: Results) -> Section | None:
    """Return what networks reach."""
    if not shown.visits_of(results, NAME):
        return None
    networks = shown.networks_of(results, NAME)
    table = shown.table(results, networks, _BATCHES, _TITLE)
    answers = [shown.answer(each, _BATCHES) for each in networks]
    title = "Test error by how the zeros came about"
    plots = shown.errors_plot(networks, NAME, title, _named)
    parts = [Part(_TITLE, plots=plots, tables=[table])]
    size = shown.size_of(results, NAME)
    return Section.of(results, NAME, _TITLE, _sentences(networks, size), parts, answers, [table])


def _sentences(networks: Sequence[TrainedNetwork], size: str) -> list[str]:
    """Return the claims: each with both errors, and their difference with its interval."""
    pruned = _first(networks, "gradual")
    if pruned is None:
        return ["No network was pruned yet: the same command goes on."]
    beside = [each for each in networks if each.network == pruned.network]
    sentences = _random_patterns(beside, pruned, size)
    sentences += _known_patterns(beside, pruned)
    small = [each for each in networks if each.network != pruned.network]
    told = "; ".join(
        f"{shown.named(each)} with {each.nnz.mean:,.0f} weights{_after_epochs(each)} errs on "
        f"{shown.error_of(each)}, which {shown.verdict(difference(each.accuracy, pruned.accuracy))}"
        for each in small
    )
    if told:
        own = f"{pruned.nnz.mean:,.0f} weights{_after_epochs(pruned)}"
        sentences.append(f"Beside the pruned one's {own}: {told}.")
    drawn, modest = _best_random(beside), _first(small, "gradual")
    if drawn and modest:
        verdict = shown.verdict(difference(drawn.accuracy, modest.accuracy))
        sentences.append(
            f"A large random network ({drawn.method}) against a small one that was pruned as far: "
            f"{shown.error_of(drawn)} with {drawn.nnz.mean:,.0f} weights{_after_epochs(drawn)}, "
            f"{shown.error_of(modest)} with {modest.nnz.mean:,.0f}{_after_epochs(modest)}; the "
            f"random one {verdict}."
        )
    if not sentences:
        return ["Nothing was trained beside the pruned network yet."]
    return [*sentences, _TEST_IMAGES]


def _after_epochs(network: TrainedNetwork) -> str:
    """Return how long a network trained, dense at first or not; nothing where that is not kept."""
    epochs = network.fact(EPOCHS)
    return "" if epochs is None else f" after {epochs:g} epochs"


def _random_patterns(
    beside: Sequence[TrainedNetwork], pruned: TrainedNetwork, size: str
) -> list[str]:
    """Return what random patterns reach, with a rate of their own and with that of dense ones."""
    sentences = []
    ways = [each for each in beside if _tuned(each)]
    if best := _best_random(beside):
        verdict = shown.verdict(difference(best.accuracy, pruned.accuracy))
        sentences.append(
            f"{pruned.network} at {percent(pruned.sparsity)}: trained with a random pattern and "
            f"{best.rate / pruned.rate:g} times the learning rate of the dense network, the best "
            f"of {len(ways)} ways by test error ({best.method}) errs on {shown.error_of(best)}, "
            f"dense first and pruned then on {shown.error_of(pruned)}: random {verdict} {size}."
        )
    for each in beside:
        if each.method in _RANDOM and not _tuned(each):
            verdict = shown.verdict(difference(each.accuracy, pruned.accuracy))
            sentences.append(
                f"With the learning rate of the dense network {each.method} errs on "
                f"{shown.error_of(each)}, and {verdict}."
            )
    return sentences


def _known_patterns(beside: Sequence[TrainedNetwork], pruned: TrainedNetwork) -> list[str]:
    """Return what patterns that are not drawn blindly reach; nothing where none was trained."""
    names = {
        "set": "regrown at random (SET)", "rigl": "regrown by gradient (RigL)",
        "pruned-mask-original": "the pruned pattern with its original weights",
        "pruned-mask-fresh": "the pruned pattern with fresh weights",
        "local": "a locally connected pattern", "convolutional": "windows of a convolution",
    }  # fmt: skip
    known = [(text, found) for name, text in names.items() if (found := _first(beside, name))]
    told = "; ".join(
        f"{text} {shown.error_of(found)}, which "
        f"{shown.verdict(difference(found.accuracy, pruned.accuracy))}"
        for text, found in known
    )
    return [f"Against the pruned one's {shown.error_of(pruned)}: {told}."] if told else []


def _named(network: TrainedNetwork) -> str:
    """Return a network in a few words; the rate of dense networks is told of what has another."""
    as_dense = network.method in _RANDOM and not _tuned(network)
    return f"{shown.named(network)}{', rate of dense' if as_dense else ''}"


def _first(networks: Sequence[TrainedNetwork], method: str) -> TrainedNetwork | None:
    return next((each for each in networks if each.method == method), None)


def _tuned(network: TrainedNetwork) -> bool:
    """Return whether it is a random one, and trained with a rate of its own."""
    return network.method in _RANDOM and network.rate != network.recipe.get("parent_rate", 1)


def _best_random(beside: Sequence[TrainedNetwork]) -> TrainedNetwork | None:
    """Return the best of the random networks that were trained with a rate of their own."""
    drawn = [each for each in beside if _tuned(each)]
    return max(drawn, key=lambda each: each.accuracy.mean, default=None)
