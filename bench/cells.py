"""What there is to measure: the plan, its cells, and the operands of each."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from crossover.bench import machine
from crossover.bench.errors import InputError
from crossover.bench.workloads import execution, mnist, models
from crossover.bench.workloads.models import Pruning, Recipe, TrainedModel
from crossover.bench.workloads.networks import Network, network
from crossover.bench.workloads.pruning import Scope
from crossover.kernels import discover
from crossover.kernels.base import PASSES, Kernel, Pass

TRAINING_KERNEL = "numpy-masked-update"
Temperature = Literal["hot", "cold"]
TEMPERATURES: tuple[Temperature, ...] = get_args(Temperature)
_DTYPE = "float32"


@dataclass(frozen=True)
class Plan:
    """What a sweep is asked to measure."""

    models: tuple[str, ...] = ("lenet-300-100",)
    sparsities: tuple[float, ...] = (0.0, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
    batches: tuple[int, ...] = (1, 64, 256)
    passes: tuple[Pass, ...] = PASSES
    #: Names; empty for every kernel there is.
    kernels: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()
    #: ``hot``: operands stay in the caches; ``cold``: the caches are emptied before each call.
    caches: tuple[Temperature, ...] = ("hot",)
    #: Seconds of timing, shared by the cells that are missing.
    budget_s: float = 75.0
    pruning: Pruning = "gradual"
    scope: Scope = "global"
    seed: int = 0
    data: Path | None = None
    #: Modules with kernels of the user's own.
    modules: tuple[str, ...] = ()
    #: Seconds without a sign of life after which a kernel counts as hanging.
    time_limit_s: float = 60.0


@dataclass(frozen=True)
class Cell:
    """One problem of the sweep; its identity is that of its rows."""

    network: str
    recipe: str
    network_sparsity: float
    layer: str
    layer_index: int
    batch: int
    pass_: Pass
    threads: int
    temperature: Temperature
    dtype: str = _DTYPE

    @property
    def title(self) -> str:
        """Return the cell as a progress bar shows it."""
        return f"{self.network} {100 * self.network_sparsity:.4g} % {self.layer} {self.pass_}"

    @property
    def cell_id(self) -> str:
        """Return the hash that names the cell in the records."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]


def check_axes(batches: Sequence[int], threads: Sequence[int], images: int) -> None:
    """Raise if a batch is no part of the test set's ``images``, or threads are too many here.

    Raises:
        InputError: if so.
    """
    for batch in batches:
        if not 1 <= batch <= images:
            raise InputError(f"batch {batch} is outside 1 to {images}, the images of the test set")
    cores = machine.available_cores()
    for count in threads:
        if not 1 <= count <= cores:
            raise InputError(f"threads {count} is outside 1 to {cores}, this machine's cores")


def check(plan: Plan) -> dict[str, Kernel]:
    """Return the kernels that ``plan`` names.

    Raises:
        InputError: if a part of the plan is not possible; nothing was done yet.
    """
    kernels = discovered(plan.modules)
    unknown = [name for name in plan.kernels if name not in kernels]
    if unknown:
        raise InputError(
            f"unknown kernel {unknown[0]!r}: choose from {', '.join(kernels)} (see 'kernels list')"
        )
    for name in plan.models:
        network(name)
    for sparsity in plan.sparsities:
        Recipe("", "", sparsity)
    check_axes(plan.batches, plan.threads, len(mnist.load(plan.data).test_images))
    for name, value in (("budget", plan.budget_s), ("time limit", plan.time_limit_s)):
        if not value > 0:
            raise InputError(f"{name} {value:g} s is not above 0: give seconds, for example 120s")
    models.check_cache()
    return {name: kernels[name] for name in plan.kernels or kernels}


def cells_of(plan: Plan, model: TrainedModel) -> Iterator[Cell]:
    """Yield the cells of one network at one sparsity."""
    layers = list(enumerate(model.network.layers))
    axes = (plan.threads, plan.caches, plan.batches, layers, plan.passes)
    for threads, temperature, batch, (index, layer), pass_ in itertools.product(*axes):
        yield Cell(
            model.network.name,
            model.recipe.key,
            model.recipe.sparsity,
            layer.name,
            index,
            batch,
            pass_,
            threads,
            temperature,
        )


def too_large(of: Network, layer_index: int, batch: int) -> str | None:
    """Return that a cell does not fit into the free memory, or None; nothing is allocated yet.

    The operands of all layers are computed together, and copied to the worker; the reference is
    in float64: W, X, dY and two results.
    """
    size = np.dtype(_DTYPE).itemsize
    operands = sum(sum(each.shape) * each.columns(batch) * size for each in of.layers)
    m, k = of.layers[layer_index].shape
    n = of.layers[layer_index].columns(batch)
    needed, free = 3 * operands + 8 * 3 * (m * k + (m + k) * n), machine.free_bytes()
    return None if needed <= free else machine.too_little(needed, free)


class OperandSource:
    """The real operands of cells, computed once per network and batch."""

    def __init__(self, dataset: mnist.Dataset) -> None:
        self.dataset = dataset
        self._key: tuple[str, int] | None = None
        self._operands: list[execution.LayerOperands] = []

    def of(self, model: TrainedModel, cell: Cell) -> execution.LayerOperands:
        """Return X and dY of the cell's layer, for the first images of the test set."""
        if self._key != (cell.recipe, cell.batch):
            running = execution.Model(model.network, model.states, discover()[TRAINING_KERNEL])
            images = self.dataset.test_images[: cell.batch]
            labels = self.dataset.test_labels[: cell.batch]
            self._operands = execution.layer_operands(running, images, labels)
            self._key = cell.recipe, cell.batch
        return self._operands[cell.layer_index]


def runnable(names: Sequence[str], modules: Sequence[str] = ()) -> dict[str, Kernel]:
    """Return all kernels there are by name, if those of ``names`` can run here.

    Raises:
        InputError: if one is not known or cannot run.
    """
    kernels = discovered(modules)
    for name in names:
        if name not in kernels:
            raise InputError(f"unknown kernel {name!r}: choose from {', '.join(kernels)}")
        if reason := kernels[name].unavailable():
            raise InputError(f"kernel {name!r} cannot run here: {reason}")
    return kernels


def discovered(modules: Sequence[str]) -> dict[str, Kernel]:
    """Return all kernels there are by name, those of the user's own ``modules`` among them.

    Raises:
        InputError: if a module cannot be imported, or a name is there twice.
    """
    try:
        return discover(modules)
    except ValueError as error:
        raise InputError(str(error)) from error
