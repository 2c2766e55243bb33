"""Whether measurements here can be trusted: the harness measured with what it measures.

Every check states what it holds the harness to, what it found, and whether that passed. This
module is also given to workers as a kernel module, for :class:`Castor` and
:class:`Pollux`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np

from crossover.bench import locate, machine, sweep
from crossover.bench.alternating import balanced_orders
from crossover.bench.cell_trial import Task
from crossover.bench.cells import TRAINING_KERNEL, Plan
from crossover.bench.intervals import Interval, median_interval, paired_speedup
from crossover.bench.locate import Inquiry
from crossover.bench.progress import Progress, Report
from crossover.bench.store import FILE_NAME, Store
from crossover.bench.worker import Worker, thread_environment
from crossover.bench.workloads import mnist, models
from crossover.bench.workloads.models import Recipe
from crossover.kernels import discover
from crossover.kernels.base import Weight
from crossover.kernels.cpu.numba_csr import CsrOperand, NumbaCsr
from crossover.kernels.processor import aligned, aligned_empty

Verdict = Literal["passed", "failed", "not decided", "not run"]
_REPETITIONS = 100
_CONTAINING = 93
_BIAS = 0.005
_AGREEMENT = 0.05
_OVERHEAD = 0.15
_BESIDE = 0.15
_VISITS = 8
_SHAPE, _SPARSITY, _BATCH = (300, 784), 0.9, 64
_KERNELS = ("numpy-dense", "scipy-csr", "numba-csr")


class _Twin(NumbaCsr):
    """A kernel that shares its operand with its twin: not even a place in memory differs."""

    _shared: ClassVar[tuple[Weight | None, CsrOperand | None]] = None, None

    def prepare(self, weight: Weight) -> CsrOperand:
        """Return the operand of ``weight``, the same to both twins."""
        known, operand = _Twin._shared
        if operand is None or known is not weight:
            operand = super().prepare(weight)
            _Twin._shared = weight, operand
        return operand


class Castor(_Twin):
    """The kernel itself."""

    name = "selfcheck-castor"
    title = "Numba CSR"


class Pollux(_Twin):
    """The kernel itself under another name."""

    name = "selfcheck-pollux"
    title = "Numba CSR again"


@dataclass(frozen=True)
class Check:
    """One thing that the harness is held to."""

    name: str
    holds_to: str
    found: str
    verdict: Verdict


def run(report: Report) -> Iterator[Check]:
    """Yield the outcome of each check, as it ends; together they take about six minutes."""
    checks: dict[str, Callable[[], Check]] = {
        "a kernel against itself": _against_itself,
        "beside others": _beside_others,
        "pyperf": _pyperf,
        "two searches": _two_searches,
        "overhead": _overhead,
    }
    for position, (name, check) in enumerate(checks.items()):
        report(Progress("selfcheck", name, position, len(checks)))
        yield check()
    report(Progress("selfcheck", "done", len(checks), len(checks)))


def call(kernel_name: str) -> Callable[[], Any]:
    """Return the forward call of the checks' problem, for pyperf: ``-s`` of its ``timeit``."""
    task, kernel = _task([kernel_name], 0), discover()[kernel_name]
    operand = kernel.prepare(task.weight)
    x, out = aligned(task.x), aligned_empty((_SHAPE[0], _BATCH), np.float32)
    return lambda: kernel.forward(operand, x, out)


def _task(kernels: list[str], seed: int, rounds: int = 20) -> Task:
    """Return a problem of the size of LeNet-300-100's first layer, with random operands."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal(_SHAPE, np.float32)
    values[rng.random(_SHAPE) < _SPARSITY] = 0
    x, dy = (rng.standard_normal((rows, _BATCH), np.float32) for rows in _SHAPE[::-1])
    weight = Weight.from_dense(values)
    return Task("forward", weight, x, dy, kernels, 0.0, seed, rounds=(rounds, rounds))


def _worker(environment: Mapping[str, str] | None = None) -> Worker:
    return Worker(machine.available_cores(), (__name__,), environment=environment)


def _against_itself() -> Check:
    """Compare a kernel with itself: the interval should contain 1, and nothing be preferred."""
    names, logs, containing = [Castor.name, Pollux.name], [], 0
    worker = _worker()
    try:
        for seed in range(_REPETITIONS):
            one, two = worker.measure(_task(names, seed, rounds=40)).values()
            speedup = paired_speedup(one.samples, two.samples)
            containing += speedup.low <= 1 <= speedup.high
            logs.append(np.log(speedup.median))
        placed = [_log_ratio(worker, [NumbaCsr.name, Castor.name], seed) for seed in range(30)]
    finally:
        worker.close()
    bias = abs(float(np.expm1(np.median(logs))))
    return Check(
        "a kernel against itself (A/A)",
        f"1 in at least {_CONTAINING} of {_REPETITIONS} intervals; a bias under {_BIAS:.1%}",
        f"1 in {containing}; a bias of {bias:.2%}. Where its operand lies elsewhere in memory, a "
        f"kernel differs from itself by {float(np.std(placed)):.1%} (standard deviation)",
        _passed(containing >= _CONTAINING and bias < _BIAS),
    )


def _log_ratio(worker: Worker, names: list[str], seed: int) -> float:
    one, two = worker.measure(_task(names, seed, rounds=40)).values()
    return float(np.median(np.log(one.samples) - np.log(two.samples)))


def _beside_others() -> Check:
    """Time a kernel alone and beside dense products, whose idle threads must not be in its way."""
    times: dict[str, list[float]] = {"alone": [], "beside": [], "default": []}
    ours = _worker()
    default = _worker(_only_counts(thread_environment(machine.available_cores())))
    try:
        alone, both = [NumbaCsr.name], ["numpy-dense", NumbaCsr.name]
        visited = (("alone", ours, alone), ("beside", ours, both), ("default", default, both))
        orders = balanced_orders(visited, _VISITS, np.random.default_rng(0))
        for seed, order in enumerate(orders):
            for key, worker, names in order:
                outcome = worker.measure(_task(names, seed))[NumbaCsr.name]
                times[key].append(float(np.median(outcome.samples)))
    finally:
        ours.close()
        default.close()
    alone_s, beside_s, default_s = (float(np.median(each)) for each in times.values())
    return Check(
        "a kernel beside dense products",
        f"within {_BESIDE:.0%} of its time alone",
        f"{beside_s / alone_s:.2f} of its time alone ({alone_s * 1e6:.0f} µs); with the libraries' "
        f"own settings for idle and bound threads {default_s / alone_s:.2f}",
        _passed(abs(beside_s / alone_s - 1) < _BESIDE),
    )


def _only_counts(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment without what it says of idle and bound threads."""
    return {name: value for name, value in environment.items() if name.endswith("_NUM_THREADS")}


