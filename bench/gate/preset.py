"""What the gate measures, derived from what kernels declare: no kernel is named here.

Operands are drawn from a seed, not trained: training sums in another order with another BLAS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from crossover.bench.gate.quantities import CROSSOVER_GROUP, GROUP, Cell
from crossover.bench.records.rows import KernelRecord
from crossover.bench.workloads.matrices import RandomMatrix
from crossover.bench.workloads.networks import network
from crossover.bench.workloads.problem import Workload
from crossover.kernels.base import Kernel, Pass, Problem

#: A pass and a batch.
Point = tuple[Pass, int]
_NETWORK = "lenet-300-100"
# MNIST's pixels are zero to this share, so X of a first layer is; and a ReLU's results to half.
_PIXELS_ZERO, _RELU_ZERO = 0.81, 0.5
_SPARSITY = 0.9
_SEED = 1998
_FORWARD_64: Point = ("forward", 64)
_EVERY_POINT: tuple[Point, ...] = (
    ("forward", 1),
    _FORWARD_64,
    ("backward_input", 16),
    ("backward_weight", 256),
)
#: By the role that a kernel declares; where it supports them.
_POINTS: Mapping[str, tuple[Point, ...]] = {
    "ours": _EVERY_POINT,
    "dense": _EVERY_POINT,
    "masked dense": (_FORWARD_64, ("backward_weight", 256)),
    "peer": (_FORWARD_64, ("backward_input", 16)),
}
#: Of optional libraries: what is installed must not decide what is gated.
_OPTIONAL_RUNTIMES = ("torch", "mkl")
_BLOCK_FORMAT = "bsr"
#: Networks and their layers that other tools' suites have beside: small, lowered, and large.
_CANONICAL = ((_NETWORK, 0), (_NETWORK, 1), ("lenet-5", 1), ("wide", 1))


def cell_of(kernel: str, workload: Workload) -> Cell:
    """Return the cell of a workload that is to be measured."""
    labels = workload.weights.labels
    return Cell(
        kernel,
        labels.layer,
        workload.computes,
        workload.batch,
        labels.network_sparsity,
        workload.workload_id,
    )


def is_gated(kernel: Kernel) -> bool:
    """Return whether the gate looks at a kernel on this machine."""
    if kernel.device != "cpu" or kernel.runtime in _OPTIONAL_RUNTIMES:
        return False
    return kernel.unavailable() is None


def points(kernel: Kernel) -> tuple[Point, ...]:
    """Return the passes and batches that a kernel is measured at."""
    m, k = network(_NETWORK).layers[0].shape
    nnz = round((1 - _SPARSITY) * m * k)
    return tuple(
        (pass_, batch)
        for pass_, batch in _POINTS[kernel.role]
        if kernel.unsupported(Problem(pass_, m, k, batch, nnz)) is None
    )


def has_crossover(record: KernelRecord, at: Iterable[Point], variant: bool) -> bool:
    """Return whether a kernel's crossover is gated.

    Blocks have another crossover on another pattern; a variant's is that of its original.
    """
    single = record.role == "ours" and record.format != _BLOCK_FORMAT
    return single and not variant and _FORWARD_64 in at


def workload(format_: str, point: Point, of: str = _NETWORK, index: int = 0) -> Workload:
    """Return the workload of a kernel of ``format_``: a layer of a network, drawn."""
    layer = network(of).layers[index]
    pattern: Literal["block", "row-skewed"] = "block" if format_ == _BLOCK_FORMAT else "row-skewed"
    name = layer.name if of == _NETWORK else f"{of} {layer.name}"
    matrix = RandomMatrix(GROUP, *layer.shape, _SPARSITY, pattern, _SEED, name)
    pass_, batch = point
    return Workload(matrix, pass_, batch, zeros=_RELU_ZERO if index else _PIXELS_ZERO)


def crossover_workload(sparsity: float) -> Workload:
    """Return the workload in which crossovers are looked for, at one sparsity."""
    layer = network(_NETWORK).layers[0]
    matrix = RandomMatrix(CROSSOVER_GROUP, *layer.shape, sparsity, "row-skewed", _SEED, layer.name)
    pass_, batch = _FORWARD_64
    return Workload(matrix, pass_, batch, zeros=_PIXELS_ZERO)


def suite(kernels: Mapping[str, Kernel]) -> list[tuple[Cell, Workload]]:
    """Return the gated cells, and one per kernel and canonical layer, whether or not it runs."""
    found = []
    for name, kernel in sorted(kernels.items()):
        at = points(kernel)
        if is_gated(kernel):
            found += [(name, workload(kernel.format, point)) for point in at]
        batches = [batch for pass_, batch in at if pass_ == "forward"]
        if batches:
            point: Point = "forward", max(batches)
            found += [(name, workload(kernel.format, point, *each)) for each in _CANONICAL]
    return list({cell_of(name, each): each for name, each in found}.items())
