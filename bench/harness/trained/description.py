"""Training steps of a network as one problem: sums over its layers and products."""

from __future__ import annotations

from collections.abc import Sequence

from crossover.bench.harness.task import Description
from crossover.bench.workloads.networks import Network
from crossover.bench.workloads.training.model import LayerState
from crossover.kernels.base import PASSES, Problem


def products_of(network: Network, states: Sequence[LayerState], batch: int) -> list[Problem]:
    """Return the products of a step; the first layer needs no gradient of its input."""
    return [
        Problem(pass_, *layer.shape, layer.columns(batch), state.weight.nnz)
        for index, (layer, state) in enumerate(zip(network.layers, states, strict=True))
        for pass_ in PASSES
        if index or pass_ != "backward_input"
    ]


def described(
    network: Network, states: Sequence[LayerState], batch: int, zeros_x: float = 0.0, steps: int = 1
) -> Description:
    """Return the description of steps with ``batch`` images, ``zeros_x`` of whose pixels are 0.

    None of those of a training that takes an unknown number of them.
    """
    weights = [state.weight for state in states]
    nnz, entries = sum(w.nnz for w in weights), sum(w.pattern.size for w in weights)
    products = products_of(network, states, batch)
    return Description(
        m=sum(w.shape[0] for w in weights),
        k=sum(w.shape[1] for w in weights),
        n=batch,
        nnz=nnz,
        sparsity=1.0 - nnz / entries,
        zeros_x=zeros_x,
        zeros_dy=0.0,
        useful_flops=steps * sum(2.0 * p.nnz * p.n for p in products),
        executed_flops=steps * sum(2.0 * p.m * p.k * p.n for p in products),
        side_bytes=steps * sum(4 * (p.m + p.k) * p.n for p in products),
        format_bytes={"dense": sum(w.values.nbytes for w in weights)},
    )