def _pyperf() -> Check:
    """Compare medians with pyperf's, which times in processes of its own, in turn with ours."""
    name, holds_to = "medians against pyperf", f"within {_AGREEMENT:.0%} for {', '.join(_KERNELS)}"
    if importlib.util.find_spec("pyperf") is None:
        return Check(name, holds_to, "pyperf is not installed: nox -s selfcheck does", "not run")
    ratios: dict[str, list[float]] = {kernel: [] for kernel in _KERNELS}
    for seed in range(_VISITS):
        for kernel in _KERNELS:
            before, theirs = _our_values(kernel, seed), _pyperf_values(kernel)
            ours = np.sqrt(np.median(before) * np.median(_our_values(kernel, seed)))
            ratios[kernel].append(float(ours / np.median(theirs)))
    found = {kernel: median_interval(values) for kernel, values in ratios.items()}
    verdicts = [_agreement(each) for each in found.values()]
    verdict = next((v for v in ("failed", "not decided") if v in verdicts), "passed")
    shown = ", ".join(f"{k} {i.median:.3f} [{i.low:.2f}, {i.high:.2f}]" for k, i in found.items())
    return Check(name, holds_to, f"ours / theirs, in turn: {shown}", cast(Verdict, verdict))


def _agreement(ratio: Interval) -> Verdict:
    """Return whether a ratio is 1, as far as the noise lets it be known."""
    if abs(ratio.median - 1) < _AGREEMENT:
        return "passed"
    known = ratio.low > 1 + _AGREEMENT or ratio.high < 1 - _AGREEMENT
    return "failed" if known else "not decided"


def _our_values(kernel: str, seed: int) -> list[float]:
    """Return our seconds per call, from a process of their own, as pyperf's are."""
    worker = _worker()
    try:
        return worker.measure(_task([kernel], seed, rounds=60))[kernel].samples
    finally:
        worker.close()


def _pyperf_values(kernel: str) -> list[float]:
    """Return pyperf's seconds per call, from one process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pyperf.json"
        setup = f"from crossover.bench.selfcheck import call; f = call({kernel!r})"
        options = ["-p", "1", "-n", "5", "-w", "1", "--quiet", "-o", str(path)]
        environment = os.environ | thread_environment(machine.available_cores())
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(machine.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        command = [sys.executable, "-m", "pyperf", "timeit", *options, "-s", setup]
        inherited = ["--inherit-environ", ",".join(["PYTHONPATH", *thread_environment(1)])]
        subprocess.run(
            [*command, *inherited, "f()"], env=environment, check=True, capture_output=True
        )
        (found,) = json.loads(path.read_text())["benchmarks"]
        return [value for each in found["runs"] for value in each.get("values", [])]


def _two_searches() -> Check:
    """Search a crossover twice."""
    inquiry = Inquiry(layers=("fc1",), kernels=(NumbaCsr.name,), budget_s=40.0)
    first, second = (locate.locate(inquiry)[0].search.found().crossover for _ in range(2))
    overlap = first.low <= second.high and second.low <= first.high
    return Check(
        "two searches for one crossover",
        "the same kind of answer, and ranges that overlap",
        f"{first}, then {second} (lenet-300-100 fc1, batch 64, forward, {NumbaCsr.name})",
        _passed(first.kind == second.kind and overlap),
    )


def _overhead() -> Check:
    """Sweep as by default, and ask how much of the time went into kernels."""
    dataset, plan = mnist.load(), Plan()
    kernel = discover()[TRAINING_KERNEL]
    for sparsity in plan.sparsities:  # training is no part of what is asked
        models.obtain(Recipe(plan.models[0], dataset.digest, sparsity), dataset, kernel)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / FILE_NAME)
        result = sweep.sweep(plan, store, "selfcheck")
        store.close()
    overhead = 1 - result.busy_s / result.measuring_s
    return Check(
        "overhead of a default sweep",
        f"under {_OVERHEAD:.0%} outside conversions, warm-up, flushes and timed calls",
        f"{overhead:.1%} of {result.measuring_s:.0f} s of measuring",
        _passed(overhead < _OVERHEAD),
    )


def _passed(whether: bool) -> Verdict:
    return "passed" if whether else "failed"
