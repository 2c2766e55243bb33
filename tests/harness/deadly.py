"""Operands that end the process that makes them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from crossover.bench.workloads.matrices import RandomMatrix
from crossover.kernels.base import Weight


@dataclass(frozen=True)
class DeadlyMatrix(RandomMatrix):
    """Ends its process as long as the file ``log`` has fewer than ``deaths`` lines."""

    log: str = ""
    deaths: int = 0

    def weight(self) -> Weight:
        with Path(self.log).open("a+") as log:
            log.seek(0)
            if len(log.readlines()) < self.deaths:
                log.write("died\n")
                log.flush()
                os._exit(1)
        return super().weight()


@dataclass(frozen=True)
class RefusingMatrix(RandomMatrix):
    """Cannot be made."""

    def weight(self) -> Weight:
        raise FileNotFoundError("the operands are gone")
