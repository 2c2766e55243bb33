"""Masks: exact counts, whole blocks, chance that a seed repeats."""

from __future__ import annotations

import numpy as np
import pytest

from crossover.bench.workloads.pruning.masks import (
    Scope,
    block_masks,
    cubic_sparsity,
    kept,
    magnitude_masks,
    random_masks,
)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9, 0.98214, 0.9999])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_magnitude_masks_keep_the_largest_to_the_exact_count(sparsity: float, scope: Scope) -> None:
    rng = np.random.default_rng(6)
    values = [rng.standard_normal(shape).astype(np.float32) for shape in ((30, 40), (20, 30))]
    masks = magnitude_masks(values, sparsity, scope)
    if scope == "global":
        assert sum(int(m.sum()) for m in masks) == kept(1800, sparsity)
    else:
        assert [int(m.sum()) for m in masks] == [kept(v.size, sparsity) for v in values]
    for layer, mask in zip(values, masks, strict=True):
        if mask.any() and not mask.all():
            assert np.abs(layer[mask]).min() >= np.abs(layer[~mask]).max() or scope == "global"


def test_block_masks_are_blocks() -> None:
    values = np.random.default_rng(7).standard_normal((30, 42)).astype(np.float32)
    (mask,) = block_masks([values], 0.75, (4, 4))
    assert mask.shape == (30, 42)
    for row in range(0, 30, 4):
        for column in range(0, 42, 4):
            block = mask[row : row + 4, column : column + 4]
            assert block.all() or not block.any()
    assert mask.mean() == pytest.approx(0.25, abs=0.03)


def test_random_masks_do_not_look_at_values() -> None:
    shapes = [(30, 40), (20, 30)]
    first = random_masks(shapes, 0.9, np.random.default_rng(8))
    again = random_masks(shapes, 0.9, np.random.default_rng(8))
    other = random_masks(shapes, 0.9, np.random.default_rng(9))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()
        assert int(a.sum()) == kept(a.size, 0.9)


def test_the_schedule_rises_fast_and_ends_where_it_should() -> None:
    steps = [cubic_sparsity(share, 0.9) for share in (-1.0, 0.0, 0.25, 0.5, 1.0, 2.0)]
    assert steps == sorted(steps)
    assert (steps[0], steps[1], steps[-2], steps[-1]) == (0.0, 0.0, 0.9, 0.9)
    assert steps[2] > 0.9 / 2
