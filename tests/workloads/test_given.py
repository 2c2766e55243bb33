"""Layers of networks that a user brings: as they are, pruned, filled; with real activations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossover.bench.errors import InputError
from crossover.bench.studies.given import GivenSource, source_of
from crossover.bench.studies.networks import Pruning, TrainedSource
from crossover.bench.studies.study import ignore
from crossover.bench.workloads import given
from crossover.bench.workloads.given import GivenLayer
from crossover.bench.workloads.pruning.masks import kept_by_layer, magnitude_masks
from tests.workloads.readers.examples import WRITERS, chain


@pytest.fixture
def path(tmp_path: Path) -> Path:
    WRITERS[".safetensors"](tmp_path / "net.safetensors", chain((40, 30, 20, 10)))
    return tmp_path / "net.safetensors"


def layers_of(source: GivenSource, *sparsities: float, **how: str) -> list[list[GivenLayer]]:
    asked = Pruning(sparsities, how.get("pattern", "gradual"), how.get("scope", "global"), 0)  # type: ignore[arg-type]
    found = source.at(asked, ignore)
    assert all(isinstance(each, GivenLayer) for layers in found for each in layers)
    return found  # type: ignore[return-value]


def test_a_network_comes_as_it_is_then_sparser(path: Path) -> None:
    source = source_of(str(path))
    assert isinstance(source, GivenSource)
    as_given, pruned = layers_of(source, 0.0, 0.3, 0.9)
    own = chain((40, 30, 20, 10))
    for layer, wanted in zip(as_given, own, strict=True):
        assert layer.weight().values.tobytes() == wanted.weight.tobytes()
        assert layer.labels.pattern == "given"
        assert layer.labels.network_sparsity == pytest.approx(source.sparsity)
        assert layer.labels.accuracy is None
    masks = magnitude_masks([each.weight for each in own], 0.9)
    for layer, wanted, mask in zip(pruned, own, masks, strict=True):
        assert layer.labels.network_sparsity == 0.9
        np.testing.assert_array_equal(layer.weight().values, wanted.weight * mask)


@pytest.mark.parametrize("pattern", ["random", "block"])
def test_other_patterns_are_pruned_layer_by_layer(path: Path, pattern: str) -> None:
    _, pruned = layers_of(GivenSource(str(path)), 0.9, pattern=pattern)
    for layer in pruned:
        assert layer.weight().sparsity == pytest.approx(0.9, abs=16 / layer.weight().pattern.size)
        assert (layer.labels.pattern, layer.labels.scope) == (pattern, "each layer")


def test_what_takes_training_is_refused(path: Path) -> None:
    asked = Pruning([0.9], "rigl", "global", 0)
    with pytest.raises(InputError, match=r"--pattern rigl: .* is taken as it is, not trained"):
        source_of(str(path)).at(asked, ignore)


def test_below_its_own_sparsity_small_weights_fill_its_zeros(path: Path) -> None:
    source = GivenSource(str(path))
    layer, *_ = source.prunable("trained", 0, ignore)
    own = chain((40, 30, 20, 10))[0].weight
    for sparsity in (0.0, 0.2):
        weight = replace(layer, sparsity=sparsity).weight()
        assert weight.sparsity == pytest.approx(sparsity, abs=1e-3)
        np.testing.assert_array_equal(weight.values[own != 0], own[own != 0])
        assert np.abs(weight.values[own == 0]).max() < np.abs(own[own != 0]).min()


def test_magnitudes_are_counted_layer_by_layer_as_all_together() -> None:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(shape, np.float32) for shape in ((30, 40), (7, 5), (1, 3))]
    values[1][rng.random(values[1].shape) < 0.5] = 0
    values.append(np.full((4, 4), 0.5, np.float32))  # ties
    for sparsity in (0.0, 0.1, 0.5, 0.9, 0.999):
        counted = kept_by_layer([lambda each=each: each for each in values], sparsity)  # type: ignore[misc]
        masks = magnitude_masks(values, sparsity)
        assert counted == [int(mask.sum()) for mask in masks]


def test_drawn_activations_have_the_zeros_of_a_relu(path: Path) -> None:
    first, second, _ = layers_of(GivenSource(str(path)))[0]
    assert np.count_nonzero(first.operands(64).x == 0) == 0
    assert np.mean(second.operands(64).x == 0) == pytest.approx(0.5, abs=0.1)
    assert second.operands(64).dy.shape == (20, 64)


def test_real_activations_are_those_of_the_network(path: Path, tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).random((50, 40), np.float32)
    labels = np.arange(50) % 10
    np.save(tmp_path / "x.npy", inputs)
    np.save(tmp_path / "y.npy", labels)
    source = GivenSource(str(path), tmp_path / "x.npy", tmp_path / "y.npy")
    assert source.most_batch == 50
    (layers,) = layers_of(source)
    own = chain((40, 30, 20, 10))
    activation = inputs[:8].T
    for layer, wanted in zip(layers, own, strict=True):
        np.testing.assert_allclose(layer.operands(8).x, activation, rtol=1e-4, atol=1e-5)
        activation = wanted.weight @ activation + wanted.bias[:, None]
        activation = np.maximum(activation, 0) if wanted.relu else activation
    _, outputs = given.run(source.stored, inputs)
    assert layers[0].labels.accuracy == np.mean(outputs.argmax(axis=0) == labels)


def test_a_file_that_changes_while_it_is_measured_is_told(path: Path) -> None:
    layer = layers_of(GivenSource(str(path)))[0][0]
    WRITERS[".safetensors"](path, chain((40, 30, 20, 10), seed=1))
    given._values.cache_clear()
    with pytest.raises(InputError, match="changed while it was measured"):
        layer.weight()


def test_sizes_are_trained_where_they_fit_and_drawn_otherwise() -> None:
    assert isinstance(source_of("784-50-10"), TrainedSource)
    source = source_of("30-20-10")
    assert isinstance(source, GivenSource)
    assert [layer.shape for layer in source.layers] == [(20, 30), (10, 20)]
    one, other = (layers_of(source)[0][0].weight().values for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert one.std() == pytest.approx((2 / 30) ** 0.5, rel=0.15)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nope", "or a file of a network"),
        ("30-0-10", "size 0"),
        ("9999999-9999999", "more than"),
        ("nowhere.onnx", "does not exist"),
    ],
)
def test_names_that_are_none_are_one_line(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        source_of(name)


def test_inputs_that_do_not_fit_are_one_line(path: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((5, 40), np.float32))
    np.save(tmp_path / "narrow.npy", np.ones((5, 39), np.float32))
    np.save(tmp_path / "y.npy", np.ones(4, int))
    np.save(tmp_path / "f.npy", np.ones(5, np.float32))
    x = tmp_path / "x.npy"
    for inputs, labels, said in (
        (tmp_path / "narrow.npy", None, "39 values an item"),
        (tmp_path / "none.npy", None, "is no file"),
        (None, tmp_path / "y.npy", "give --inputs too"),
        (x, tmp_path / "y.npy", "give 5 whole numbers"),
        (x, tmp_path / "f.npy", "give 5 whole numbers"),
    ):
        with pytest.raises(InputError, match=said):
            source_of(str(path), None, inputs, labels)
    with pytest.raises(InputError, match="for a network of your own"):
        source_of("lenet-300-100", None, x)
    with pytest.raises(InputError, match="outside 1 to 5"):
        source_of(str(path), None, x).check_batches([6])
