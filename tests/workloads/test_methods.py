"""Pruning methods: each comes to its sparsity, and what they say of themselves is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossover.bench.errors import InputError
from crossover.bench.workloads import mnist
from crossover.bench.workloads.checkpoints import obtain
from crossover.bench.workloads.networks import Linear, Network
from crossover.bench.workloads.pruning import registry
from crossover.bench.workloads.pruning.dynamic import _moved
from crossover.bench.workloads.pruning.masks import kept
from crossover.bench.workloads.pruning.method import Moment, kept_by
from crossover.bench.workloads.pruning.static import erdos_renyi_counts
from crossover.bench.workloads.pruning.structured import local_masks
from crossover.bench.workloads.training.descent import Adam
from crossover.bench.workloads.training.loop import Schedule, Training, initial_state
from crossover.bench.workloads.training.model import LayerState, Model, loss_gradient, pixels
from crossover.bench.workloads.training.recipe import TrainingRecipe
from crossover.kernels import discover
from crossover.kernels.base import PASSES, Weight

KERNELS = discover()
NETWORK = "784-40-40-10"
SPARSITY = 0.9
SPARSE = [
    name
    for name, each in KERNELS.items()
    if each.device == "cpu" and each.passes == PASSES and each.keeps_zeros
    and not each.stores_zeros and not each.unavailable()
]  # fmt: skip


def recipe(method: str, data: mnist.Dataset, **fields: object) -> TrainingRecipe:
    return TrainingRecipe(NETWORK, data.digest, SPARSITY, method, seed=3, length=0.2, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", registry.OWN)
def test_every_method_comes_to_its_sparsity(name: str, small_mnist: Path) -> None:
    data = mnist.load(small_mnist)
    found = obtain(recipe(name, data), data)
    entries = sum(state.weight.pattern.size for state in found.states)
    # Blocks that are cut off at an edge make some entries more or less.
    assert abs(found.nnz - kept(entries, SPARSITY)) <= (100 if name == "block" else 3)
    for state in found.states:
        assert np.all(state.weight.values[~state.weight.pattern] == 0)
        assert np.isfinite(state.weight.values).all()


def test_what_begins_with_the_pruned_pattern_keeps_it(small_mnist: Path) -> None:
    data = mnist.load(small_mnist)
    pruned = obtain(recipe("pruned-mask-fresh", data).parents["gradual"], data)
    for name in ("pruned-mask-fresh", "pruned-mask-original"):
        found = obtain(recipe(name, data), data)
        for own, theirs in zip(found.states, pruned.states, strict=True):
            np.testing.assert_array_equal(own.weight.pattern, theirs.weight.pattern)


def test_original_weights_are_those_that_the_dense_parent_began_with(small_mnist: Path) -> None:
    from crossover.bench.workloads.training.beginning import beginning

    data = mnist.load(small_mnist)
    rewound = recipe("pruned-mask-original", data)
    dense = rewound.parents["dense"]
    began = beginning(dense, {}, dense.generator())
    parents = {name: obtain(each, data).states for name, each in rewound.parents.items()}
    found = beginning(rewound, parents, rewound.generator())
    for own, first in zip(found, began, strict=True):
        mask = own.weight.pattern
        np.testing.assert_array_equal(own.weight.values[mask], first.weight.values[mask])


def test_erdos_renyi_makes_small_layers_denser_and_keeps_the_count() -> None:
    shapes = [(300, 784), (100, 300), (10, 100)]
    for sparsity in (0.5, 0.9, 0.99):
        counts = erdos_renyi_counts(shapes, sparsity)
        sizes = [m * k for m, k in shapes]
        assert sum(counts) == kept(sum(sizes), sparsity)
        densities = [count / size for count, size in zip(counts, sizes, strict=True)]
        assert densities == sorted(densities)
        assert max(densities) <= 1
    first, second = erdos_renyi_counts(shapes[:2], 0.95)
    expected = (300 + 784) / (100 + 300)
    assert first / second == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("grid", [False, True])
def test_local_units_see_a_neighbourhood(grid: bool) -> None:
    shapes, counts = [(50, 784), (30, 50), (10, 30)], [3920, 150, 30]
    masks = local_masks(shapes, counts, np.random.default_rng(0), grid)
    assert [int(mask.sum()) for mask in masks] == counts
    for mask in masks:
        rows = mask.sum(axis=1)
        assert rows.max() - rows.min() <= 1
    for row in masks[0]:
        y, x = np.divmod(np.flatnonzero(row), 28)
        # 78 pixels side by side: a disc of 10 across, or a square of 9; twice as much in a corner.
        assert max(np.ptp(y), np.ptp(x)) <= 18


def test_an_entry_moves_to_where_it_is_wanted() -> None:
    values = np.array([[5.0, 0.1, 0, 0], [0, 3, 0, 0.2]], np.float32)
    wanted = np.array([[9.0, 9, 1, 2], [7, 9, 3, 9]], np.float32)
    moved = _moved(values, values != 0, wanted, 0.5)
    np.testing.assert_array_equal(moved, [[True, False, False, False], [True, True, True, False]])


def test_rigl_asks_for_gradients_and_set_does_not() -> None:
    def gradients() -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        asked.append(True)
        return [np.ones((8, 8), np.float32)]

    asked: list[bool] = []
    rng = np.random.default_rng(0)
    mask = rng.random((8, 8)) < 0.3
    values = np.where(mask, rng.standard_normal((8, 8)), 0).astype(np.float32)
    for name, expected in (("set", 0), ("rigl", 1)):
        moment = Moment([values], [mask], 0.7, "global", 0.3, 0.5, rng, gradients)
        (found,) = registry.METHODS[name]().change(moment) or []
        assert len(asked) == expected
        assert found.sum() == mask.sum()
        assert (found != mask).any()
    late = Moment([values], [mask], 0.7, "global", 0.9, 1.5, rng, gradients)
    assert registry.METHODS["rigl"]().change(late) is None


@pytest.mark.parametrize("name", SPARSE)
def test_moments_move_with_their_entries(name: str) -> None:
    kernel = KERNELS[name]
    network = Network("moving", (Linear("fc1", 784, 24), Linear("fc2", 24, 10)), 1, 1)
    rng = np.random.default_rng(0)
    states = [
        LayerState(Weight(np.where(mask, state.weight.values, 0), mask), state.bias)
        for state in initial_state(network, rng)
        for mask in [rng.random(state.weight.shape) < 0.3]
    ]
    model = Model(network, states, kernel)
    adam = Adam(model)
    x, labels = rng.random((784, 16), np.float32), rng.integers(0, 10, 16).astype(np.uint8)
    for _ in range(2):
        logits, taken = model.forward(x)
        adam.step(loss_gradient(logits, labels, np), taken, 0.01)
    before = list(model.weights)
    dense = [
        [np.array(kernel.dense_gradient(operand, kernel.put(each))) for each in pair]
        for operand, pair in zip(before, adam.moments, strict=True)
    ]
    masks = [rng.random(state.weight.shape) < 0.3 for state in states]
    model.prepare(kept_by([kernel.dense_weight(each) for each in before], masks))
    adam.patterns_changed(before)
    for operand, pair, old, mask in zip(model.weights, adam.moments, dense, masks, strict=True):
        for moment, whole in zip(pair, old, strict=True):
            found = np.array(kernel.dense_gradient(operand, kernel.put(moment)))
            np.testing.assert_array_equal(found[mask], whole[mask])


def test_a_sparse_kernel_trains_a_moving_pattern_as_a_dense_one_does(small_mnist: Path) -> None:
    data = mnist.load(small_mnist)
    network = Network("moving", (Linear("fc1", 784, 24), Linear("fc2", 24, 10)), 1, 1)
    rng = np.random.default_rng(0)
    values = [state.weight.values for state in initial_state(network, rng)]
    masks = [rng.random(each.shape) < 0.2 for each in values]
    states = [
        LayerState(weight, np.zeros(weight.shape[0], np.float32))
        for weight in kept_by(values, masks)
    ]
    found = {}
    for name in ("numpy-masked-update", "numba-tiled", "numba-csr"):
        model = Model(network, states, KERNELS[name])
        training = Training(
            model, data.train_images, data.train_labels, Schedule(1, 1e-3, 0.8),
            np.random.default_rng(1), registry.METHODS["rigl"](),
        )  # fmt: skip
        training.epoch()
        found[name] = model.states()
    for name in ("numba-tiled", "numba-csr"):
        for own, dense in zip(found[name], found["numpy-masked-update"], strict=True):
            # Where two gradients are nearly equal rounding decides which entry grows.
            same = np.mean(own.weight.pattern == dense.weight.pattern)
            assert same > 0.995
            both = own.weight.pattern & dense.weight.pattern
            apart = np.abs(own.weight.values[both] - dense.weight.values[both])
            assert np.quantile(apart, 0.98) < 1e-3


def test_gradients_for_rigl_are_those_of_the_weights(small_mnist: Path) -> None:
    from crossover.bench.workloads.training.loop import _gradients

    data = mnist.load(small_mnist)
    network = Network("moving", (Linear("fc1", 784, 24), Linear("fc2", 24, 10)), 1, 1)
    states = initial_state(network, np.random.default_rng(0))
    x, labels = pixels(data.train_images[:32]), data.train_labels[:32]
    dense = Model(network, states, KERNELS["numpy-dense"])
    logits, taken = dense.forward(x)
    backward = dict(dense.backward(loss_gradient(logits, labels, np), taken))
    for index, found in enumerate(_gradients(dense, x, labels)):
        expected = dense.weight_gradient(index, backward[index], taken[index].x)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


OWN = """
from crossover.bench.workloads.pruning.method import PruningMethod

class Own(PruningMethod):
    name = "{name}"
    title = "one's own"
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that Python imports modules from; what they add is forgotten afterwards."""
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_method_of_ones_own_comes_by_its_module(modules: Path) -> None:
    (modules / "own_method_here.py").write_text(OWN.format(name="own"))
    assert registry.load(["own_method_here"]) == ["own"]
    assert registry.load(["own_method_here"]) == ["own"]  # in a worker, once more
    assert len(registry.code_of("own")) == 16
    assert registry.code_of("gradual") == ""


def test_a_module_that_gives_no_method_is_refused(modules: Path) -> None:
    (modules / "empty_methods_here.py").write_text("")
    (modules / "taken_method_here.py").write_text(OWN.format(name="gradual"))
    for name, says in (
        ("no_such_module_here", "cannot be imported"),
        ("empty_methods_here", "has no pruning method"),
        ("taken_method_here", "is called 'gradual' already"),
    ):
        with pytest.raises(InputError, match=says):
            registry.load([name])


def test_an_unknown_method_is_named(small_mnist: Path) -> None:
    with pytest.raises(InputError, match="unknown pruning method 'lottery': choose from gradual"):
        _ = recipe("lottery", mnist.load(small_mnist)).method
