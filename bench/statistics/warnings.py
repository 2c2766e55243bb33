"""Warnings about a measurement, each with what to do about it.

Most follow from the rows; what only the worker could see (``host delay``,
``slower on fresh X``) it wrote into the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from crossover.bench.records.rows import Visit
from crossover.bench.statistics import rates
from crossover.bench.statistics.comparison import Measurement, Pair
from crossover.bench.statistics.intervals import order_half_width
from crossover.bench.statistics.small import median

_NOISY = 0.10
# Of halves that differ by chance alone, so many are taken for a drift.
_DRIFT_ERROR = 0.01
_DRIFT = 0.10
# By how much a part of the canary must be slower than is usual: what several cores or the memory
# take together is a matter of neighbours, and of chance.
_THROTTLE = {"one core": 0.15, "all cores": 0.5, "memory": 0.5, "GPU": 0.15}
# The part of the canary that is a GPU's.
_GPU = "GPU"
_LEAST_ROUNDS, _SHORTEST_SAMPLE_S = 6, 1e-3
# A sample of so many seconds, an epoch of training, is a mean over what rounds would see.
_LONG_S = 0.5
# Rounds of a first look, of which a median alone is shown.
_FEWEST_ROUNDS = 3
#: Seconds of the parts of the canary as they are usual in a run, by number of threads.
UsualCanary = Mapping[int, Mapping[str, float]]

#: About a speedup, not about the times of its kernel: reports mark the speedup with it.
WEAK_BASELINE = "weak baseline"


@dataclass(frozen=True)
class Evidence:
    """What is known of how one kernel was timed in one problem."""

    #: Seconds per call, one value a round, visit by visit; calls per sample.
    samples: Sequence[Sequence[float]]
    loops: int
    #: Seconds of the parts of the fixed canary in the same rounds, and what each one usually
    #: takes in the run.
    canary: Mapping[str, Sequence[float]]
    usual_canary_s: Mapping[str, float]
    #: Processes that wanted to run (1-minute load average) before a visit; cores there are.
    load: float
    cores: int
    #: Numba's, where the kernel runs in it.
    threading_layer: str = ""
    #: ``cpu`` or ``cuda``.
    device: str = "cpu"
    #: Makers of the processor, and of those that the kernel's library is made for; where known.
    vendor: str = ""
    made_for: str = ""

    @cached_property
    def together(self) -> Sequence[float]:
        """Return all samples."""
        return [value for visit in self.samples for value in visit]

    def slowed(self, part: str) -> bool:
        """Return whether a part of the canary was slower than is usual in the run.

        A GPU has a clock of its own: the host's says nothing of its kernels, nor the other way.
        """
        seconds = self.canary.get(part)
        if not seconds or (part == _GPU) != (self.device == "cuda"):
            return False
        usual_s = self.usual_canary_s.get(part, float("inf"))
        return median(seconds) > (1 + _THROTTLE[part]) * usual_s


@dataclass(frozen=True)
class MeasurementWarning:
    """What it says, what to do, and when it holds; None where the worker says it."""

    name: str
    #: Stands beside the figures that it is about.
    letter: str
    means: str
    remedy: str
    holds: Callable[[Evidence], bool] | None


def _throttled(part: str, work: str, remedy: str) -> MeasurementWarning:
    """Return the warning about one part of the canary."""
    return MeasurementWarning(
        f"throttled: {part}",
        "t",
        f"{work} took over {_THROTTLE[part]:.0%} longer than is usual in this run",
        remedy,
        lambda e: e.slowed(part),
    )


WARNINGS = (
    MeasurementWarning(
        "noisy",
        "n",
        f"the median is known to worse than ± {_NOISY:.0%}",
        "close other programs, or give more --budget",
        lambda e: (
            len(e.together) >= _LEAST_ROUNDS and order_half_width(np.log(e.together)) > _NOISY
        ),
    ),
    MeasurementWarning(
        "drifting",
        "d",
        f"the second half of a visit's rounds differs from the first by over {_DRIFT:.0%}",
        "let the machine settle and measure --again; if it stays, the kernel itself slows down",
        lambda e: _drifts(e.samples),
    ),
    MeasurementWarning(
        "too short",
        "s",
        "shorter samples, or fewer rounds of a visit, than a median can rest on",
        "give more --budget",
        lambda e: (
            (min(map(len, e.samples)) < _FEWEST_ROUNDS and median(e.together) * e.loops < _LONG_S)
            or median(e.together) * e.loops < _SHORTEST_SAMPLE_S
        ),
    ),
    _throttled(
        "one core",
        "fixed work on one core",
        "improve the cooling, set the governor to performance, or use a machine of your own",
    ),
    _throttled(
        "all cores",
        "fixed work on all cores at once",
        "stop what else runs, improve the cooling, or use a machine of your own",
    ),
    _throttled(
        "memory",
        "a fixed pass over memory beyond a core's own caches",
        "stop what else uses the memory, or use a machine of your own",
    ),
    _throttled(
        _GPU,
        "a fixed number of the GPU's clock cycles",
        "improve the cooling, raise the power limit, or lock the clocks",
    ),
    MeasurementWarning(
        "foreign processor",
        "f",
        "its library is made for processors of another maker, and may take a slow path on this one",
        "draw no conclusion for the processors that it is made for: measure there",
        lambda e: bool(e.vendor and e.made_for) and e.vendor != e.made_for,
    ),
    MeasurementWarning(
        "oversubscribed",
        "o",
        "more processes wanted to run than there are cores",
        "stop other work, or give fewer --threads",
        lambda e: e.load > e.cores + 1,
    ),
    MeasurementWarning(
        "slow threading layer",
        "q",
        "Numba starts its threads through its work queue: 100 µs a call instead of 1",
        "install libgomp (OpenMP) or the package tbb",
        lambda e: e.threading_layer == "workqueue",
    ),
    MeasurementWarning(
        "host delay",
        "h",
        "the host could not queue the calls ahead of the GPU, so the time holds its delay",
        "none for a kernel that waits for the GPU itself; else compare the graph replay",
        None,
    ),
    MeasurementWarning(
        "slower on fresh X",
        "x",
        "a call takes longer on an X that the kernel has not seen than on one that it has",
        "read the kernel: its times hold only for an X that stays; over 25 % counts as wrong",
        None,
    ),
    MeasurementWarning(
        "blocks fill W",
        "b",
        "the blocks of a sparse format hold all of W, zeros included: it counts as dense",
        "prune in blocks, or use a format of single entries",
        None,
    ),
    MeasurementWarning(
        WEAK_BASELINE,
        "w",
        "the dense kernel that it is held against takes over twice the least time of such a call",
        "take the speedup for one over this dense kernel, not over dense",
        None,
    ),
)


def letters(names: Iterable[str]) -> str:
    """Return the letters of warnings, each once; one that only the worker knows of has none."""
    by_name = {each.name: each.letter for each in WARNINGS}
    return "".join(dict.fromkeys(by_name.get(name, "") for name in names))


def of_measurement(
    measurement: Measurement, usual_canary_s: UsualCanary, cores: int, vendor: str = ""
) -> list[str]:
    """Return the names of the warnings about a kernel's times in a problem.

    ``cores`` and ``vendor`` are the machine's.
    """
    rows, last, kernel = measurement.rows, measurement.last, measurement.kernel
    evidence = Evidence(
        [row.samples for row in rows],
        min(row.loops for row in rows),
        _together(visit.record.canary for visit in measurement.visits),
        usual_canary_s.get(measurement.problem.threads, {}),
        max(visit.record.load for visit in measurement.visits),
        cores,
        last.threading_layer,
        kernel.device,
        vendor,
        kernel.made_for,
    )
    found = [each.name for each in WARNINGS if each.holds and each.holds(evidence)]
    if not measurement.leaves_out and not kernel.stores_zeros:
        found.append("blocks fill W")
    return found + list(dict.fromkeys(text for row in rows for text in row.warnings))


def of_comparison(pair: Pair, limits: rates.Limits | None) -> list[str]:
    """Return the names of the warnings about what a kernel is held against."""
    dense = pair.baseline
    if dense is None or dense.kernel.role != "dense":
        return []
    return [WEAK_BASELINE] if rates.is_weak(dense.call_fraction(limits)) else []


def usual_canary_s(visits: Iterable[Visit]) -> UsualCanary:
    """Return the median over visits of each part of the canary in a run.

    Its best would be a matter of luck, and of a run that got slower for good all but the beginning
    would count as slow.
    """
    seen: dict[int, dict[str, list[float]]] = {}
    for visit in visits:
        parts = seen.setdefault(visit.problem.threads, {})
        for part, seconds in visit.record.canary.items():
            parts.setdefault(part, []).append(median(seconds))
    return {
        threads: {part: median(medians) for part, medians in parts.items()}
        for threads, parts in seen.items()
    }


def _together(canaries: Iterable[Mapping[str, Sequence[float]]]) -> dict[str, list[float]]:
    """Return the seconds of each part, of all visits."""
    found: dict[str, list[float]] = {}
    for canary in canaries:
        for part, seconds in canary.items():
            found.setdefault(part, []).extend(seconds)
    return found


def _drifts(visits: Sequence[Sequence[float]]) -> bool:
    """Return whether the halves of the visits differ, by much and by more than chance.

    Each visit counts in units of its own median: between visits the operands move in memory, and
    a kernel that slows down starts afresh.
    """
    before: list[float] = []
    after: list[float] = []
    for samples in visits:
        half = len(samples) // 2
        if half >= _LEAST_ROUNDS // 2:
            usual = median(samples)
            before.extend(value / usual for value in samples[:half])
            after.extend(value / usual for value in samples[-half:])
    if not before:
        return False
    change = abs(median(after) / median(before) - 1)
    return change > _DRIFT and stats.mannwhitneyu(before, after).pvalue < _DRIFT_ERROR
