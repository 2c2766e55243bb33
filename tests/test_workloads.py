"""MNIST, the networks, training, pruning and the checkpoints."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossover.bench.errors import InputError
from crossover.bench.workloads import execution, mnist, models, networks, pruning, training
from crossover.bench.workloads.execution import LayerState, Model
from crossover.bench.workloads.models import Recipe
from crossover.bench.workloads.networks import Convolution, Linear, Network
from crossover.bench.workloads.training import Schedule
from crossover.kernels import discover
from crossover.kernels.base import PASSES, Weight
from tests.conftest import write_idx

KERNELS = discover()
DENSE = KERNELS["numpy-masked-update"]
CPU = [
    name
    for name, kernel in KERNELS.items()
    if kernel.device == "cpu"
    and kernel.keeps_zeros
    and kernel.passes == PASSES
    and not kernel.unavailable()
]
TINY = Network(
    "tiny",
    (Convolution("conv1", 1, 3, 28), Linear("fc1", 3 * 12 * 12, 8), Linear("fc2", 8, 10)),
    1,
    1,
)  # fmt: skip


def test_embedded_mnist_is_whole() -> None:
    data = mnist.load()
    assert data.train_images.shape == (60_000, 784)
    assert data.test_images.shape == (10_000, 784)
    assert np.bincount(data.test_labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


@pytest.mark.parametrize("damage", ["flipped", "cut", "not-gzip", "missing"])
def test_damaged_mnist_is_a_clear_error(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mnist"
    shutil.copytree(mnist.EMBEDDED, folder)
    victim = folder / "t10k-images-idx3-ubyte.gz"
    content = victim.read_bytes()
    if damage == "flipped":
        victim.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    elif damage == "cut":
        victim.write_bytes(content[: len(content) // 2])
    elif damage == "not-gzip":
        victim.write_text("<html>404</html>")
    else:
        victim.unlink()
    monkeypatch.setattr(mnist, "EMBEDDED", folder)
    mnist.load.cache_clear()
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz") as caught:
        mnist.load()
    assert "\n" not in str(caught.value)
    mnist.load.cache_clear()


def test_embedded_checksum_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mnist"
    shutil.copytree(mnist.EMBEDDED, folder)
    labels = mnist.load().test_labels.copy()
    labels[0] = 3  # a valid file with another content
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", labels)
    monkeypatch.setattr(mnist, "EMBEDDED", folder)
    mnist.load.cache_clear()
    with pytest.raises(InputError, match="wrong checksum"):
        mnist.load()
    mnist.load.cache_clear()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-images-idx3-ubyte.gz", np.zeros((512, 14, 28), np.uint8), "need .count, 28, 28"),
        ("train-labels-idx1-ubyte.gz", np.zeros(511, np.uint8), "one label per image"),
        ("t10k-labels-idx1-ubyte.gz", np.full(128, 11, np.uint8), "label 11"),
    ],
)
def test_own_data_of_another_form_is_refused(
    small_mnist: Path, tmp_path: Path, name: str, array: np.ndarray, message: str
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(small_mnist, folder)
    write_idx(folder / name, array)
    with pytest.raises(InputError, match=message):
        mnist.load(folder)


def test_a_size_that_a_file_claims_is_checked(small_mnist: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(small_mnist, folder)
    lie = b"\0\0\x08\x03" + b"\xff\xff\xff\xff" * 3 + b"abc"
    (folder / "train-images-idx3-ubyte.gz").unlink()
    (folder / "train-images-idx3-ubyte").write_bytes(lie)
    with pytest.raises(InputError, match="declares"):
        mnist.load(folder)


def test_lowered_convolution_is_the_convolution() -> None:
    rng = np.random.default_rng(1)
    layer = Convolution("conv", 2, 3, 7, window=3)
    image = rng.standard_normal((2, 7, 7, 4))
    weight = rng.standard_normal((3, 2, 3, 3))
    y = (weight.reshape(3, -1) @ layer.lower(image, np)).reshape(layer.output_shape(4))
    for row, column in ((0, 0), (2, 4), (4, 1)):
        window = image[:, row : row + 3, column : column + 3]
        np.testing.assert_allclose(y[:, row, column], np.einsum("oijk,ijkn->on", weight, window))


def test_raising_a_gradient_is_the_adjoint_of_lowering() -> None:
    rng = np.random.default_rng(2)
    layer = Convolution("conv", 2, 3, 8, window=3)
    image = rng.standard_normal((2, 8, 8, 3))
    lowered = layer.lower(image, np)
    columns = rng.standard_normal(lowered.shape)
    raised = layer.raise_gradient(columns, image.shape, np)
    np.testing.assert_allclose((lowered * columns).sum(), (image * raised).sum())


def test_gradients_match_finite_differences() -> None:
    data, rng = mnist.load(), np.random.default_rng(3)
    states = training.initial_state(TINY, rng)
    images, labels = data.train_images[:16], data.train_labels[:16]

    def loss(changed: list[LayerState]) -> float:
        logits, _ = Model(TINY, changed, DENSE).forward(execution.pixels(images))
        logits = logits.astype(np.float64)
        shifted = logits - logits.max(axis=0)
        log_sum = np.log(np.exp(shifted).sum(axis=0))
        return float((log_sum - shifted[labels, np.arange(16)]).mean())

    model = Model(TINY, states, DENSE)
    logits, taken = model.forward(execution.pixels(images))
    for index, dy in model.backward(execution.loss_gradient(logits, labels, np), taken):
        gradient = model.weight_gradient(index, dy, taken[index].x)
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        step, slopes = 1e-2, []
        for sign in (1, -1):
            values = states[index].weight.values.copy()
            values[place] += sign * step
            changed = list(states)
            changed[index] = LayerState(
                Weight(values, states[index].weight.pattern), states[index].bias
            )
            slopes.append(loss(changed))
        numeric = (slopes[0] - slopes[1]) / (2 * step)
        assert gradient[place] == pytest.approx(numeric, rel=0.03), TINY.layers[index].name


def test_training_is_reproducible_and_learns() -> None:
    data = mnist.load()
    images, labels = data.train_images[:2000], data.train_labels[:2000]

    def trained() -> Model:
        rng = np.random.default_rng(4)
        model = Model(TINY, training.initial_state(TINY, rng), DENSE)
        training.train(model, images, labels, Schedule(12, 5e-3), rng)
        return model

    first, second = trained(), trained()
    for a, b in zip(first.states(), second.states(), strict=True):
        np.testing.assert_array_equal(a.weight.values, b.weight.values)
    assert execution.accuracy(first, data.test_images[:1000], data.test_labels[:1000]) > 0.7


@pytest.mark.parametrize("name", CPU)
def test_every_kernel_trains_the_same_network(name: str) -> None:
    data = mnist.load()
    network = networks.network("lenet-300-100")

    def trained(kernel_name: str) -> list[LayerState]:
        rng = np.random.default_rng(5)
        states = training.initial_state(network, rng)
        masks = pruning.magnitude_masks([s.weight.values for s in states], 0.8)
        sparse = [
            LayerState(Weight(np.where(mask, s.weight.values, 0), mask), s.bias)
            for s, mask in zip(states, masks, strict=True)
        ]
        model = Model(network, sparse, KERNELS[kernel_name])
        images, labels = data.train_images[:384], data.train_labels[:384]
        training.train(model, images, labels, Schedule(1, 1e-3), rng)
        return model.states()

    for ours, reference in zip(trained(name), trained("numpy-masked-update"), strict=True):
        np.testing.assert_array_equal(ours.weight.pattern, reference.weight.pattern)
        np.testing.assert_allclose(ours.weight.values, reference.weight.values, atol=2e-3)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9, 0.98214, 0.9999])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_magnitude_masks_keep_the_largest_to_the_exact_count(
    sparsity: float, scope: pruning.Scope
) -> None:
    rng = np.random.default_rng(6)
    values = [rng.standard_normal(shape).astype(np.float32) for shape in ((30, 40), (20, 30))]
    masks = pruning.magnitude_masks(values, sparsity, scope)
    if scope == "global":
        assert sum(int(m.sum()) for m in masks) == pruning.kept(1800, sparsity)
    else:
        assert [int(m.sum()) for m in masks] == [pruning.kept(v.size, sparsity) for v in values]
    for layer, mask in zip(values, masks, strict=True):
        if mask.any() and not mask.all():
            assert np.abs(layer[mask]).min() >= np.abs(layer[~mask]).max() or scope == "global"


def test_block_masks_are_blocks() -> None:
    values = np.random.default_rng(7).standard_normal((30, 42)).astype(np.float32)
    (mask,) = pruning.block_masks([values], 0.75, (4, 4))
    assert mask.shape == (30, 42)
    for row in range(0, 30, 4):
        for column in range(0, 42, 4):
            block = mask[row : row + 4, column : column + 4]
            assert block.all() or not block.any()
    assert mask.mean() == pytest.approx(0.25, abs=0.03)


def test_random_masks_do_not_look_at_values() -> None:
    shapes = [(30, 40), (20, 30)]
    first = pruning.random_masks(shapes, 0.9, np.random.default_rng(8))
    again = pruning.random_masks(shapes, 0.9, np.random.default_rng(8))
    other = pruning.random_masks(shapes, 0.9, np.random.default_rng(9))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()
        assert int(a.sum()) == pruning.kept(a.size, 0.9)


@pytest.mark.parametrize("how", models.PRUNINGS)
def test_a_pruned_model_has_its_sparsity_and_is_kept(
    how: models.Pruning, small_mnist: Path
) -> None:
    data = mnist.load(small_mnist)
    recipe = Recipe("lenet-300-100", data.digest, 0.9, how, "layer", seed=11)
    told: list[float] = []
    trained = models.obtain(recipe, data, DENSE, lambda _, done: told.append(done))
    assert trained.sparsity == pytest.approx(0.9, abs=0.002)
    assert told == [] or told[-1] == 1.0
    assert not models.untrained(recipe)
    kept = models.obtain(recipe, data, KERNELS["numpy-dense"])
    assert kept.accuracy == trained.accuracy
    for a, b in zip(kept.states, trained.states, strict=True):
        assert a.weight.values.tobytes() == b.weight.values.tobytes()
        np.testing.assert_array_equal(a.weight.pattern, b.weight.pattern)


def test_a_damaged_checkpoint_is_trained_anew(
    small_mnist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = mnist.load(small_mnist)
    recipe = Recipe("lenet-300-100", data.digest, seed=12)
    first = models.obtain(recipe, data, DENSE)
    path = models.checkpoint_path(recipe)
    path.write_bytes(path.read_bytes()[:1000])
    again = models.obtain(recipe, data, DENSE)
    assert "is damaged" in capsys.readouterr().err
    assert again.accuracy == first.accuracy


def test_recipes_that_differ_have_other_checkpoints() -> None:
    recipe = Recipe("lenet-300-100", "data", 0.9)
    others = [
        replace(recipe, seed=1),
        replace(recipe, scope="layer"),
        replace(recipe, sparsity=0.8),
        replace(recipe, data="other"),
        replace(recipe, pruning="block"),
    ]
    assert len({r.key for r in [recipe, *others]}) == 6
    dense = Recipe("lenet-300-100", "data", 0.0, "random")
    assert dense.key == Recipe("lenet-300-100", "data").key


def test_layer_operands_are_those_of_the_network(small_mnist: Path) -> None:
    data = mnist.load(small_mnist)
    trained = models.obtain(Recipe("lenet-300-100", data.digest, seed=11), data, DENSE)
    running = Model(trained.network, trained.states, DENSE)
    operands = execution.layer_operands(running, data.test_images[:5], data.test_labels[:5])
    x = execution.pixels(data.test_images[:5])
    np.testing.assert_array_equal(operands[0].x, x)
    hidden = trained.states[0].weight.values @ x + trained.states[0].bias[:, None]
    np.testing.assert_allclose(operands[1].x, np.maximum(hidden, 0), rtol=1e-4, atol=1e-5)
    assert operands[0].dy.shape == (300, 5)
