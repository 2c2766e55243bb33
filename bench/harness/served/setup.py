"""A network and a batch of inputs that each engine runs, checked against a float64 reference.

Between timed samples the inputs change in place, each times a factor of its own, so that no engine
can know the answer; results are checked before, in one round while, and after they are timed. The
bound on the error follows from that of each product, carried through the layers.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np

from crossover.bench.harness import compilation
from crossover.bench.harness.clocks import HostClock
from crossover.bench.harness.examination.examiner import finite
from crossover.bench.harness.served.engines import Engine
from crossover.bench.harness.served.load import Load
from crossover.bench.harness.task import Description, PreparedCall, Task
from crossover.bench.records.rows import Row
from crossover.bench.workloads.learned import LearnedNetwork
from crossover.bench.workloads.recipes import ServedNetwork
from crossover.kernels.base import FP32, Array, Kernel
from crossover.kernels.processor import PAGE, aligned_empty
from crossover.kernels.serving import LayerPlan, Plan, files
from crossover.kernels.serving.network import Layer
from crossover.kernels.serving.plan import one_way
from crossover.kernels.verdicts import Float64, Verdict, compare, gamma

_OWN_STREAM = 1
#: The engine that computes no answer.
_GLUE = "glue"


class NetworkSetup:
    """What all engines share: the plan, the layers, and the inputs (n, features)."""

    def __init__(self, task: Task) -> None:
        """Read the planned network, and make the inputs."""
        workload = task.problem.workload
        assert isinstance(workload.weights, ServedNetwork | LearnedNetwork)
        if isinstance(workload.weights, ServedNetwork):
            self.callers = workload.weights.callers
            self.plan, self.layers = files.read(workload.weights.path)
        else:
            self.callers = 1
            self.plan, self.layers = _unplanned(workload.weights)
        self.inputs = np.ascontiguousarray(workload.weights.inputs(workload.batch))
        self.rng = np.random.default_rng([*task.seed, _OWN_STREAM])
        self._exact = [
            (each.weight.values.astype(np.float64), each.bias.astype(np.float64))
            for each in self.layers
        ]

    @property
    def description(self) -> Description:
        """Return the network as one problem: sums over its layers."""
        weights = [each.weight for each in self.layers]
        nnz, entries = sum(w.nnz for w in weights), sum(w.pattern.size for w in weights)
        n = len(self.inputs)
        sides = sum(sum(w.shape) for w in weights)
        return Description(
            m=self.plan.layers[-1].shape[0],
            k=self.plan.layers[0].shape[1],
            n=n,
            nnz=nnz,
            sparsity=1.0 - nnz / entries,
            zeros_x=float(np.mean(self.inputs == 0)),
            zeros_dy=0.0,
            useful_flops=2.0 * nnz * n,
            executed_flops=2.0 * entries * n,
            side_bytes=4 * sides * n,
            format_bytes={"dense": 4 * entries},
        )

    def prepare(self, kernel: Kernel) -> tuple[Row, PreparedCall | None]:
        """Return the row so far, and the call if the network's outputs are right."""
        assert isinstance(kernel, Engine)
        if reason := kernel.unavailable() or kernel.refuses(len(self.inputs)):
            return Row(kernel.name, "skipped", reason), None
        x = aligned_empty(self.inputs.shape, np.float32, PAGE)
        x[...] = self.inputs
        with compilation.stopwatch() as compiled:
            begin = time.perf_counter()
            built = kernel.build(self.plan, self.layers)
            prepare_s, compile_s = time.perf_counter() - begin, compiled()
        begin = time.perf_counter()
        with compilation.stopwatch() as compiled:
            result = built.run(x)
            first_call_s, more_s = time.perf_counter() - begin, compiled()
        answers = kernel.name != _GLUE
        examiner = NetworkExaminer(self, x, answers)
        verdict = examiner.check(result)
        row = Row(
            kernel.name,
            "measured" if verdict.right else "wrong",
            verdict.problem or "",
            prepare_s=prepare_s,
            first_call_s=first_call_s,
            compile_s=compile_s + more_s,
            nbytes=built.nbytes,
            stored_entries=sum(each.weight.nnz for each in self.layers),
            relative_error=verdict.relative_error,
            share_of_bound=verdict.share_of_bound,
            busy_s=prepare_s + first_call_s,
        )
        if not verdict.right:
            return row, None
        call = partial(built.run, x)
        if self.callers == 1:
            # A GPU's call, too: it begins and ends with arrays on the host.
            return row, PreparedCall(call, examiner, clock=HostClock())
        load = Load(self.callers)
        views = {"p50": load.latency(0.5), "p99": load.latency(0.99)}
        return row, PreparedCall(call, examiner, views, clock=load)

    def reference(self, inputs: Array) -> tuple[Float64, Float64]:
        """Return the outputs (n, outputs) of ``inputs`` in float64, and the bound on their error.

        An error e of a layer's inputs becomes at most |W| e, and rounding adds gamma(k + 1) times
        (|W| (|x| + e) + |b|); ReLU makes no error larger.
        """
        x = inputs.T.astype(np.float64)
        error: Float64 = np.zeros(x.shape)
        for (weight, bias), layer in zip(self._exact, self.plan.layers, strict=True):
            size = np.abs(weight)
            rounding = gamma(float(weight.shape[1] + 1), FP32.sum_roundoff)
            spread = size @ (np.abs(x) + error) + np.abs(bias)[:, None]
            x, error = weight @ x + bias[:, None], size @ error + rounding * spread
            if layer.relu:
                x = np.maximum(x, 0)
        return x.T, error.T


