"""What a GPU is timed on, and the structure of its random weights."""

from __future__ import annotations

from crossover.bench import gpu_cells
from crossover.bench.gpu_cells import SQUARES
from crossover.bench.sources import Random


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
