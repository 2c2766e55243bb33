"""The layers of a network that is planned, measured one by one: forward, from hot caches.

Each is measured as the compiled way will run it, on one thread with as many inputs as a thread
gets; and as the way layer by layer will, on all threads with the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping

from crossover.bench.errors import InputError
from crossover.bench.records.rows import Visit
from crossover.bench.statistics.comparison import Contest, contests
from crossover.bench.statistics.networks import ONE_CALL
from crossover.bench.studies.plan.asking import Asked, Chosen
from crossover.bench.studies.study import Report
from crossover.bench.studies.sweep import Sweep, SweepSpec
from crossover.bench.workloads.matrices import RandomMatrix
from crossover.bench.workloads.problem import Problem, Setting, Workload
from crossover.kernels.serving import compiled

#: Kernels that write where they are told to, so that serving allocates nothing.
CANDIDATES = "numba-tiled", "numba-sell", "numba-bsr", "numba-dense", "numpy-dense"


#: The least that a kernel can be called for.
CALL = RandomMatrix(ONE_CALL, 1, 1, 0.0)


class PlanLayers(Sweep):
    """A sweep of one network at one sparsity, for a plan."""

    name = "plan layers"

    def __init__(self, asked: Asked, share: float) -> None:
        """Check what is asked; a ``share`` of the budget is for this study."""
        spec = asked.spec
        self._asked = asked
        super().__init__(
            SweepSpec(
                networks=(),
                batches=spec.batches,
                passes=("forward",),
                kernels=CANDIDATES,
                threads=(spec.threads,) if spec.threads else (),
                budget_s=share * spec.budget_s,
                seed=spec.seed,
            )
        )
        self.most_threads = self._threads[0]
        self._threads = tuple(sorted({1, self.most_threads}))
        self.chosen: Chosen | None = None

    @property
    def remarks(self) -> list[str]:
        """Return what is assumed of the network."""
        return self._asked.source.remarks

    def begin(self, report: Report) -> None:
        """Train what is needed, choose the sparsity, and list the problems."""
        self.chosen = self._asked.choose(report)
        # What a call costs by itself, whatever it multiplies: the compiled way makes but one.
        found = [Problem(Workload(CALL, "forward", 1), Setting(1))]
        for layer in self.chosen.recipes:
            for batch, threads in self._settings():
                problem = Problem(Workload(layer, "forward", batch), Setting(threads))
                found.append(problem)
        self._problems = {problem.problem_id: problem for problem in found}

    def measured(self) -> Mapping[tuple[str, int, int], Contest]:
        """Return what was measured, by layer, threads and batch.

        Raises:
            InputError: if a layer was not measured, for want of time.
        """
        by_problem: dict[str, list[Visit]] = self._visits
        found = {
            (it.problem.layer, it.problem.threads, it.problem.batch): it
            for visits in by_problem.values()
            for it in contests(visits, self.declared)
        }
        if missing := [p for p in self._problems.values() if _key(p) not in found]:
            raise InputError(f"{missing[0].title} was not measured: give more --budget")
        return found

    def _settings(self) -> list[tuple[int, int]]:
        """Return (inputs, threads) of all that is measured of a layer."""
        batches, most = self.spec.batches, self.most_threads
        alone = {compiled.inputs_of_a_thread(n, most) for n in batches}
        shared = set(batches) if most > 1 else set()
        return [*((n, 1) for n in sorted(alone)), *((n, most) for n in sorted(shared))]


def _key(problem: Problem) -> tuple[str, int, int]:
    labels = problem.workload.weights.labels
    return labels.layer, problem.setting.threads, problem.workload.batch