def _unplanned(learned: LearnedNetwork) -> tuple[Plan, list[Layer]]:
    """Return a network that was trained, and a plan that says no more than its layers."""
    trained = learned.trained()
    shapes = [(layer.name, layer.shape) for layer in trained.network.layers]
    layers = tuple(
        LayerPlan(name, shape, index < len(shapes) - 1)
        for index, (name, shape) in enumerate(shapes)
    )
    plan = one_way(trained.network.name, layers, "dense")
    return plan, [Layer(state.weight, state.bias) for state in trained.states]


class NetworkExaminer:
    """Renews the inputs of one engine, and judges its outputs."""

    def __init__(self, setup: NetworkSetup, x: Array, answers: bool) -> None:
        """Take the array ``x`` that the engine reads; ``answers`` says whether it computes any."""
        self._setup, self._x, self._answers = setup, x, answers
        self._kind = setup.inputs
        self._factors = np.ones((len(x), 1), np.float32)
        self._shown = np.array(setup.inputs)

    def begin_turn(self, returned: Any, widely: bool) -> None:
        """Show other inputs, and spoil the outputs of before."""
        self.renew()
        if returned is not None and returned.flags.writeable:
            returned.fill(np.nan)

    def renew(self) -> None:
        """Show each input times a factor of its own; what is zero stays zero."""
        self._factors = self._drawn()
        self._show(self._factors)

    def rewrite(self) -> None:
        """Show the inputs once more as they are; all else is done that renewing does.

        Not to several callers: how long one answer of theirs takes is chance, and would be taken
        for a sign that answers are kept.
        """
        drawn = self._drawn()
        self._factors = self._factors if self._setup.callers == 1 else drawn
        self._show(self._factors)

    def glance(self, result: Any) -> str | None:
        """Return whether the outputs are finite."""
        return finite(result) if self._answers else None

    def check(self, result: Any) -> Verdict:
        """Return the verdict on all outputs, and on what became of the inputs."""
        if not self._answers:
            return Verdict(None, 0.0, 0.0)
        if not np.array_equal(self._x, self._shown):
            return Verdict("it wrote to its inputs", np.inf, np.inf)
        exact, bound = self._setup.reference(self._shown)
        if result.shape != exact.shape:
            return Verdict(f"its outputs are {result.shape}, not {exact.shape}", np.inf, np.inf)
        return compare(result.astype(np.float64), exact, exact, bound)

    def change_kind(self, returned: Any) -> None:
        """Show inputs whose zeros lie elsewhere."""
        self._kind = np.roll(self._setup.inputs, 1, axis=1)
        self.begin_turn(returned, widely=True)

    def _drawn(self) -> Array:
        factors: Array = 1 - self._setup.rng.random(self._factors.shape, np.float32) / 2
        return factors

    def _show(self, factors: Array) -> None:
        np.multiply(self._kind, factors, out=self._shown)
        self._x[...] = self._shown
