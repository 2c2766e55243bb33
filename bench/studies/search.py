"""The search for crossovers, fed with visits to real layers.

Every probe prunes the layer's own trained weights to a sparsity, converts them anew and times the
kernel against the dense baselines in rounds. The next probe goes where the answer is widest.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from crossover.bench.errors import InputError
from crossover.bench.harness.sources import runnable
from crossover.bench.harness.task import Task
from crossover.bench.options import common
from crossover.bench.options.declaration import option
from crossover.bench.options.values import number, zeros
from crossover.bench.records.rows import Visit
from crossover.bench.statistics.intervals import CONFIDENCE
from crossover.bench.statistics.search_answers import SearchAnswer, question_key, raced
from crossover.bench.statistics.sign_search import WIDTH, SignSearch
from crossover.bench.studies.given import source_of
from crossover.bench.studies.study import Progress, Report, Study, threads_or_all
from crossover.bench.workloads.given import GivenLayer
from crossover.bench.workloads.problem import Problem, Setting, Workload, identity
from crossover.bench.workloads.recipes import LAYER_PATTERNS, LayerPattern, PrunedLayer
from crossover.kernels.base import Kernel, Pass
from crossover.kernels.base import Problem as Product

# Visits that a search takes on the average, for the progress bar.
_USUAL_VISITS = 30
# Later visits are to find the machine in other states.
_BETWEEN_VISITS_S = 0.5


@dataclass(frozen=True)
class SearchSpec:
    """Which layers, batches and passes, which kernels, against what."""

    network: str = common.network_name("lenet-300-100")
    layers: tuple[str, ...] = option((), "--layer", metavar="NAME", help="", shown="all")
    batches: tuple[int, ...] = common.batches((64,))
    passes: tuple[Pass, ...] = common.passes(("forward",), "forward")
    kernels: tuple[str, ...] = common.kernels((), "all sparse ones that run here")
    against: str = option(
        "",
        "--against",
        metavar="NAME",
        help="a kernel",
        shown="the fastest dense one of the same device",
    )
    threads: tuple[int, ...] = common.threads()
    pattern: LayerPattern = option(
        "trained", "--pattern", choices=LAYER_PATTERNS, help="which weights of a layer stay"
    )
    zeros: tuple[float | None, ...] = option(
        (None,),
        "--activations",
        metavar="ZEROS",
        convert=zeros,
        help="real, dense, or a share of zeros in X and dY, as 0.9 or 90%%",
    )
    confidence: float = option(
        CONFIDENCE,
        "--confidence",
        metavar="P",
        convert=number,
        help="confidence level of the reported range",
    )
    width: float = option(
        WIDTH, "--width", metavar="S", convert=number, help="stop when the range is this narrow"
    )
    budget_s: float = common.budget(120.0, "time for the measuring, spent where answers are widest")
    seed: int = common.seed()
    inputs: Path | None = common.inputs()
    modules: tuple[str, ...] = common.modules()
    #: Searches that differ in this alone share nothing.
    repetition: int = 0


@dataclass
class Question:
    """A question as it is asked: its workload at any sparsity, and its answer so far."""

    workload: Workload
    layer: PrunedLayer | GivenLayer
    setting: Setting
    answer: SearchAnswer
    visited_at: float = float("-inf")

    @property
    def key(self) -> str:
        recipe, answer = identity(self.workload), self.answer
        setting = self.setting.threads, self.setting.caches
        return question_key(recipe, setting, answer.candidates, answer.baselines)

    def at(self, sparsity: float) -> Problem:
        """Return the problem at one sparsity."""
        layer = replace(self.layer, sparsity=sparsity)
        return Problem(replace(self.workload, weights=layer), self.setting)


class Search(Study):
    """Probe after probe, the widest answer first.

    When all are narrow, what they rest on is visited again, in turn.
    """

    name = "search"
    phase = "search"
    #: Whether it is no mistake to search where there is nothing to search.
    may_ask_nothing: ClassVar[bool] = False

    def __init__(self, spec: SearchSpec) -> None:
        """Check what is asked.

        Raises:
            InputError: if a part of it is not possible; nothing was done yet.
        """
        self.spec = spec
        self.network = source_of(spec.network, inputs=spec.inputs)
        layers = [layer.name for layer in self.network.layers]
        for layer in spec.layers:
            if layer not in layers:
                raise InputError(f"unknown layer {layer!r}: {spec.network} has {', '.join(layers)}")
        against = (spec.against,) if spec.against else ()
        kernels = runnable(self.source, (*spec.kernels, *against))
        for name in spec.kernels:
            if name == spec.against or (not against and kernels[name].role == "dense"):
                raise InputError(
                    f"kernel {name!r} would be compared with itself: give a sparse one"
                )
        if not 0.5 <= spec.confidence < 1:
            raise InputError(f"confidence {spec.confidence:g} is outside [0.5, 1): give 0.95, say")
        if not 0.001 <= spec.width <= 0.2:
            raise InputError(f"width {spec.width:g} is outside [0.001, 0.2]: give 0.02, say")
        self.network.check_batches(spec.batches)
        self._threads = threads_or_all(spec.threads)
        self._questions: dict[str, Question] = {}
        self._unsupported: list[str] = []
        self._visits = 0

    @property
    def series(self) -> str:
        """Return the name under which its visits are kept."""
        return f"search {self.spec.repetition}" if self.spec.repetition else "search"

    @property
    def remarks(self) -> list[str]:
        """Return what is assumed of the network."""
        return self.network.remarks

    @property
    def threads(self) -> tuple[int, ...]:
        """Return the numbers of threads that it measures with."""
        return self._threads

    @property
    def answers(self) -> list[SearchAnswer]:
        """Return the answers so far."""
        return [question.answer for question in self._questions.values()]

    @property
    def visits_made(self) -> int:
        """Return how many visits it was told of."""
        return self._visits

    @property
    def unfinished(self) -> int:
        """Return how many answers could be narrower, or better confirmed."""
        return sum(not answer.failure and not answer.settled for answer in self.answers)

    def begin(self, report: Report) -> None:
        """Train the network, and list the questions.

        Raises:
            InputError: if no sparse kernel can run.
        """
        layers = self.network.prunable(self.spec.pattern, self.spec.seed, report)
        self._questions = {each.key: each for each in self.listed(layers)}
        if not self._questions and not self.may_ask_nothing:
            why = "; ".join(self._unsupported) or "no sparse kernel can run here"
            raise InputError(f"nothing to search: {why.rstrip('.')} (see 'kernels list')")

    def take(self, visit: Visit) -> bool:
        """Take in what came of a visit."""
        candidates, baselines = raced(visit, self.declared)
        problem = visit.problem
        setting = problem.threads, problem.caches
        key = question_key(problem.recipe, setting, candidates, baselines)
        question = self._questions.get(key)
        if question is None:
            return False
        question.answer.add(visit)
        question.visited_at = time.monotonic()
        self._visits += 1
        return True

    def next(self, left_s: float) -> Task | None:
        """Return the visit that the widest answer wants; of equally wide ones the least probed."""
        waiting = [
            (question, wanted)
            for question in self._questions.values()
            if not question.answer.failure and (wanted := question.answer.search.wanted())
        ]
        if not waiting or (left_s <= 0 and self._visits):
            return None
        open_ = [each for each in waiting if not each[1].confirming]
        urgent = [each for each in waiting if self.is_urgent(each[0])]
        if urgent:
            question, wanted = urgent[0]
        elif open_:
            question, wanted = max(
                open_,
                key=lambda each: (
                    each[0].answer.search.open_width(),
                    -len(each[0].answer.operands),
                    -each[0].visited_at,
                ),
            )
        else:
            question, wanted = min(waiting, key=lambda each: each[0].visited_at)
            pause_s = question.visited_at + _BETWEEN_VISITS_S - time.monotonic()
            time.sleep(max(0.0, min(left_s, pause_s)))
        return Task(
            question.at(wanted.sparsity),
            (*question.answer.baselines, *question.answer.candidates),
            0.0,
            (self.spec.seed, self._visits),
            (wanted.rounds, wanted.rounds),
            not_in=wanted.not_in,
        )

    def is_urgent(self, question: Question) -> bool:
        """Return whether a question goes before wider ones; none does."""
        return False

    def progress(self) -> Progress:
        """Return how many visits were made, of about as many as searches usually take."""
        expected = max(self._visits + self.unfinished, _USUAL_VISITS * len(self._questions))
        return Progress(self.phase, f"{self.unfinished} open", self._visits, max(1, expected))

    def listed(self, layers: Sequence[PrunedLayer | GivenLayer]) -> Iterator[Question]:
        """Yield the questions about the layers of a network."""
        spec = self.spec
        running = {n: kernel for n, kernel in self.kernels.items() if not kernel.unavailable()}
        asked = spec.kernels or [n for n, kernel in running.items() if not kernel.stores_zeros]
        wanted = [e for e in layers if not spec.layers or e.labels.layer in spec.layers]
        for threads, layer, batch, pass_, share, name in itertools.product(
            self._threads, wanted, spec.batches, spec.passes, spec.zeros, asked
        ):
            against = (spec.against,) if spec.against else dense_of(running, running[name])
            (m, k), n = layer.shape, layer.columns(batch)
            unsupported = running[name].unsupported(Product(pass_, m, k, n, m * k))
            if unsupported:
                self._unsupported.append(unsupported)
            if not against or name in against or unsupported:
                continue
            workload = Workload(layer, pass_, batch, share, seed=spec.seed)
            yield self.question(workload, layer, threads, (name,), against)

    def question(
        self,
        workload: Workload,
        layer: PrunedLayer | GivenLayer,
        threads: int,
        candidates: Sequence[str],
        baselines: Sequence[str],
    ) -> Question:
        """Return a question that nothing was measured of."""
        device = self.kernels[candidates[0]].device
        search = SignSearch(self.spec.confidence, self.spec.width)
        names = tuple(sorted(candidates)), tuple(sorted(baselines))
        answer = SearchAnswer(names[0], device, names[1], search)
        return Question(workload, layer, Setting(threads), answer)


def dense_of(kernels: Mapping[str, Kernel], candidate: Kernel) -> tuple[str, ...]:
    """Return the dense baselines of a kernel: of its device, and of its arithmetic if there are."""

    def arithmetic(kernel: Kernel) -> str:
        return kernel.arithmetic["float32"].name if "float32" in kernel.arithmetic else ""

    there = {
        name: arithmetic(kernel)
        for name, kernel in kernels.items()
        if kernel.role == "dense" and kernel.device == candidate.device
    }
    same = tuple(name for name, own in there.items() if own == arithmetic(candidate))
    return same or tuple(name for name, own in there.items() if own == "fp32")
