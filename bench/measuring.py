"""Visits to cells: a worker measures, what it found joins what was found before, rows are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psutil

from crossover.bench import machine
from crossover.bench.cell_trial import Task
from crossover.bench.cells import Cell, OperandSource, Plan, too_large
from crossover.bench.cuda import EXPOSED
from crossover.bench.flags import Evidence, raised
from crossover.bench.intervals import order_half_width
from crossover.bench.records import Row
from crossover.bench.store import Store
from crossover.bench.trial import FILLED, Outcome
from crossover.bench.worker import Worker
from crossover.bench.workloads import mnist
from crossover.bench.workloads.models import TrainedModel
from crossover.kernels.base import Kernel
from crossover.kernels.formats import bytes_by_format


@dataclass
class Visited:
    """A cell, and what was measured of it so far."""

    cell: Cell
    model: TrainedModel
    outcomes: dict[str, Outcome]

    def width(self, kernels: Mapping[str, Kernel]) -> float:
        """Return how well the cell's answer is known: half the width of a log-ratio's interval.

        The ratio is that of the fastest dense and the fastest sparse kernel; without such a pair
        of any two, and 0 where there are none.
        """
        measured = {name: o for name, o in self.outcomes.items() if o.status == "measured"}
        if len(measured) < 2:
            return 0.0
        by_time = sorted(measured, key=lambda name: float(np.median(measured[name].samples)))
        dense = [name for name in by_time if kernels[name].format == "dense"] or by_time[:1]
        sparse = [
            name
            for name in by_time
            if "dense" not in kernels[name].format and FILLED not in measured[name].remarks
        ]
        other = next((name for name in (*sparse, *by_time) if name != dense[0]), dense[0])
        one, two = measured[dense[0]].samples, measured[other].samples
        return order_half_width(np.log(one) - np.log(two)) if len(one) == len(two) else 0.0


class Measuring:
    """The workers and operands of a sweep, and what its rows have in common."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        run_id: str,
        kernels: Mapping[str, Kernel],
        dataset: mnist.Dataset,
    ) -> None:
        self.plan, self.store, self.run_id, self.kernels = plan, store, run_id, kernels
        self._operands = OperandSource(dataset)
        self._workers: dict[int, Worker] = {}
        self._best_canary_s = float("inf")
        self._visits = 0
        #: Seconds that the kernels kept the machine busy, and rows written.
        self.busy_s = 0.0
        self.rows_written = 0

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers.values():
            worker.close()

    def visit(self, visited: Visited, names: list[str], budget_s: float) -> None:
        """Measure ``names`` in a cell for ``budget_s``, and write the rows of all there is of it.

        A kernel that failed there before has had its chance.
        """
        cell, model = visited.cell, visited.model
        load = psutil.getloadavg()[0]
        first = not visited.outcomes
        running = names if first else [n for n in names if visited.outcomes[n].status == "measured"]
        for name, outcome in self._outcomes(cell, model, running, budget_s).items():
            self.busy_s += outcome.busy_s
            before = visited.outcomes.get(name)
            visited.outcomes[name] = before.joined(outcome) if before else outcome
        medians = [np.median(o.canary) for o in visited.outcomes.values() if o.canary]
        self._best_canary_s = min([self._best_canary_s, *medians])
        shared = _shared_fields(cell, model) | {"load": load}
        rows = [
            kernel_row(shared, self.kernels[name], outcome, self._best_canary_s)
            for name, outcome in visited.outcomes.items()
        ]
        self.store.add_cell(self.run_id, rows)
        self.rows_written += len(rows) if first else 0

    def _outcomes(
        self, cell: Cell, model: TrainedModel, names: list[str], budget_s: float
    ) -> dict[str, Outcome]:
        if reason := too_large(model.network, cell.layer_index, cell.batch):
            return {name: Outcome("skipped", reason) for name in names}
        given = self._operands.of(model, cell)
        worker = self._workers.setdefault(
            cell.threads, Worker(cell.threads, self.plan.modules, self.plan.time_limit_s)
        )
        self._visits += 1
        return worker.measure(
            Task(
                cell.pass_,
                model.states[cell.layer_index].weight,
                given.x,
                given.dy,
                names,
                budget_s,
                seed=[int(cell.cell_id, 16), self.plan.seed, self._visits],
                cold=cell.temperature == "cold",
            )
        )


def _shared_fields(cell: Cell, model: TrainedModel) -> dict[str, Any]:
    """Return what the rows of a cell's kernels have in common."""
    weight = model.states[cell.layer_index].weight
    m, k = weight.shape
    return {
        "cell_id": cell.cell_id,
        "network": cell.network,
        "pruning": model.recipe.pruning,
        "scope": model.recipe.scope,
        "network_sparsity": cell.network_sparsity,
        "accuracy": model.accuracy,
        "layer": cell.layer,
        "layer_index": cell.layer_index,
        "m": m,
        "k": k,
        "batch": cell.batch,
        "n": model.network.layers[cell.layer_index].columns(cell.batch),
        "nnz": weight.nnz,
        "sparsity": weight.sparsity,
        "format_bytes": bytes_by_format(weight),
        "pass_": cell.pass_,
        "dtype": cell.dtype,
        "threads": cell.threads,
        "temperature": cell.temperature,
        "measured_at": datetime.now(UTC).isoformat(timespec="microseconds"),
    }


def kernel_row(
    shared: dict[str, Any], kernel: Kernel, outcome: Outcome, best_canary_s: float
) -> Row:
    """Return the row of one kernel in a cell; ``shared`` are the fields that all its rows have."""
    evidence = Evidence(
        outcome.samples,
        outcome.visits,
        outcome.loops,
        outcome.canary,
        best_canary_s,
        shared["load"],
        machine.available_cores(),
        outcome.threading_layer,
        EXPOSED in outcome.remarks,
    )
    arithmetic = kernel.arithmetic.get(shared["dtype"])
    found = vars(outcome).copy()
    del found["inside_samples"]  # of a training step, never of a cell
    return Row(
        kernel=kernel.name,
        title=kernel.title,
        device=kernel.device,
        format=kernel.format,
        arithmetic=arithmetic.name if arithmetic else "",
        doubts=raised(evidence),
        **shared,
        **found,
    )
