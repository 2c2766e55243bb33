"""Kernels that behave in known ways, for the harness: ``--kernel-module tests.fakes``.

All of them are NumPy's dense kernel with one thing changed. Those at the end cheat: each is right
when it is called first, and must be found out.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from crossover.bench.harness import clocks, race
from crossover.kernels.base import Problem, Weight
from crossover.kernels.cpu.numpy_dense import DenseKernel, DenseOperand


class Clock:
    """The races' clock, for which a pause is over at once.

    So a pause can be long beside what a busy machine adds to a call, in which other clocks drown.
    """

    def __init__(self) -> None:
        self.paused_s = 0.0
        #: Whether only pauses and its own readings move it: then nothing is left to chance.
        self.still = False

    def perf_counter(self) -> float:
        if self.still:
            self.paused_s += 1e-4
            return self.paused_s
        return time.perf_counter() + self.paused_s

    def pause(self, seconds: float) -> None:
        self.paused_s += seconds


CLOCK = Clock()
for timed in (clocks, race):
    vars(timed)["time"] = CLOCK


@dataclass
class FakeOperand(DenseOperand):
    """A dense W that says it holds its nonzeros alone."""

    nnz: int = 0

    @property
    def nbytes(self) -> int:
        return 8 * self.nnz

    @property
    def stored_entries(self) -> int:
        return self.nnz


class _DenseFake(DenseKernel):
    title = "Fake"
    device = "cpu"
    source = "tests"


class _Fake(_DenseFake):
    format = "csr"
    role = "ours"
    stores_zeros = False

    def prepare(self, weight: Weight) -> FakeOperand:
        return FakeOperand(np.array(weight.values, order="C"), nnz=weight.nnz)


class Quick(_Fake):
    """Honest, and as quick as NumPy."""

    name = "fake-quick"


class Slow(_Fake):
    name = "fake-slow"

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        CLOCK.pause(0.03)
        return super().forward(operand, x, out)


class Wrong(_Fake):
    name = "fake-wrong"

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        result = super().forward(operand, x, out)
        result[0, 0] += 1
        return result


class Unwritten(_Fake):
    """Leaves its output as it found it."""

    name = "fake-unwritten"

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        return out


class Raising(_Fake):
    name = "fake-raising"

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        raise RuntimeError("planted")


class RaisingLater(_Fake):
    """Fails in the middle of the race, after it was found right."""

    name = "fake-raising-later"

    def prepare(self, weight: Weight) -> FakeOperand:
        self.calls = 0
        return super().prepare(weight)

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        self.calls += 1
        if self.calls > 8:
            raise RuntimeError("planted later")
        CLOCK.pause(0.002)
        return super().forward(operand, x, out)


class NanOnce(_Fake):
    """Right when it is checked first, and when it is checked last."""

    name = "fake-nan-once"
    calls = 0

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        self.calls += 1
        CLOCK.pause(0.002)  # a sample is one call
        result = super().forward(operand, x, out)
        if self.calls % 9 == 0:
            result[-1, -1] = np.nan
        return result


class SlowingDown(_Fake):
    """Takes longer from call to call, and starts afresh in each visit."""

    name = "fake-slowing-down"

    def prepare(self, weight: Weight) -> FakeOperand:
        self.pause_s = 0.01
        return super().prepare(weight)

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        CLOCK.pause(self.pause_s)
        self.pause_s *= 1.03
        return super().forward(operand, x, out)


class Greedy(_Fake):
    """Asks for more memory than there is."""

    name = "fake-greedy"

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        return np.zeros(4 * psutil.virtual_memory().total, np.uint8)


class Vast(_Fake):
    """Would need more memory than there is."""

    name = "fake-vast"

    def needed_bytes(self, problem: Problem) -> int:
        return 4 * psutil.virtual_memory().total

    def prepare(self, weight: Weight) -> FakeOperand:
        raise AssertionError("was to be refused")


class Unsteady(_Fake):
    """Fastest of the sparse, and on the last layer never twice the same."""

    name = "fake-unsteady"

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        last = operand.values.shape[0] == 10
        CLOCK.pause(float(np.random.default_rng().lognormal(-5, 2)) if last else 0.0)
        return super().forward(operand, x, out)


class Hanging(_Fake):
    name = "fake-hanging"

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        time.sleep(3600)


class Crashing(_Fake):
    name = "fake-crashing"

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        os.abort()


class Leaving(_Fake):
    """Ends its process with an exit code."""

    name = "fake-leaving"

    def prepare(self, weight: Weight) -> FakeOperand:
        os._exit(9)


class Absent(_Fake):
    name = "fake-absent"

    def unavailable(self) -> str | None:
        return "The library of this fake was never written."


class Steady(_DenseFake):
    """A dense kernel of 20 ms."""

    name = "fake-steady"

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        CLOCK.pause(0.02)
        return super().forward(operand, x, out)


class Halving(_Fake):
    """A sparse kernel that takes as long as fake-steady at half the density."""

    name = "fake-halving"

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        density = np.count_nonzero(operand.values) / operand.values.size
        CLOCK.pause(0.04 * density)
        return super().forward(operand, x, out)


class Logging(_Fake):
    """Notes in a file each visit that it is prepared for."""

    name = "fake-logging"

    def prepare(self, weight: Weight) -> FakeOperand:
        with Path(os.environ["FAKE_LOG"]).open("a") as log:
            log.write("prepared\n")
        return super().prepare(weight)


class NoStep(_Fake):
    """Leaves its weights as they are."""

    name = "fake-no-step"

    def update(self, operand: DenseOperand, step: Any, rate: float) -> None:
        pass


class LostZeros(_Fake):
    """Updates what the pattern does not hold, too."""

    name = "fake-lost-zeros"
    keeps_zeros = True


class Forgetful(_Fake):
    """Updates as often as it is checked first, and never again."""

    name = "fake-forgetful"
    updates = 0

    def update(self, operand: DenseOperand, step: Any, rate: float) -> None:
        self.updates += 1
        if self.updates <= 2:
            super().update(operand, step, rate)


class ForwardOnly(_Fake):
    """Serves, and does not train."""

    name = "fake-forward"
    passes = ("forward",)


class _Cheat(_Fake):
    """Counts its calls, from 1, since it was prepared last."""

    calls = 0

    def prepare(self, weight: Weight) -> FakeOperand:
        self.calls = 0
        return super().prepare(weight)

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        self.calls += 1
        return self.cheat(operand, x, out)

    def cheat(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        return self.honest(operand, x, out)

    def honest(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        return np.matmul(operand.values, x, out=out)


class Fast(_Cheat):
    """Knows the answer after its first call."""

    name = "fake-fast"

    def cheat(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        if getattr(self, "known", None) is not x:
            self.known, self.answer = x, self.honest(operand, x, out)
        return self.answer


class KeepsFirst(_Cheat):
    """Keeps a copy of its first answer."""

    name = "fake-keeps-first"

    def cheat(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        if self.calls == 1:
            self.answer = self.honest(operand, x, out).copy()
        out[...] = self.answer
        return out


class KnowsAddress(_Cheat):
    """Recognises X by its address."""

    name = "fake-knows-address"

    def cheat(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        address = x.ctypes.data
        if self.calls == 1:
            self.answers: dict[int, Any] = {}
        if address not in self.answers:
            self.answers[address] = self.honest(operand, x, np.empty_like(out))
        return self.answers[address]


class SkipsSame(_Cheat):
    """Leaves its output alone when X is the array of the call before."""

    name = "fake-skips-same"
    last: Any = None

    def cheat(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        if self.calls == 1 or self.last is not x:
            self.honest(operand, x, out)
        self.last = x
        return out


class StopsWriting(_Cheat):
    """Writes nothing after its third call."""

    name = "fake-stops-writing"

    def cheat(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        return self.honest(operand, x, out) if self.calls <= 3 else out


class StopsRows(_Cheat):
    """Leaves out a quarter of the rows after its fifth call."""

    name = "fake-stops-rows"

    def cheat(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        last = len(out) - (len(out) // 4 if self.calls > 5 else 0)
        np.matmul(operand.values[:last], x, out=out[:last])
        return out


class Mends(_Cheat):
    """Looks for NaN in its output, and computes those rows alone after its first call."""

    name = "fake-mends"

    def cheat(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        rows = np.isnan(out).any(axis=1) | (self.calls == 1)
        out[rows] = operand.values[rows] @ x
        return out


class Lends(_Cheat):
    """Honest, and lets others know where its results are."""

    name = "fake-lends"
    lent: Any = None

    def cheat(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        Lends.lent = out
        return self.honest(operand, x, out)


class Steals(_Cheat):
    """Returns the result of another kernel."""

    name = "fake-steals"

    def cheat(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        if self.calls == 1 or Lends.lent is None or Lends.lent.shape != out.shape:
            return self.honest(operand, x, out)
        return Lends.lent


class Memoises(_Cheat):
    """Knows X by its content."""

    name = "fake-memoises"
    #: So often it must have seen X in calls one after the other.
    seen_before = 1
    #: What a call takes for an X that it does not know, and for one that it does.
    fresh_s, known_s = 0.02, 0.001
    content = b""

    def cheat(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        content = x.tobytes()
        if self.calls == 1 or content != self.content:
            self.content, self.seen = content, 0
        self.seen += 1
        if self.seen <= self.seen_before:
            CLOCK.pause(self.fresh_s)
            self.answer = self.honest(operand, x, out).copy()
        else:
            CLOCK.pause(self.known_s)
            out[...] = self.answer
        return out


class MemoisesShort(Memoises):
    """Takes so little that a sample has many calls."""

    name = "fake-memoises-short"
    fresh_s, known_s = 2e-4, 2e-5


class MemoisesLate(MemoisesShort):
    """Remembers an X only if it came in three calls in a row."""

    name = "fake-memoises-late"
    seen_before = 3


class GainsLittle(Memoises):
    """Saves 15 % on an X that it knows, on a clock that is still otherwise."""

    name = "fake-gains-little"
    fresh_s, known_s = 1.3e-4, 1e-4


class LearnsZeros(_Cheat):
    """Leaves out for ever the rows of X that were zero when it saw that array first."""

    name = "fake-learns-zeros"

    def cheat(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        if self.calls == 1:
            self.rows = np.flatnonzero(x.any(axis=1))
        return np.matmul(operand.values[:, self.rows], x[self.rows], out=out)


class FirstShape(_Cheat):
    """Right only for the first shape that it sees."""

    name = "fake-first-shape"
    first: tuple[int, ...] | None = None

    def cheat(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        self.first = self.first or x.shape
        self.honest(operand, x, out)
        if x.shape != self.first:
            out[-1] = 0
        return out


class Overwrites(_Cheat):
    """Uses X as scratch."""

    name = "fake-overwrites"

    def cheat(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        self.honest(operand, x, out)
        x[0, 0] = 7
        return out


class KeepsGradient(_Fake):
    """Keeps its first dY by its address, as if it had packed it."""

    name = "fake-keeps-gradient"

    def prepare(self, weight: Weight) -> FakeOperand:
        self.packed: dict[int, Any] = {}
        return super().prepare(weight)

    def backward_weight(self, operand: DenseOperand, dy: Any, x: Any, out: Any) -> Any:
        packed = self.packed.setdefault(dy.ctypes.data, dy.copy())
        return np.matmul(packed, x.T, out=out)


class KeepsTransposed(_Fake):
    """Keeps its first answer to a gradient of the same shape."""

    name = "fake-keeps-transposed"

    def prepare(self, weight: Weight) -> FakeOperand:
        self.answer: Any = None
        return super().prepare(weight)

    def backward_input(self, operand: DenseOperand, dy: Any, out: Any) -> Any:
        if self.answer is None:
            self.answer = np.matmul(operand.values.T, dy)
        out[...] = self.answer
        return out
