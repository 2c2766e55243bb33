"""What ``gpu-check`` times, in the order of what it decides; one cell at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import numpy as np
import psutil

from crossover.bench.cell_trial import CellTable, Task, prepared
from crossover.bench.measuring import kernel_row
from crossover.bench.sources import Random, Source, Trained
from crossover.bench.store import Store
from crossover.bench.trial import Job, Outcome, measure
from crossover.bench.workloads.networks import network
from crossover.kernels.base import PASSES, Kernel, Pass, Weight
from crossover.kernels.formats import bytes_by_format

SQUARES, DLMC_LIKE = "random-squares", "dlmc-like"
BLOCK_SQUARES, HALF_SQUARES = "squares-of-blocks", "squares-2-of-4"
SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
SIDES = (512, 1024, 2048, 4096, 8192)
BATCHES = (1, 32, 128, 1024, 8192)
# Layers of the Transformer and the ResNet-50 of the Deep Learning Matrix Collection.
_SHAPES = ((512, 512), (2048, 512), (512, 2048), (256, 2304))
_TARGET_SPARSITIES = (0.7, 0.8, 0.9, 0.95, 0.98)
_ROUNDS = (6, 12)
_SHARE_S = 0.1
# Of a result with more entries than this so many rows are checked.
_LARGE, _CHECKED_ROWS = 1 << 22, 64


@dataclass(frozen=True)
class GpuCell:
    """One problem; its identity is that of its rows."""

    source: Source
    batch: int
    pass_: Pass = "forward"
    cold: bool = False

    @property
    def title(self) -> str:
        """Return the cell as a progress bar, and the list of what was left out, show it."""
        caches = ", cold" if self.cold else ""
        where = f"{self.source.network} {self.source.layer} {100 * self.source.sparsity:g} %"
        return f"{where}, batch {self.batch}, {self.pass_}{caches}"

    @property
    def cell_id(self) -> str:
        """Return the hash that names the cell in the records."""
        content = {**asdict(self), "source": repr(self.source)}
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


class Carrier(Protocol):
    """What carries jobs out: a :class:`.worker.Worker`, or a stand-in of the tests."""

    def measure(self, task: Job) -> dict[str, Outcome]:
        """Return the outcome of every kernel of ``task``."""

    def close(self) -> None:
        """End it."""


@dataclass(frozen=True)
class CellTask:
    """A cell as the worker gets it: it makes the operands there, and keeps what it converted."""

    cell: GpuCell
    kernels: Sequence[str]
    seed: int

    def carry_out(
        self, kernels: Mapping[str, Kernel], take_turn: Callable[[str], None]
    ) -> dict[str, Outcome]:
        """Return the outcome of every kernel."""
        cell = self.cell
        weight, given = cell.source.weight(), cell.source.operands(cell.batch)
        sides = {"forward": (weight.shape[0], given.x.shape[1]), "backward_weight": weight.shape}
        m, n = sides.get(cell.pass_, (weight.shape[1], given.x.shape[1]))
        task = Task(
            cell.pass_,
            weight,
            given.x,
            given.dy,
            self.kernels,
            _SHARE_S,
            self.seed,
            _ROUNDS,
            cell.cold,
            _CHECKED_ROWS if m * n > _LARGE else 0,
        )
        return measure(task, kernels, take_turn, CellTable(task, _Kept(cell.source)))


class _Kept:
    """Prepares each kernel's operand once per source; those of the last source are kept."""

    _source: ClassVar[Source | None] = None
    _operands: ClassVar[dict[str, tuple[Any, float, float]]] = {}

    def __init__(self, source: Source) -> None:
        if source != _Kept._source:
            _Kept._source = source
            _Kept._operands.clear()

    def __call__(self, kernel: Kernel, weight: Weight) -> tuple[Any, float, float]:
        if kernel.name in self._operands:
            operand, prepare_s, _ = self._operands[kernel.name]
            return operand, prepare_s, 0.0
        self._operands[kernel.name] = prepared(kernel, weight)
        return self._operands[kernel.name]


