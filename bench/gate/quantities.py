"""What the gate compares: times of a kernel in a workload, and crossovers, each under a name."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crossover.bench.records.rows import ProblemRecord, Row, Visit

BASE, CONTROL, HEAD = SIDES = "base", "control", "head"

#: Groups of the workloads.
GROUP, CROSSOVER_GROUP = "gate", "gate crossover"
#: Sparsities that a crossover is looked for at.
CROSSOVER_SPARSITIES = tuple(round(0.05 * step, 2) for step in range(20))
#: Where base is scanned for its crossover. Then all sides are timed at the same five sparsities
#: around it, and a visit to each yields a crossover of each side: the three share the state of the
#: machine, so their differences are known far better than they are.
SCAN = (*CROSSOVER_SPARSITIES[::4], CROSSOVER_SPARSITIES[-1])


@dataclass(frozen=True)
class Cell:
    """A kernel in a workload: what is timed, compared, and kept under its name."""

    kernel: str
    layer: str
    computes: str
    batch: int
    sparsity: float
    workload_id: str

    @classmethod
    def recorded(cls, kernel: str, problem: ProblemRecord) -> Cell:
        """Return the cell of a workload that was measured."""
        return cls(
            kernel, problem.layer, problem.computes, problem.batch, problem.network_sparsity,
            problem.workload_id,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """Return it in a few words: what tables, histories and other tools call it."""
        return f"{self.kernel} {self.layer} {self.computes} batch {self.batch}"

    @property
    def digest(self) -> str:
        """Return the hash of the workload: a changed one is another quantity."""
        return self.workload_id[:12]


@dataclass(frozen=True)
class Crossover:
    """The crossover of a kernel with the fastest dense one, over the sparsities of a workload."""

    kernel: str
    layer: str
    batch: int
    #: Of the workload at any sparsity.
    digest: str

    @classmethod
    def recorded(cls, kernel: str, problem: ProblemRecord) -> Crossover:
        """Return the crossover that a problem is a sparsity of."""
        return cls(kernel, problem.layer, problem.batch, _digest_at_any_sparsity(problem.recipe))

    @property
    def name(self) -> str:
        """Return it in a few words, which say what it is a crossover with, and on what."""
        return (
            f"{self.kernel} {self.layer} forward batch {self.batch} over the fastest dense kernel, "
            "drawn row-skewed pattern"
        )


def _digest_at_any_sparsity(recipe: dict[str, Any]) -> str:
    weights = {name: value for name, value in recipe["weights"].items() if name != "sparsity"}
    content = json.dumps(recipe | {"weights": weights}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def kernel_name(side: str, kernel: str) -> str:
    """Return what a side's kernel is called in a race."""
    return f"{side}:{kernel}"


def by_kernel(visit: Visit) -> Iterator[tuple[str, dict[str, Row]]]:
    """Yield each kernel of a visit with the rows of its sides."""
    found: dict[str, dict[str, Row]] = defaultdict(dict)
    for name, row in visit.rows.items():
        side, _, kernel = name.partition(":")
        found[kernel][side] = row
    yield from found.items()
