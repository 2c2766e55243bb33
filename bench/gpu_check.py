"""Everything a GPU is asked once: right results, ceilings, times, crossovers; into one folder.

The stages run in the order of what they decide, until the budget ends; what is left out then is
listed by name. Each answer is on disk before the next is asked, and the same command goes on from
there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from crossover.bench import cuda_ceilings, gpu_conversions, machine
from crossover.bench.cells import TRAINING_KERNEL
from crossover.bench.errors import InputError
from crossover.bench.gpu_cells import Carrier, GpuCell, measure_cell, tiers
from crossover.bench.gpu_contract import SHAPES, Examination, HardShape
from crossover.bench.gpu_findings import Checks, resumed, save
from crossover.bench.gpu_training import TrainingCheck
from crossover.bench.progress import Progress, Report, ignore
from crossover.bench.records import Run
from crossover.bench.sources import Trained, dense_recipe
from crossover.bench.store import FILE_NAME, Store
from crossover.bench.sweep import new_run
from crossover.bench.trial import Job, Outcome
from crossover.bench.worker import Worker, in_fresh_process
from crossover.bench.workloads import mnist, models
from crossover.kernels import discover
from crossover.kernels.base import Kernel

#: What does not run without a GPU, in words.
STAGES = (
    "correctness at real sizes", "training", "conversions", "ceilings", "timing", "crossovers",
)  # fmt: skip
# Of the budget, for correctness at most; and seconds kept back for the report.
_CONTRACT_SHARE = 0.4
_REPORT_S = 45.0
_TIME_LIMIT_S = 90.0


@dataclass(frozen=True)
class Inquiry:
    """What is asked."""

    #: Seconds for all of it.
    budget_s: float = 600.0
    seed: int = 0
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tools:
    """What a check runs with; the tests put stand-ins here."""

    carrier: Carrier
    ceilings: Callable[[], Any]
    conversions: Callable[[], list[gpu_conversions.Conversion]]


def cuda_kernels(modules: tuple[str, ...] = ()) -> dict[str, Kernel]:
    """Return every CUDA kernel there is, by name."""
    try:
        return {n: k for n, k in discover(modules).items() if k.device == "cuda"}
    except ValueError as error:
        raise InputError(str(error)) from error


def refuse_without_gpu(reason: str | None, kernels: Mapping[str, Kernel]) -> None:
    """Raise if there is no GPU, saying what was not checked.

    Raises:
        InputError: if ``reason`` says why there is none.
    """
    if reason:
        raise InputError(
            f"gpu-check needs an NVIDIA GPU: {reason.rstrip('.')}; not run, for {len(kernels)} "
            f"CUDA kernels: {', '.join(STAGES)}"
        )


def tools_of(inquiry: Inquiry) -> Tools:
    """Return a worker process, and fresh processes for what is measured once."""
    environment_threads = machine.available_cores()
    worker = Worker(environment_threads, inquiry.modules, _TIME_LIMIT_S)
    return Tools(
        worker,
        lambda: in_fresh_process(cuda_ceilings.measure),
        lambda: in_fresh_process(gpu_conversions.measure),
    )


def check(
    inquiry: Inquiry, folder: Path, command: str, tools: Tools, report: Report = ignore
) -> Checks:
    """Check the GPU into ``folder`` until the budget ends, and return what was found.

    Raises:
        InputError: if the folder cannot be written.
    """
    begin = time.monotonic()
    kernels = cuda_kernels(inquiry.modules)
    absent = {name: why for name, kernel in kernels.items() if (why := kernel.unavailable())}
    running = {name: kernel for name, kernel in kernels.items() if name not in absent}
    store = Store(folder / FILE_NAME)
    run = new_run(command, inquiry.seed, inquiry.modules)
    checks = resumed(folder, run.run_id)
    checks.absent, checks.left_out = absent, {}
    state = _State(inquiry, folder, tools, report, running, store, run, checks, begin)
    try:
        state.contract(begin + _CONTRACT_SHARE * inquiry.budget_s)
        state.ceilings()
        state.train()
        state.convert()
        state.time()
    finally:
        checks.seconds += time.monotonic() - begin
        save(folder, checks)
        tools.carrier.close()
        store.close()
    return checks


@dataclass
class _State:
    """A check in progress."""

    inquiry: Inquiry
    folder: Path
    tools: Tools
    report: Report
    kernels: dict[str, Kernel]
    store: Store
    run: Run
    checks: Checks
    begin: float

    @property
    def left_s(self) -> float:
        """Return the seconds that are left, those for the report kept back."""
        return self.begin + self.inquiry.budget_s - _REPORT_S - time.monotonic()

    def contract(self, end: float) -> None:
        """Examine every kernel on every shape that was not examined yet."""
        for position, shape in enumerate(SHAPES):
            self.report(Progress("correctness", shape.name, position, len(SHAPES)))
            known = self.checks.examined.get(shape.name, {})
            missing = [name for name in self.kernels if name not in known]
            if not missing:
                continue
            if time.monotonic() >= end or self.left_s <= 0:
                self._left_out("correctness at real sizes", shape.name)
                continue
            self.checks.examined[shape.name] = known | self._examined(shape, missing)
            save(self.folder, self.checks)
        self.report(Progress("correctness", "done", 1, 1))

    def ceilings(self) -> None:
        """Measure what the GPU can do, once per run."""
        if not self.store.has_run(self.run.run_id):
            self.report(Progress("ceilings", "what this GPU can do", 0, 1))
            self.run = replace(self.run, ceilings={"cuda": asdict(self.tools.ceilings())})
            self.store.add_run(self.run)

    def train(self) -> None:
        """Train a few steps by every kernel that did not yet."""
        missing = [name for name in self.kernels if name not in self.checks.trained]
        if missing and self.left_s <= 0:
            self._left_out("training", *missing)
        elif missing:
            self.report(Progress("training", f"{len(missing)} kernels", 0, 1))
            done = self._carried_out(TrainingCheck(missing, self.checks.seed))
            self.checks.trained |= done
            save(self.folder, self.checks)

    def convert(self) -> None:
        """Time the conversions."""
        if self.checks.conversions:
            return
        if self.left_s <= 0:
            self._left_out("conversions", "all")
            return
        self.report(Progress("conversions", "host and GPU, dense and CSR", 0, 1))
        self.checks.conversions = [asdict(each) for each in self.tools.conversions()]
        save(self.folder, self.checks)

    def time(self) -> None:
        """Time cell after cell, the most important first, until the time is up."""
        kernels = self._steady()
        measured = self.store.measured(self.run.run_id)
        planned = tiers(self.inquiry.seed)
        total = sum(len(cells) for cells in planned.values())
        position = 0
        for tier, cells in planned.items():
            for cell in cells:
                position += 1
                missing = {n: k for n, k in kernels.items() if (cell.cell_id, n) not in measured}
                if not missing:
                    continue
                if self.left_s <= 0 or not self._operands_are_there(cell):
                    self._left_out(f"timing: {tier}", cell.title)
                    continue
                self.report(Progress("timing", cell.title, position, total))
                threads = machine.available_cores()
                carrier, run_id = self.tools.carrier, self.run.run_id
                seed = self.inquiry.seed + position
                measure_cell(cell, missing, carrier, self.store, run_id, threads, seed)
        self.report(Progress("timing", "done", 1, 1))

    def _steady(self) -> dict[str, Kernel]:
        """Return the kernels that cost no examination its process: each such costs a minute.

        One that was wrong somewhere takes part: a cell in which it is wrong is not timed.
        """
        lost = {
            name
            for part in (*self.checks.examined.values(), self.checks.trained)
            for name, found in part.items()
            if found["status"] == "failed" and not found["reason"].startswith("raised ")
        }
        return {name: kernel for name, kernel in self.kernels.items() if name not in lost}

    def _operands_are_there(self, cell: GpuCell) -> bool:
        """Return whether a cell's network is trained; trains it on the CPU where time allows."""
        if not isinstance(cell.source, Trained):
            return True
        recipe = dense_recipe(cell.source.network, cell.source.seed)
        if models.checkpoint_path(recipe).exists():
            return True
        if self.left_s < _TRAINING_S:
            return False
        self.report(Progress("train", recipe.title, 0, 1))
        models.obtain(recipe, mnist.load(), discover()[TRAINING_KERNEL])
        return True

    def _examined(self, shape: HardShape, names: list[str]) -> dict[str, dict[str, Any]]:
        return self._carried_out(Examination(shape, names, self.checks.seed))

    def _carried_out(self, job: Job) -> dict[str, dict[str, Any]]:
        return {name: _kept(found) for name, found in self.tools.carrier.measure(job).items()}

    def _left_out(self, stage: str, *titles: str) -> None:
        self.checks.left_out.setdefault(stage, []).extend(titles)


# A dense network of MNIST is trained on the CPU within about so many seconds.
_TRAINING_S = 120.0


def _kept(outcome: Outcome) -> dict[str, Any]:
    return {"status": outcome.status, "reason": outcome.reason, "remarks": outcome.remarks}
