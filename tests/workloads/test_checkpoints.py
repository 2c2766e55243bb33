"""Trained networks that are kept: exactly what a recipe asks for, or not there."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from crossover.bench.errors import InputError
from crossover.bench.records.files import write_whole
from crossover.bench.workloads import checkpoints, execution, mnist
from crossover.bench.workloads.checkpoints import TrainingRecipe
from crossover.bench.workloads.execution import Model
from crossover.kernels import discover

KERNELS = discover()
DENSE = KERNELS["numpy-masked-update"]
# As they always were.
KEYS = "993bfbe825810251", "acb3bc5a8b34ffc1"


@pytest.mark.parametrize("how", checkpoints.PRUNED_PATTERNS)
def test_a_pruned_model_has_its_sparsity_and_is_kept(
    how: checkpoints.PrunedPattern, small_mnist: Path
) -> None:
    data = mnist.load(small_mnist)
    recipe = TrainingRecipe("lenet-300-100", data.digest, 0.9, how, "layer", seed=11)
    told: list[float] = []
    trained = checkpoints.obtain(recipe, data, DENSE, lambda _, done: told.append(done))
    assert trained.sparsity == pytest.approx(0.9, abs=0.002)
    assert told == [] or told[-1] == 1.0
    assert not checkpoints.untrained(recipe)
    kept = checkpoints.obtain(recipe, data, KERNELS["numpy-dense"])
    assert kept.accuracy == trained.accuracy
    for a, b in zip(kept.states, trained.states, strict=True):
        assert a.weight.values.tobytes() == b.weight.values.tobytes()
        np.testing.assert_array_equal(a.weight.pattern, b.weight.pattern)


def test_a_damaged_checkpoint_is_trained_anew(
    small_mnist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = mnist.load(small_mnist)
    recipe = TrainingRecipe("lenet-300-100", data.digest, seed=12)
    first = checkpoints.obtain(recipe, data, DENSE)
    path = checkpoints.checkpoint_path(recipe)
    path.write_bytes(path.read_bytes()[:1000])
    again = checkpoints.obtain(recipe, data, DENSE)
    assert "is damaged" in capsys.readouterr().err
    assert again.accuracy == first.accuracy


def test_recipes_that_differ_have_other_checkpoints() -> None:
    recipe = TrainingRecipe("lenet-300-100", "data", 0.9)
    others = [
        replace(recipe, seed=1),
        replace(recipe, scope="layer"),
        replace(recipe, sparsity=0.8),
        replace(recipe, data="other"),
        replace(recipe, pattern="block"),
    ]
    assert len({r.key for r in [recipe, *others]}) == 6
    dense = TrainingRecipe("lenet-300-100", "data", 0.0, "random")
    assert dense.key == TrainingRecipe("lenet-300-100", "data").key


def test_only_what_was_trained_can_be_loaded(small_mnist: Path) -> None:
    data = mnist.load(small_mnist)
    recipe = TrainingRecipe("lenet-300-100", data.digest, seed=13)
    with pytest.raises(InputError, match=r"cannot read the checkpoint .*: train it again"):
        checkpoints.load(recipe)
    trained = checkpoints.obtain(recipe, data, DENSE)
    assert checkpoints.load(recipe).digest == trained.digest
    assert recipe in [each for _, each, _ in checkpoints.kept_checkpoints()]
    # A checkpoint that holds another recipe is not that of this one.
    other = replace(recipe, seed=14)
    checkpoints.checkpoint_path(other).write_bytes(checkpoints.checkpoint_path(recipe).read_bytes())
    with pytest.raises(InputError, match="holds another recipe"):
        checkpoints.load(other)


def test_the_digest_is_of_the_content(small_mnist: Path) -> None:
    data = mnist.load(small_mnist)
    trained = checkpoints.obtain(TrainingRecipe("lenet-300-100", data.digest), data, DENSE)
    state = trained.states[1]
    bias = state.bias.copy()
    bias[3] += 1e-6
    states = (trained.states[0], replace(state, bias=bias), trained.states[2])
    assert replace(trained, states=states).digest != trained.digest
    assert len(trained.digest) == 16
    assert hashlib.sha256().hexdigest()[:16] != trained.digest


def test_a_cache_that_cannot_be_written_is_said_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CROSSOVER_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="CROSSOVER_CACHE"):
        checkpoints.check_cache()


def test_layer_operands_are_those_of_the_network(small_mnist: Path) -> None:
    data = mnist.load(small_mnist)
    trained = checkpoints.obtain(TrainingRecipe("lenet-300-100", data.digest, seed=11), data, DENSE)
    running = Model(trained.network, trained.states, DENSE)
    operands = execution.layer_operands(running, data.test_images[:5], data.test_labels[:5])
    x = execution.pixels(data.test_images[:5])
    np.testing.assert_array_equal(operands[0].x, x)
    hidden = trained.states[0].weight.values @ x + trained.states[0].bias[:, None]
    np.testing.assert_allclose(operands[1].x, np.maximum(hidden, 0), rtol=1e-4, atol=1e-5)
    assert operands[0].dy.shape == (300, 5)


def test_keys_stay_what_they_are() -> None:
    """The seed of a training follows from the key: another key is another network."""
    assert TrainingRecipe("lenet-300-100", "0" * 16).key == KEYS[0]
    assert TrainingRecipe("lenet-5", "0" * 16, 0.5, "block", "layer", 3).key == KEYS[1]


@pytest.mark.parametrize("metadata", [None, {"recipe": '{"network": "wide", "unknown": 1}'}])
def test_a_checkpoint_that_says_something_else_is_trained_anew(
    small_mnist: Path, metadata: dict[str, str] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = mnist.load(small_mnist)
    recipe = TrainingRecipe("lenet-300-100", dataset.digest, seed=17 + bool(metadata))
    path = checkpoints.checkpoint_path(recipe)
    write_whole(path, save({"a": np.zeros(1, np.float32)}, metadata))
    with pytest.raises(InputError, match="cannot read the checkpoint"):
        checkpoints.load(recipe)
    trained = checkpoints.obtain(recipe, dataset, DENSE)
    assert "is damaged" in capsys.readouterr().err
    assert checkpoints.load(recipe).digest == trained.digest