def tiers(seed: int) -> dict[str, list[GpuCell]]:
    """Return the cells by what they are for, most important first; cells of a weight together."""

    def squares(
        sides: Iterable[int], sparsities: Iterable[float], batches: Iterable[int], *passes: Pass
    ) -> list[GpuCell]:
        return [
            GpuCell(Random(SQUARES, side, side, sparsity, seed), batch, pass_)
            for side in sides
            for sparsity in sparsities
            for batch in batches
            for pass_ in passes or ("forward",)
        ]

    large = Random(SQUARES, 4096, 4096, 0.9, seed)
    from_memory = [
        GpuCell(Random(SQUARES, side, side, 0.9, seed), 1, "forward", cold=True)
        for side in (4096, 8192)
    ]
    layers = [
        GpuCell(Random(DLMC_LIKE, m, k, sparsity, seed), batch, pass_)
        for m, k in _SHAPES
        for sparsity in _TARGET_SPARSITIES
        for batch in (128, 1024)
        for pass_ in PASSES
        if pass_ != "backward_input"
    ]
    structured = [
        GpuCell(Random(BLOCK_SQUARES, side, side, sparsity, seed, "blocks"), batch, "forward")
        for side in (2048, 4096)
        for sparsity in (0.5, 0.7, 0.8, 0.9, 0.95)
        for batch in (128, 1024)
    ] + [
        GpuCell(Random(HALF_SQUARES, side, side, 0.5, seed, "2 of 4"), batch, "forward")
        for side in (2048, 4096)
        for batch in (1, 128, 1024)
    ]
    found = {
        "the rate at 90 %, and batch 1 from memory": [GpuCell(large, 1024), *from_memory],
        "layers like DLMC's": layers,
        "crossovers of large layers": squares((2048, 4096), SPARSITIES, (128, 1024)),
        "LeNet-300-100": _network("lenet-300-100", BATCHES, ("forward",), seed),
        "pruned in blocks of 32, and 2 of 4": structured,
        "squares of 8192": squares((8192,), (0.5, 0.7, 0.8, 0.9, 0.98), (128, 1024)),
        "batch 1 and 32": squares(SIDES, (0.5, 0.7, 0.9, 0.98), (1, 32)),
        "squares of 512 and 1024": squares((512, 1024), SPARSITIES, (128, 1024, 8192)),
        "the backward passes": squares(
            (1024, 4096), (0.5, 0.7, 0.9, 0.98), (128, 1024), "backward_input", "backward_weight"
        ),
        "the backward passes of LeNet-300-100": _network(
            "lenet-300-100", (128, 1024), PASSES[1:], seed
        ),
        "wide": _network("wide", (1, 128, 1024), ("forward",), seed),
        "LeNet-5": _network("lenet-5", (1, 128), ("forward",), seed),
        "all squares": squares(SIDES, SPARSITIES, BATCHES),
    }
    return _without_repeats(found)


def measure_cell(
    cell: GpuCell,
    kernels: Mapping[str, Kernel],
    carrier: Carrier,
    store: Store,
    run_id: str,
    threads: int,
    seed: int,
) -> dict[str, Outcome]:
    """Measure one cell, write its rows, and return the outcomes."""
    load = psutil.getloadavg()[0]
    outcomes = carrier.measure(CellTask(cell, list(kernels), seed))
    shared = _shared_fields(cell, threads) | {"load": load}
    best = min((np.median(o.canary) for o in outcomes.values() if o.canary), default=np.inf)
    rows = [kernel_row(shared, kernels[name], o, float(best)) for name, o in outcomes.items()]
    store.add_cell(run_id, rows)
    return outcomes


def _network(name: str, batches: Iterable[int], passes: Iterable[Pass], seed: int) -> list[GpuCell]:
    return [
        GpuCell(Trained(name, index, sparsity, seed), batch, pass_)
        for index in range(len(network(name).layers))
        for sparsity in SPARSITIES
        for batch in batches
        for pass_ in passes
    ]


def _without_repeats(found: Mapping[str, list[GpuCell]]) -> dict[str, list[GpuCell]]:
    seen: set[GpuCell] = set()
    kept: dict[str, list[GpuCell]] = {}
    for name, cells in found.items():
        kept[name] = [cell for cell in cells if cell not in seen]
        seen.update(cells)
    return kept


@lru_cache(maxsize=1)
def _described(source: Source) -> dict[str, Any]:
    """Return what a row says of its weight."""
    weight = source.weight()
    found: dict[str, Any] = {"m": weight.shape[0], "k": weight.shape[1], "nnz": weight.nnz}
    return found | {"sparsity": weight.sparsity, "format_bytes": bytes_by_format(weight)}


def _shared_fields(cell: GpuCell, threads: int) -> dict[str, Any]:
    """Return what the rows of a cell's kernels have in common."""
    source = cell.source
    trained = isinstance(source, Trained)
    layers = network(source.network).layers if isinstance(source, Trained) else ()
    return {
        "cell_id": cell.cell_id,
        "network": source.network,
        "pruning": "one-shot" if trained else "random",
        "scope": "layer",
        "network_sparsity": source.sparsity,
        "accuracy": None,
        "layer": source.layer,
        "layer_index": source.layer_index,
        "batch": cell.batch,
        "n": layers[source.layer_index].columns(cell.batch) if layers else cell.batch,
        **_described(source),
        "pass_": cell.pass_,
        "dtype": "float32",
        "threads": threads,
        "temperature": "cold" if cell.cold else "hot",
        "measured_at": datetime.now(UTC).isoformat(timespec="microseconds"),
    }
