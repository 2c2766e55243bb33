"""The sweep: which cells there are, which are missing, and measuring those."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psutil

from bench import machine
from bench.ceilings import measure
from bench.cells import TRAINING_KERNEL, Cell, OperandSource, Plan, cells_of, check
from bench.flags import Evidence, raised
from bench.progress import Progress, Report, ignore, training_progress
from bench.records import Row, Run, Store
from bench.worker import Outcome, Task, Worker, in_fresh_process
from bench.workloads import execution, mnist, models
from bench.workloads.models import Recipe, TrainedModel
from kernels.base import Kernel, discover
from kernels.formats import bytes_by_format


@dataclass(frozen=True)
class Result:
    """What a sweep did."""

    run_id: str
    rows_written: int
    rows_kept: int
    #: (network, layer, pass, kernel, reason) of each wrong result of the run.
    wrong: tuple[tuple[str, str, str, str, str], ...]
    rows_measured: int


def sweep(
    plan: Plan,
    store: Store,
    command: str,
    report: Report = ignore,
    fresh: bool = False,
) -> Result:
    """Measure every cell of ``plan`` that ``store`` has no row of, and return what was done.

    ``fresh`` measures all of them again, as a run of its own.

    Raises:
        InputError: if the plan is not possible, or results cannot be written.
    """
    kernels = check(plan)
    dataset = mnist.load(plan.data)
    plan = replace(plan, threads=plan.threads or (machine.available_cores(),))
    run = _run(plan, command, fresh)
    if not store.has_run(run.run_id):
        report(Progress("ceilings", "what this machine can do", 0.0, 1.0))
        measured = {str(t): asdict(in_fresh_process(measure, t)) for t in plan.threads}
        store.add_run(replace(run, ceilings=measured))
    trained = _trained(plan, dataset, report)
    cells = [(cell, model) for model in trained for cell in cells_of(plan, model)]
    done = store.measured(run.run_id)
    todo = [
        (cell, model, missing)
        for cell, model in cells
        if (missing := [name for name in kernels if (cell.cell_id, name) not in done])
    ]
    written = _measure_all(plan, store, run.run_id, kernels, dataset, todo, report)
    return _result(store, run.run_id, {cell.cell_id for cell, _ in cells}, kernels, written)


def _run(plan: Plan, command: str, fresh: bool) -> Run:
    """Return the run that rows measured now belong to."""
    started = datetime.now(UTC).isoformat(timespec="microseconds")
    conditions: dict[str, Any] = {
        "machine": machine.identity(),
        "versions": machine.versions(),
        "code": machine.code_digest(),
        "modules": plan.modules,
        "seed": plan.seed,
        "fresh": started if fresh else "",
    }
    run_id = hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()[:16]
    return Run(
        run_id=run_id,
        started=started,
        command=command,
        revision=machine.revision(),
        code=conditions["code"],
        machine=conditions["machine"],
        versions=conditions["versions"],
        seed=plan.seed,
        ceilings={},
    )


def _trained(plan: Plan, dataset: mnist.Dataset, report: Report) -> list[TrainedModel]:
    """Return every network of the plan at every sparsity, lowest first."""
    kernel = discover()[TRAINING_KERNEL]
    recipes = [
        Recipe(name, dataset.digest, sparsity, plan.pruning, plan.scope, plan.seed)
        for name in plan.models
        for sparsity in sorted(set(plan.sparsities))
    ]
    tell = training_progress(recipes, report)
    return [models.obtain(recipe, dataset, kernel, tell) for recipe in recipes]


def _measure_all(
    plan: Plan,
    store: Store,
    run_id: str,
    kernels: Mapping[str, Kernel],
    dataset: mnist.Dataset,
    todo: Sequence[tuple[Cell, TrainedModel, list[str]]],
    report: Report,
) -> int:
    """Measure the cells of ``todo``; return how many rows were written."""
    end = time.monotonic() + plan.budget_s
    operands = OperandSource(dataset)
    workers: dict[int, Worker] = {}
    written, best_canary_s = 0, float("inf")
    try:
        for position, (cell, model, names) in enumerate(todo):
            title = f"{cell.network} {100 * cell.network_sparsity:.4g} % {cell.layer} {cell.pass_}"
            report(Progress("measure", title, position, len(todo)))
            share = max(0.0, end - time.monotonic()) / (len(todo) - position)
            worker = workers.setdefault(
                cell.threads, Worker(cell.threads, plan.modules, plan.time_limit_s)
            )
            given = operands.of(model, cell)
            seed = int(cell.cell_id, 16) ^ plan.seed
            weight = model.states[cell.layer_index].weight
            load = psutil.getloadavg()[0]
            outcomes = worker.measure(
                Task(
                    cell.pass_,
                    weight,
                    given.x,
                    given.dy,
                    names,
                    share,
                    seed,
                    cold=cell.temperature == "cold",
                )
            )
            shared = _shared_fields(cell, model, given) | {"load": load}
            best_canary_s = min(
                [best_canary_s, *(np.median(o.canary) for o in outcomes.values() if o.canary)]
            )
            rows = [_row(shared, kernels[n], cell, outcomes[n], best_canary_s) for n in names]
            store.add_cell(run_id, rows)
            written += len(rows)
        report(Progress("measure", "done", len(todo), len(todo)))
    finally:
        for worker in workers.values():
            worker.close()
    return written


def _shared_fields(
    cell: Cell, model: TrainedModel, given: execution.LayerOperands
) -> dict[str, Any]:
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
        "n": given.x.shape[1],
        "nnz": weight.nnz,
        "sparsity": weight.sparsity,
        "format_bytes": bytes_by_format(weight),
        "pass_": cell.pass_,
        "dtype": cell.dtype,
        "threads": cell.threads,
        "temperature": cell.temperature,
        "measured_at": datetime.now(UTC).isoformat(timespec="microseconds"),
    }


def _row(
    shared: dict[str, Any], kernel: Kernel, cell: Cell, outcome: Outcome, best_canary_s: float
) -> Row:
    evidence = Evidence(
        outcome.samples,
        outcome.loops,
        outcome.canary,
        best_canary_s,
        shared["load"],
        machine.available_cores(),
        outcome.threading_layer,
    )
    arithmetic = kernel.arithmetic.get(cell.dtype)
    return Row(
        kernel=kernel.name,
        title=kernel.title,
        device=kernel.device,
        format=kernel.format,
        arithmetic=arithmetic.name if arithmetic else "",
        doubts=raised(evidence),
        **shared,
        **vars(outcome),
    )


def _result(
    store: Store, run_id: str, cells: set[str], kernels: Mapping[str, Kernel], written: int
) -> Result:
    frame = store.frame(run_id)
    asked = frame[frame["cell_id"].isin(cells) & frame["kernel"].isin(list(kernels))]
    wrong = asked[asked["status"] == "wrong"]
    columns = ["network", "layer", "pass_", "kernel", "reason"]
    return Result(
        run_id=run_id,
        rows_written=written,
        rows_kept=len(asked) - written,
        wrong=tuple(wrong[columns].itertuples(index=False, name=None)),
        rows_measured=int((asked["status"] == "measured").sum()),
    )
