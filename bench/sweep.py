"""The sweep: which cells there are, which are missing, and measuring those."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from crossover.bench import ceilings, cuda_ceilings, machine
from crossover.bench.cells import TRAINING_KERNEL, Cell, Plan, cells_of, check
from crossover.bench.measuring import Measuring, Visited
from crossover.bench.progress import Progress, Report, ignore, training_progress
from crossover.bench.records import Run
from crossover.bench.store import Store
from crossover.bench.timing import PRECISION
from crossover.bench.worker import in_fresh_process
from crossover.bench.workloads import mnist, models
from crossover.bench.workloads.models import Recipe, TrainedModel
from crossover.kernels import discover
from crossover.kernels.base import Kernel
from crossover.kernels.cuda.device import cupy_unavailable

#: Of the budget, for a first look at every cell; the rest goes where the answers are widest.
_FIRST_SHARE = 0.6


@dataclass(frozen=True)
class Result:
    """What a sweep did."""

    run_id: str
    rows_written: int
    rows_kept: int
    #: (network, layer, pass, kernel, reason) of each wrong result of the run.
    wrong: tuple[tuple[str, str, str, str, str], ...]
    rows_measured: int
    #: Seconds in which kernels kept the machine busy: all else is the harness's own.
    busy_s: float
    #: Seconds that the measuring took, without training and ceilings.
    measuring_s: float


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
    run = new_run(command, plan.seed, plan.modules, fresh)
    if not store.has_run(run.run_id):
        report(Progress("ceilings", "what this machine can do", 0.0, 1.0))
        store.add_run(replace(run, ceilings=ceilings_of(plan.threads)))
    trained = _trained(plan, dataset, report)
    cells = [(cell, model) for model in trained for cell in cells_of(plan, model)]
    done = store.measured(run.run_id)
    todo = [
        (cell, model, missing)
        for cell, model in cells
        if (missing := [name for name in kernels if (cell.cell_id, name) not in done])
    ]
    begin = time.monotonic()
    measuring = Measuring(plan, store, run.run_id, kernels, dataset)
    try:
        _measure_all(plan, todo, measuring, report)
    finally:
        measuring.close()
    taken_s = time.monotonic() - begin
    asked = {cell.cell_id for cell, _ in cells}
    return _result(store, run.run_id, asked, kernels, measuring, taken_s)


def ceilings_of(threads: Sequence[int]) -> dict[str, Any]:
    """Return what this machine can do: by number of threads, and ``cuda`` where there is a GPU."""
    measured = {str(t): asdict(in_fresh_process(ceilings.measure, t)) for t in threads}
    if cupy_unavailable() is None:
        measured["cuda"] = asdict(in_fresh_process(cuda_ceilings.measure))
    return measured


def new_run(command: str, seed: int, modules: Sequence[str] = (), fresh: bool = False) -> Run:
    """Return the run that rows measured now belong to; its ceilings are not measured yet."""
    started = datetime.now(UTC).isoformat(timespec="microseconds")
    conditions: dict[str, Any] = {
        "machine": machine.identity(),
        "versions": machine.versions(),
        "code": machine.code_digest(),
        "modules": tuple(modules),
        "seed": seed,
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
        seed=seed,
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
    todo: Sequence[tuple[Cell, TrainedModel, list[str]]],
    measuring: Measuring,
    report: Report,
) -> None:
    """Measure every cell of ``todo`` for a while; then go on where the answers are widest."""
    begin = time.monotonic()
    end = begin + plan.budget_s
    visited: list[tuple[Visited, list[str]]] = []
    for position, (cell, model, names) in enumerate(todo):
        report(Progress("measure", cell.title, position, len(todo)))
        left = max(0.0, end - time.monotonic() - (1 - _FIRST_SHARE) * plan.budget_s)
        visited.append((Visited(cell, model, {}), names))
        measuring.visit(*visited[-1], left / (len(todo) - position))
    report(Progress("measure", "done", len(todo), len(todo)))
    first, share_s = time.monotonic(), plan.budget_s / max(1, len(todo))
    while visited and time.monotonic() < end:
        widest, names = max(visited, key=lambda each: each[0].width(measuring.kernels))
        if widest.width(measuring.kernels) <= PRECISION:
            break
        spent = time.monotonic() - first
        report(Progress("refine", widest.cell.title, spent, end - first))
        measuring.visit(widest, names, min(share_s, end - time.monotonic()))
    report(Progress("refine", "done", 1.0, 1.0))


def _result(
    store: Store,
    run_id: str,
    cells: set[str],
    kernels: Mapping[str, Kernel],
    measuring: Measuring,
    taken_s: float,
) -> Result:
    frame = store.frame(run_id)
    asked = frame[frame["cell_id"].isin(cells) & frame["kernel"].isin(list(kernels))]
    wrong = asked[asked["status"] == "wrong"]
    columns = ["network", "layer", "pass_", "kernel", "reason"]
    return Result(
        run_id=run_id,
        rows_written=measuring.rows_written,
        rows_kept=len(asked) - measuring.rows_written,
        wrong=tuple(wrong[columns].itertuples(index=False, name=None)),
        rows_measured=int((asked["status"] == "measured").sum()),
        busy_s=measuring.busy_s,
        measuring_s=taken_s,
    )
