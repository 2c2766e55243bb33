"""Recipes make what they say, the same each time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossover.bench.errors import InputError
from crossover.bench.workloads import checkpoints, mnist
from crossover.bench.workloads.checkpoints import TrainedModel
from crossover.bench.workloads.matrices import RandomMatrix, pattern_file
from crossover.bench.workloads.recipes import (
    LAYER_PATTERNS,
    LayerPattern,
    NetworkWeights,
    PrunedLayer,
    StepPattern,
    trained_layers,
    with_zeros,
)
from crossover.bench.workloads.training.model import LayerOperands, Model, layer_operands
from crossover.bench.workloads.training.model import with_zeros as blanked
from crossover.bench.workloads.training.recipe import TrainingRecipe
from crossover.kernels import discover


@pytest.fixture(scope="module")
def model(small_mnist: Path) -> TrainedModel:
    data = mnist.load(small_mnist)
    recipe = TrainingRecipe("lenet-300-100", data.digest, 0.9, seed=11)
    return checkpoints.obtain(recipe, data)


def test_random_weights_are_of_their_structure() -> None:
    blocks = RandomMatrix("any", 96, 128, 0.5, "block-32", 1).weight()
    stored = blocks.pattern.reshape(3, 32, 4, 32).sum(axis=(1, 3))
    assert set(stored.ravel()) == {0, 32 * 32}
    half = RandomMatrix("any", 96, 128, 0.5, "2:4", 1).weight()
    assert (half.pattern.reshape(-1, 4).sum(axis=1) == 2).all()
    entries = RandomMatrix("any", 96, 128, 0.9, seed=1).weight()
    assert abs(entries.sparsity - 0.9) < 0.02
    skewed = RandomMatrix("any", 96, 128, 0.9, "row-skewed", 1).weight()
    assert skewed.pattern.mean(axis=1).std() > 2 * entries.pattern.mean(axis=1).std()


def test_a_sparser_matrix_has_a_part_of_a_denser_ones_entries() -> None:
    dense, sparse = (RandomMatrix("any", 30, 40, s, seed=1).weight() for s in (0.5, 0.9))
    assert not (sparse.pattern & ~dense.pattern).any()
    np.testing.assert_array_equal(sparse.values, np.where(sparse.pattern, dense.values, 0))


def test_a_matrix_is_the_same_each_time() -> None:
    one = RandomMatrix("any", 30, 40, 0.9, seed=1)
    first = one.weight()
    RandomMatrix("any", 10, 10, 0.9).weight()  # what was made last is kept: now another
    again = one.weight()
    assert first is not again
    np.testing.assert_array_equal(first.values, again.values)
    other = replace(one, seed=2).weight()
    assert (first.values != other.values).any()
    np.testing.assert_array_equal(one.operands(8).x, replace(one, name="b").operands(8).x)


def test_a_trained_layer_is_that_of_its_network(model: TrainedModel, small_mnist: Path) -> None:
    data = mnist.load(small_mnist)
    layers = trained_layers(model, small_mnist)
    running = Model(model.network, model.states, discover()["numpy-masked-update"])
    given = layer_operands(running, data.test_images[:5], data.test_labels[:5])
    for layer, state, expected in zip(layers, model.states, given, strict=True):
        np.testing.assert_array_equal(layer.weight().values, state.weight.values)
        np.testing.assert_array_equal(layer.operands(5).x, expected.x)
        np.testing.assert_array_equal(layer.operands(5).dy, expected.dy)
        assert layer.shape == state.weight.shape
        assert layer.columns(5) == expected.x.shape[1]
    labels = layers[0].labels
    assert (labels.layer, labels.pattern, labels.scope) == ("fc1", "gradual", "global")
    assert (labels.network_sparsity, labels.accuracy) == (0.9, model.accuracy)


@pytest.mark.parametrize("pattern", LAYER_PATTERNS)
def test_a_layer_pruned_alone_has_its_sparsity(model: TrainedModel, pattern: LayerPattern) -> None:
    layer = PrunedLayer(model.recipe, 1, model.digest, sparsity=0.95, pattern=pattern)
    weight = layer.weight()
    assert weight.sparsity == pytest.approx(0.95, abs=0.01)
    np.testing.assert_array_equal(layer.weight().values, weight.values)
    assert (layer.labels.pattern, layer.labels.scope) == (pattern, "layer")


@pytest.mark.parametrize("pattern", ["initial", "random"])
def test_a_whole_networks_weights_are_drawn(pattern: StepPattern) -> None:
    recipe = TrainingRecipe("lenet-300-100", "any", 0.8, seed=3)
    states = NetworkWeights(recipe, pattern).states()
    nnz = sum(state.weight.nnz for state in states)
    assert nnz == pytest.approx(0.2 * sum(s.weight.pattern.size for s in states), abs=2)
    assert not any(state.bias.any() for state in states)


def test_zeros_are_drawn_to_their_share() -> None:
    rng = np.random.default_rng(0)
    x = np.where(rng.random((100, 40)) < 0.8, 0, 1 + rng.random((100, 40))).astype(np.float32)
    given = LayerOperands(x, np.zeros((3, 40), np.float32))
    for share in (0.0, 0.3, 0.95):
        drawn = blanked(given, share, rng)
        assert np.mean(drawn.x == 0) == pytest.approx(share)
        assert set(drawn.x[drawn.x != 0]) <= set(x[x != 0])
        assert np.mean(drawn.dy == 0) == pytest.approx(share, abs=0.01)


def test_zeros_are_the_recipes_own_or_those_asked_for() -> None:
    matrix = RandomMatrix("any", 30, 40, 0.9)
    assert with_zeros(matrix, 8, None, 0).x is matrix.operands(8).x
    one, same, other = (with_zeros(matrix, 8, 0.5, seed).x for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    assert np.mean(one == 0) == 0.5


def test_a_pattern_file_is_held_to_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "layer.smtx"
    path.parent.mkdir()
    path.write_text("3, 4, 3\n0 2 2 3\n0 3 1\n")
    recipe = pattern_file(path, tmp_path, 0)
    assert (recipe.name, recipe.shape, recipe.sparsity) == ("deep/layer.smtx", (3, 4), 0.75)
    assert recipe.weight().nnz == 3
    path.write_text("3, 4, 2\n0 1 1 2\n0 1\n")
    with pytest.raises(InputError, match="changed while it was measured"):
        replace(recipe, seed=1).weight()
