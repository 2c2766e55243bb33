"""The examiner of one kernel in one pass over a weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from crossover.bench.harness.examination.examiner import finite, poison, spoil
from crossover.bench.harness.examination.operands import Content, Operands
from crossover.kernels.base import Arithmetic, Kernel, Pass
from crossover.kernels.oracle import Oracle
from crossover.kernels.verdicts import Verdict


class LayerExaminer:
    """Holds the results of a kernel's pass against the oracle of what its operands are now."""

    def __init__(
        self,
        kernel: Kernel,
        pass_: Pass,
        weight: Any,
        operands: Operands,
        contents: Sequence[Content],
        out: Any,
        rng: np.random.Generator,
    ) -> None:
        """Take the kernel's own operand of W, X and dY, what these may hold, and its output."""
        self._kernel, self._pass, self._weight = kernel, pass_, weight
        self._operands, self._contents, self._out = operands, contents, out
        self._rng = rng

    def poison(self) -> None:
        """Write fresh operands, and NaN to the output."""
        self._operands.renew()
        poison(self._kernel, self._out)

    def begin_turn(self, returned: Any, widely: bool) -> None:
        """Write fresh operands, and spoil the output and the array that was returned."""
        self._operands.renew(widely)
        self._spoil(returned)

    def renew(self) -> None:
        """Write fresh operands, widely."""
        self._operands.renew(widely=True)

    def rewrite(self) -> None:
        """Write the operands once more as they are."""
        self._operands.rewrite()

    def glance(self, result: Any) -> str | None:
        """Return what is wrong with the sums of the result's columns, or None.

        Of a weight gradient, whose layout is the kernel's own, whether all of it is finite.
        """
        local = self._kernel.local(result)
        if self._pass == "backward_weight":
            return finite(local)
        sums = local.sum(axis=0)
        return self._oracle.check_sums(
            self._pass,
            sums.get() if hasattr(sums, "get") else sums,
            self._arithmetic,
            self._operands.scale[1],
        )

    def check(self, result: Any) -> Verdict:
        """Return the oracle's verdict on all of the result."""
        host = (
            self._kernel.dense_gradient(self._weight, result)
            if self._pass == "backward_weight"
            else self._kernel.fetch(result)
        )
        return self._oracle.check(self._pass, host, self._arithmetic, self._operands.scale)

    def check_first(self, result: Any) -> Verdict:
        """Return the verdict on the first result, and on what became of X and dY."""
        verdict = self.check(result)
        if verdict.right and not self._operands.intact():
            return Verdict("it wrote to its operands X and dY", np.inf, np.inf)
        return verdict

    def change_kind(self, returned: Any) -> None:
        """Write operands whose zeros lie elsewhere, and spoil the output."""
        self._operands.fill(self._contents[1])
        self._operands.renew()
        self._spoil(returned)

    @property
    def _oracle(self) -> Oracle:
        return self._operands.content.oracle

    @property
    def _arithmetic(self) -> Arithmetic:
        return self._kernel.arithmetic[self._contents[0].x.dtype.name]

    def _spoil(self, returned: Any) -> None:
        spoil(self._kernel, self._out, self._rng)
        if returned is not None and returned is not self._out:
            spoil(self._kernel, returned, self._rng)
