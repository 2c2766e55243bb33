"""Which kernel for which layer and batch: pure functions of what the layers' races say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossover.bench.statistics.comparison import Contest
from crossover.bench.statistics.networks import LayerChoice
from crossover.kernels.serving import Choice, compiled
from crossover.kernels.serving.plan import COMPILED, Way

#: By layer, threads and batch.
Measured = Mapping[tuple[str, int, int], Contest]
# A kernel that already holds an operand is kept where another is faster by less than this.
_KEEPS = 1.03


@dataclass(frozen=True)
class BatchChoice:
    """What a batch is served by, one way."""

    batch: int
    way: Way
    layers: tuple[LayerChoice, ...]

    @property
    def time_s(self) -> float:
        """Return the seconds of all its products together."""
        return sum(each.time.median for each in self.layers)

    @property
    def choice(self) -> Choice:
        """Return it as a plan has it."""
        return Choice(self.batch, self.way, tuple(each.kernel for each in self.layers))


def chosen(
    measured: Measured, layers: Sequence[str], batches: Sequence[int], threads: int, way: Way
) -> list[BatchChoice]:
    """Return the fastest kernel of each layer at each batch, in one way.

    Of kernels that are nearly as fast the one goes before that holds an operand already.
    """
    held: dict[str, set[str]] = {layer: set() for layer in layers}
    found = []
    for batch in batches:
        whole = []
        for layer in layers:
            contest, factor = _contest(measured, layer, batch, threads, way)
            one = _layer_choice(layer, contest, factor, way, held[layer])
            held[layer].add(one.kernel)
            whole.append(one)
        found.append(BatchChoice(batch, way, tuple(whole)))
    return found


def merged(choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """Return choices from batch 1 on, those left out that change nothing."""
    found: list[Choice] = []
    for each in choices:
        before = found[-1] if found else None
        if before is None:
            found.append(Choice(1, each.way, each.kernels))
        elif (before.way, before.kernels) != (each.way, each.kernels):
            found.append(each)
    return tuple(found)


def _contest(
    measured: Measured, layer: str, batch: int, threads: int, way: Way
) -> tuple[Contest, float]:
    """Return the race that tells a layer's times at a batch, and how often it is run."""
    if way == "kernels":
        return measured[layer, threads, batch], 1.0
    own = compiled.inputs_of_a_thread(batch, threads)
    each = -(-batch // compiled.parts_of(batch, threads))
    return measured[layer, 1, own], each / own


def _layer_choice(
    layer: str, contest: Contest, factor: float, way: Way, held: set[str]
) -> LayerChoice:
    there = [
        each for name, each in contest.measurements.items() if way == "kernels" or name in COMPILED
    ]
    ranked = sorted(there, key=lambda each: each.time_s)
    close = [e for e in ranked if e.kernel.name in held and e.time_s <= _KEEPS * ranked[0].time_s]
    return LayerChoice.of(layer, (close or ranked)[0], ranked, factor)
