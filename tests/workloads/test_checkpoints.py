"""Trained networks that are kept: exactly what a recipe asks for, or not there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from crossover.bench.errors import InputError
from crossover.bench.studies.networks import trained
from crossover.bench.studies.study import Progress, ignore
from crossover.bench.workloads import checkpoints, mnist
from crossover.bench.workloads.checkpoints import TrainedModel
from crossover.bench.workloads.training.model import Model, layer_operands, pixels
from crossover.bench.workloads.training.recipe import TrainingRecipe
from crossover.kernels import discover

KERNELS = discover()
DENSE = KERNELS["numpy-masked-update"]
# As they always were.
KEYS = "993bfbe825810251", "acb3bc5a8b34ffc1"


@pytest.mark.parametrize("how", ["gradual", "one-shot", "random", "block"])
def test_a_pruned_model_has_its_sparsity_and_is_kept(how: str, small_mnist: Path) -> None:
    data = mnist.load(small_mnist)
    recipe = TrainingRecipe("lenet-300-100", data.digest, 0.9, how, "layer", seed=11)
    told: list[float] = []
    trained = checkpoints.obtain(recipe, data, lambda _, done: told.append(done))
    assert trained.sparsity == pytest.approx(0.9, abs=0.002)
    assert told == [] or told[-1] == 1.0
    assert not checkpoints.untrained(recipe)
    kept = checkpoints.obtain(recipe, data)
    assert kept.accuracy == trained.accuracy
    for a, b in zip(kept.states, trained.states, strict=True):
        assert a.weight.values.tobytes() == b.weight.values.tobytes()
        np.testing.assert_array_equal(a.weight.pattern, b.weight.pattern)


def test_a_damaged_checkpoint_is_trained_anew(
    small_mnist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = mnist.load(small_mnist)
    recipe = TrainingRecipe("lenet-300-100", data.digest, seed=12)
    first = checkpoints.obtain(recipe, data)
    path = checkpoints.checkpoint_path(recipe)
    path.write_bytes(path.read_bytes()[:1000])
    again = checkpoints.obtain(recipe, data)
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
    trained = checkpoints.obtain(recipe, data)
    assert checkpoints.load(recipe).digest == trained.digest
    assert recipe in [each for _, each, _ in checkpoints.kept_checkpoints()]
    # A checkpoint that holds another recipe is not that of this one.
    other = replace(recipe, seed=14)
    checkpoints.checkpoint_path(other).write_bytes(checkpoints.checkpoint_path(recipe).read_bytes())
    with pytest.raises(InputError, match="holds another recipe"):
        checkpoints.load(other)


def test_the_digest_is_of_the_content(small_mnist: Path) -> None:
    data = mnist.load(small_mnist)
    trained = checkpoints.obtain(TrainingRecipe("lenet-300-100", data.digest), data)
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
    trained = checkpoints.obtain(TrainingRecipe("lenet-300-100", data.digest, seed=11), data)
    running = Model(trained.network, trained.states, DENSE)
    operands = layer_operands(running, data.test_images[:5], data.test_labels[:5])
    x = pixels(data.test_images[:5])
    np.testing.assert_array_equal(operands[0].x, x)
    hidden = trained.states[0].weight.values @ x + trained.states[0].bias[:, None]
    np.testing.assert_allclose(operands[1].x, np.maximum(hidden, 0), rtol=1e-4, atol=1e-5)
    assert operands[0].dy.shape == (300, 5)


def test_keys_stay_what_they_are() -> None:
    """The seed of a training follows from the key: another key is another network."""
    assert TrainingRecipe("lenet-300-100", "0" * 16).key == KEYS[0]
    assert TrainingRecipe("lenet-5", "0" * 16, 0.5, "block", "layer", 3).key == KEYS[1]


RECIPE = '{"network": "lenet-300-100", "data": "0", "sparsity": 0.5}'
DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "empty": ("header too small", lambda _: b""),
    "truncated": ("not fully covered", lambda content: content[:-1000]),
    "no safetensors": ("", lambda content: b"PK" + content[2:]),
    "no metadata": ("it lacks 'recipe'", lambda _: of(None)),
    "recipe of no JSON": ("Expecting value", lambda _: of({"recipe": "?"})),
    "recipe that is a list": ("no JSON object", lambda _: of({"recipe": "[1]"})),
    "unknown field": (
        "its recipe has unknown fields: colour",
        lambda _: of({"recipe": RECIPE[:-1] + ', "colour": 1}'}),
    ),
    "missing field": ("'data'", lambda _: of({"recipe": '{"network": "wide"}'})),
    "impossible field": ("outside", lambda _: of({"recipe": RECIPE.replace("0.5", "5")})),
    "field of another type": (
        "none of ours", lambda _: of({"recipe": RECIPE.replace("0.5", '"x"')}),
    ),
    "another recipe": ("it holds another recipe", lambda _: of({"recipe": RECIPE})),
    "impossible accuracy": (
        "its accuracy is nan", lambda c: changed(c, metadata={"accuracy": "nan"}),
    ),
    "missing layer": ("fc2.bias", lambda c: changed(c, {"fc2.bias": None})),
    "another shape": (
        "fc1.weight is float32 (3, 4), not float32 (300, 784)",
        lambda c: changed(c, {"fc1.weight": np.zeros((3, 4), np.float32)}),
    ),
    "another type": (
        "fc3.weight is float64 (10, 100), not float32 (10, 100)",
        lambda c: changed(c, {"fc3.weight": np.zeros((10, 100))}),
    ),
    "pattern of numbers": (
        "fc3.pattern is uint8",
        lambda c: changed(c, {"fc3.pattern": np.zeros((10, 100), np.uint8)}),
    ),
    "NaN": (
        "fc3.bias holds values that are not finite",
        lambda c: changed(c, {"fc3.bias": np.full(10, np.nan, np.float32)}),
    ),
    "weights outside the pattern": (
        "nonzeros outside its pattern",
        lambda c: changed(c, {"fc3.pattern": np.zeros((10, 100), bool)}),
    ),
}  # fmt: skip


def of(metadata: dict[str, str] | None) -> bytes:
    kept = metadata and {"accuracy": "0.5", "train_s": "1.0"} | metadata
    return bytes(save({"a": np.zeros(1, np.float32)}, kept))


def changed(
    content: bytes,
    arrays: Mapping[str, NDArray[Any] | None] = {},
    metadata: Mapping[str, str] = {},
) -> bytes:
    """Return a checkpoint with other arrays (None: without them) and metadata."""
    length = int.from_bytes(content[:8], "little")
    kept = json.loads(content[8 : 8 + length])["__metadata__"]
    found = {n: a for n, a in {**load(content), **arrays}.items() if a is not None}
    return bytes(save(found, {**kept, **metadata}))


@pytest.fixture(scope="module")
def sound(small_mnist: Path) -> bytes:
    dataset = mnist.load(small_mnist)
    recipe = TrainingRecipe("lenet-300-100", dataset.digest, seed=17)
    checkpoints.obtain(recipe, dataset)
    return checkpoints.checkpoint_path(recipe).read_bytes()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_one_clear_line(
    damage: str,
    sound: bytes,
    small_mnist: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    says, harm = DAMAGES[damage]
    dataset = mnist.load(small_mnist)
    recipe = TrainingRecipe("lenet-300-100", dataset.digest, seed=17)
    path = checkpoints.checkpoint_path(recipe)
    path.write_bytes(harm(sound))
    checkpoints.load.cache_clear()
    with pytest.raises(InputError, match="cannot read the checkpoint") as caught:
        checkpoints.load(recipe)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert checkpoints.untrained(recipe) == [recipe]
    again = TrainedModel(recipe, (), 0.5, 0.0)
    monkeypatch.setattr(checkpoints, "_train", lambda *_: again)
    monkeypatch.setattr(checkpoints, "_save", lambda *_: None)
    assert checkpoints.obtain(recipe, dataset) is again
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path} is damaged (")
    assert line.endswith("; training anew")
    assert says in line


def test_a_folder_in_the_place_of_a_checkpoint_is_one_line_at_once(small_mnist: Path) -> None:
    dataset = mnist.load(small_mnist)
    recipe = TrainingRecipe("lenet-300-100", dataset.digest, seed=18)
    checkpoints.checkpoint_path(recipe).mkdir(parents=True)
    for ask in (
        lambda: checkpoints.untrained(recipe),
        lambda: checkpoints.load(recipe),
        lambda: checkpoints.obtain(recipe, dataset, lambda *_: pytest.fail("trained")),
    ):
        with pytest.raises(InputError, match="is a folder where a file belongs: remove it"):
            ask()
    assert recipe not in [each for _, each, _ in checkpoints.kept_checkpoints()]
    checkpoints.checkpoint_path(recipe).rmdir()


def test_a_damaged_parent_is_trained_with_the_progress_of_all(small_mnist: Path) -> None:
    """The progress bar knows of it: it was a missing key before."""
    dataset = mnist.load(small_mnist)
    recipe = TrainingRecipe("lenet-300-100", dataset.digest, 0.5, seed=19)
    parent = recipe.parents["dense"]
    trained([parent], dataset, ignore)
    checkpoints.checkpoint_path(parent).write_bytes(b"")
    told: list[Progress] = []
    trained([recipe], dataset, told.append)
    assert {each.title for each in told} == {parent.title, recipe.title}
    assert told[-1].done == told[-1].total
