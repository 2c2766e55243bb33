"""Questions about a crossover, and their answers as far as they were searched."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from crossover.bench.ceilings import Ceilings
from crossover.bench.cuda_ceilings import CudaCeilings
from crossover.bench.search import Probe, Search
from crossover.kernels.base import Pass

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Question:
    """Where does ``kernel`` cross over the fastest of ``baselines`` in one problem?"""

    layer: str
    layer_index: int
    shape: tuple[int, int]
    batch: int
    pass_: Pass
    #: Share of zeros in X and dY: drawn to be so, or None for the real ones.
    zeros: float | None
    threads: int
    kernel: str
    device: str
    baselines: tuple[str, ...]

    @property
    def title(self) -> str:
        """Return the question as a progress bar shows it."""
        return f"{self.layer} batch {self.batch} {self.pass_} {self.kernel}"


@dataclass
class Answer:
    """A question, its search, and what was seen of the operands on the way."""

    question: Question
    search: Search
    #: Per sparsity: (bytes of the operand, of the dense one, calls that repay ``prepare``).
    operands: dict[float, tuple[int, int, float]] = field(default_factory=dict)
    #: The shares of zeros there are in X and in dY; and columns of X.
    zeros_of: tuple[float, float] = (0.0, 0.0)
    columns: int = 0
    #: Why the search had to stop, if a kernel failed; ``wrong`` if its result was.
    failure: str = ""
    wrong: bool = False

    @property
    def begun(self) -> bool:
        """Return whether anything was measured."""
        return bool(self.operands)

    def memory_crossover(self) -> float | None:
        """Return the sparsity from which the operand is smaller than the dense one, or None.

        The bytes of a sparse format grow linearly with its density; for BSR, whose blocks fill
        up, this is where the line through the extremes crosses.
        """
        if len(self.operands) < 2:
            return None
        at_0, at_1 = self._bytes_at(0.0), self._bytes_at(1.0)
        if at_0 == at_1:
            return None
        place = (at_0 - self._dense_bytes) / (at_0 - at_1)
        return place if 0 <= place <= 1 else None

    def predicted(self, ceilings: Ceilings | CudaCeilings) -> float | None:
        """Return the crossover of two kernels at the ceilings, one dense and one in this format.

        Both take the time of their roofline: multiply-adds of what is stored, and compulsory
        bytes. None where the sparse one would never be faster, or too little is known.
        """
        if len(self.operands) < 2:
            return None
        (m, k), n = self.question.shape, self.columns
        sides = (m + k) * n * _FLOAT_BYTES
        dense = ceilings.bound_s(2.0 * m * k * n, self._dense_bytes + sides)
        for sparsity in np.linspace(0.0, 1.0, 1001):
            work = 2.0 * (1 - sparsity) * m * k * n
            if ceilings.bound_s(work, self._bytes_at(float(sparsity)) + sides) <= dense:
                return float(sparsity)
        return None

    def _bytes_at(self, sparsity: float) -> float:
        """Return the operand's bytes, on the line through those at the extreme sparsities."""
        (low, (at_low, _, _)), *_, (high, (at_high, _, _)) = sorted(self.operands.items())
        return at_low + (sparsity - low) * (at_high - at_low) / (high - low)

    @property
    def _dense_bytes(self) -> int:
        return min(dense for _, dense, _ in self.operands.values())

    def break_even(self) -> tuple[float, float] | None:
        """Return (sparsity, calls) at the highest sparsity, if the kernel is faster there."""
        if not self.begun:
            return None
        top = self.probes[-1]
        return (top.sparsity, self.operands[top.sparsity][2]) if top.verdict == "faster" else None

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Return what was measured, by sparsity."""
        if not self.begun:
            return ()
        return tuple(sorted(self.search.found().probes, key=lambda each: each.sparsity))
