"""What ``gpu-check`` asks: the hard shapes, the cells it times, the targets it holds them to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crossover.bench import gpu_cells, gpu_contract
from crossover.bench.gpu_cells import SQUARES
from crossover.bench.gpu_contract import HardShape
from crossover.bench.sources import Random
from crossover.bench.trial import FILLED
from crossover.reports import targets
from tests.kernels.fake_cuda import LIMITS


@pytest.mark.parametrize("shape", gpu_contract.SHAPES, ids=lambda shape: shape.name)
def test_the_hard_shapes_are_what_they_say(shape: HardShape) -> None:
    if shape.m * shape.k > 1 << 22:
        shape = HardShape(shape.name, 96, 128, 4, shape.density, shape.kind)
    drawn = gpu_contract.draw(shape, 3)
    pattern = drawn.weight.pattern
    if shape.kind == "random" and shape.density < 1:
        assert abs(pattern.mean() - shape.density) < 0.1
    if shape.kind == "empty rows":
        assert not pattern[::7].any()
        assert not pattern[:, ::5].any()
    if shape.kind == "2:4":
        assert (pattern.reshape(-1, 4).sum(1) == 2).all()
    if shape.kind == "explicit zeros":
        assert (drawn.weight.values[pattern] == 0).any()
    if shape.kind == "not finite":
        assert not np.isfinite(drawn.x).all()
        assert not np.isfinite(drawn.dy).all()
    gpu_contract.draw.cache_clear()


def test_the_cells_are_those_of_the_issue_and_none_twice() -> None:
    planned = gpu_cells.tiers(0)
    flat = [cell for cells in planned.values() for cell in cells]
    assert len(flat) == len(set(flat)) == len({cell.cell_id for cell in flat})
    squares = {
        (cell.source.layer, cell.batch, cell.source.sparsity)
        for cell in flat
        if cell.source.network == SQUARES and cell.pass_ == "forward"
    }
    for side in (512, 1024, 2048, 4096, 8192):
        for batch in (1, 32, 128, 1024, 8192):
            for sparsity in (0.5, 0.9, 0.99):
                assert (f"{side}x{side}", batch, sparsity) in squares
    assert {cell.source.network for cell in flat} >= {"lenet-300-100", "lenet-5", "wide"}


def test_random_weights_are_of_their_structure() -> None:
    blocks = Random("any", 96, 128, 0.5, 1, "blocks").weight()
    stored = blocks.pattern.reshape(3, 32, 4, 32).sum(axis=(1, 3))
    assert set(stored.ravel()) == {0, 32 * 32}
    half = Random("any", 96, 128, 0.5, 1, "2 of 4").weight()
    assert (half.pattern.reshape(-1, 4).sum(axis=1) == 2).all()
    entries = Random("any", 96, 128, 0.9, 1).weight()
    assert abs(entries.sparsity - 0.9) < 0.02


def test_targets_of_given_times() -> None:
    rows = []

    def row(network: str, m: int, sparsity: float, batch: int, pass_: str, cold: bool,
            **times: float) -> None:  # fmt: skip
        for kernel, seconds in times.items():
            name = kernel.replace("_", "-")
            rows.append(
                {
                    "cell_id": f"{network} {m} {sparsity} {batch} {pass_} {cold}",
                    "network": network, "layer": f"{m}x{m}", "batch": batch, "n": batch,
                    "pass_": pass_, "temperature": "cold" if cold else "hot", "m": m, "k": m,
                    "nnz": round((1 - sparsity) * m * m), "sparsity": sparsity,
                    "network_sparsity": sparsity, "kernel": name, "samples": [seconds] * 6,
                    "format": "dense" if "dense" in name else "csr",
                    # Its blocks fill W: it must not make the crossover 'always'.
                    "remarks": [FILLED] if name == "numba-cuda-bsr" else [],
                }
            )  # fmt: skip

    frame = gpu_cells.DLMC_LIKE
    row(frame, 512, 0.7, 128, "forward", False, numba_cuda_tiled=1.0, cusparse_csr=3.0,
        cusparse_csr_alg2=2.0)  # fmt: skip
    row(frame, 512, 0.9, 128, "forward", False, numba_cuda_tiled=1.0, cusparse_csr=4.5)
    row(SQUARES, 4096, 0.9, 1024, "forward", False, numba_cuda_tiled=0.1)
    for sparsity, ours in ((0.5, 1.2), (0.7, 0.8), (0.9, 0.4)):
        row(SQUARES, 2048, sparsity, 128, "forward", False, numba_cuda_tiled=ours,
            numba_cuda_bsr=0.1, cupy_dense=1.0, cupy_dense_tf32=0.5)  # fmt: skip
    row(SQUARES, 8192, 0.9, 1, "forward", True, numba_cuda_tiled=0.02)
    found = targets.targets(pd.DataFrame(rows), LIMITS)
    assert found[0].measured == "3.00 × (2 problems, worst 2.00)"
    assert found[0].reached is True
    assert found[1].measured == "not measured"
    assert found[2].measured.startswith("34.4 %")
    assert found[2].reached is True
    assert found[3].measured == "2048x2048, batch 128: 50-70 %"
    assert found[3].reached is True
    assert found[4].measured == "2048x2048, batch 128: 70-90 %"
    assert found[5].measured == "not measured"
    assert found[6].measured.startswith("90 %")
    assert found[6].reached is True
