"""A served network computes what float64 does, in every way, for every batch."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from crossover.kernels.base import Weight
from crossover.kernels.serving import Choice, LayerPlan, Network, Plan
from crossover.kernels.serving.network import NOTHING, Layer
from crossover.kernels.serving.plan import Way, one_way

Floats = NDArray[np.float32]
BATCHES = (1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 130)
SIZES = ((9, 5), (33, 17, 1), (1, 1), (70, 40, 30, 20, 10), (8, 16, 8))


def made(sizes: Sequence[int], density: float = 0.3) -> tuple[list[LayerPlan], list[Layer]]:
    """Return layers of ``sizes``, ReLU between them."""
    rng = np.random.default_rng(sum(sizes))
    plans, layers = [], []
    for index, (k, m) in enumerate(itertools.pairwise(sizes)):
        weight = rng.standard_normal((m, k), np.float32)
        weight[rng.random((m, k)) > density] = 0
        layers.append(Layer(Weight.from_dense(weight), rng.standard_normal(m, np.float32)))
        plans.append(LayerPlan(f"fc{index + 1}", (m, k), index < len(sizes) - 2))
    return plans, layers


def exact(plans: Sequence[LayerPlan], layers: Sequence[Layer], x: Floats) -> NDArray[np.float64]:
    activation = x.astype(np.float64).T
    for plan, layer in zip(plans, layers, strict=True):
        activation = layer.weight.values.astype(np.float64) @ activation + layer.bias[:, None]
        activation = np.maximum(activation, 0) if plan.relu else activation
    return np.asarray(activation.T)


def served(
    sizes: Sequence[int], way: Way, kernel: str = "", density: float = 0.3
) -> tuple[Network, list[LayerPlan], list[Layer]]:
    plans, layers = made(sizes, density)
    kernels = [kernel] * len(layers) if kernel else []
    return Network(one_way("net", plans, way, kernels), layers), plans, layers


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(
    ("way", "kernel"),
    [("dense", ""), ("compiled", "numba-tiled"), ("compiled", "numba-dense"),
     ("kernels", "numba-tiled"), ("kernels", "numba-bsr"), ("kernels", "numpy-dense"),
     ("kernels", "scipy-csr")],
)  # fmt: skip
def test_every_way_computes_what_float64_does(
    sizes: tuple[int, ...], way: Way, kernel: str
) -> None:
    network, plans, layers = served(sizes, way, kernel)
    rng = np.random.default_rng(0)
    for n in BATCHES:
        out = np.full((n, sizes[-1]), np.nan, np.float32)
        for x in (rng.standard_normal((n, sizes[0]), np.float32) for _ in range(2)):
            network._prepared(n).out.fill(np.nan)
            wanted = exact(plans, layers, x)
            np.testing.assert_allclose(network(x), wanted, rtol=2e-5, atol=2e-5)
            assert network(x, out) is out
            np.testing.assert_allclose(out, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("way", ["compiled", "kernels"])
def test_one_input_by_the_kernel_that_is_for_one(sizes: tuple[int, ...], way: Way) -> None:
    network, plans, layers = served(sizes, way, "numba-sell")
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((1, sizes[0]), np.float32)
        np.testing.assert_allclose(network(x), exact(plans, layers, x), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("density", [0.0, 1.0])
def test_layers_without_zeros_and_with_nothing_else(density: float) -> None:
    network, plans, layers = served((20, 10, 5), "compiled", "numba-tiled", density)
    x = np.random.default_rng(0).standard_normal((40, 20), np.float32)
    np.testing.assert_allclose(network(x), exact(plans, layers, x), rtol=2e-5, atol=2e-5)


def test_each_batch_is_served_by_its_choice() -> None:
    plans, layers = made((30, 20, 10))
    tiled, dense = ("numba-tiled",) * 2, ("numba-dense",) * 2
    choices = (Choice(1, "compiled", dense), Choice(8, "kernels", tiled), Choice(32, "dense"))
    network = Network(Plan("net", tuple(plans), choices), layers)
    kinds = {n: type(network._prepared(n)).__name__ for n in (1, 7, 8, 31, 32, 100)}
    assert kinds == {1: "_CompiledCall", 7: "_CompiledCall", 8: "_KernelCall", 31: "_KernelCall",
                     32: "_DenseCall", 100: "_DenseCall"}  # fmt: skip
    for n in kinds:
        x = np.random.default_rng(n).standard_normal((n, 30), np.float32)
        np.testing.assert_allclose(network(x), exact(plans, layers, x), rtol=2e-5, atol=2e-5)
    # W in blocks of 4 x 4, in CSR both ways, and turned.
    assert network.nbytes > 3 * 4 * (30 * 20 + 20 * 10) // 2


def test_a_result_is_overwritten_by_the_next_call_and_nothing_else_is_made() -> None:
    network, _, _ = served((30, 20, 10), "compiled", "numba-tiled")
    x = np.random.default_rng(0).standard_normal((16, 30), np.float32)
    first = network(x)
    kept = first.copy()
    assert network(-x) is first
    assert not np.array_equal(first, kept)


def test_several_threads_may_call_at_a_time() -> None:
    network, plans, layers = served((70, 40, 10), "compiled", "numba-tiled")
    start = threading.Barrier(4)

    def calls(number: int) -> float:
        rng = np.random.default_rng(number)
        start.wait()
        worst = 0.0
        for _ in range(50):
            x = rng.standard_normal((1 + number * 7, 70), np.float32)
            worst = max(worst, float(np.abs(network(x) - exact(plans, layers, x)).max()))
        return worst

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(calls, range(4))) < 1e-4


def test_inputs_of_other_kinds_are_taken_and_of_other_shapes_refused() -> None:
    network, plans, layers = served((6, 4), "compiled", "numba-tiled")
    x = np.arange(18, dtype=np.float64).reshape(3, 6)
    wanted = exact(plans, layers, x.astype(np.float32))
    for given in (x, np.asfortranarray(x), x.astype(np.float32)[::1]):
        np.testing.assert_allclose(network(given), wanted, rtol=1e-5, atol=1e-5)
    for bad in (np.ones((3, 5)), np.ones(6), np.ones((0, 6)), np.ones((1, 2, 3))):
        with pytest.raises(ValueError, match=r"give \(n, 6\), an input a row"):
            network(bad)
    for out in (np.ones((2, 4), np.float32), np.ones((3, 4))):
        with pytest.raises(ValueError, match="give float32"):
            network(x, out)


def test_the_glue_alone_multiplies_nothing() -> None:
    plans, layers = made((30, 20, 10))
    network = Network(one_way("net", plans, "compiled", [NOTHING] * 2), layers)
    assert network.nbytes == 4 * 30
    network(np.ones((20, 30), np.float32))


def test_kernels_that_are_unknown_or_do_not_fit_are_refused() -> None:
    plans, layers = made((6, 4))
    with pytest.raises(ValueError, match="'nope', which this version does not have"):
        Network(one_way("net", plans, "kernels", ["nope"]), layers)
    with pytest.raises(ValueError, match="are not the plan's"):
        Network(one_way("net", plans, "dense"), made((6, 5))[1])


def test_fewer_threads_are_heeded() -> None:
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        network, plans, layers = served((30, 10), "compiled", "numba-tiled")
    finally:
        numba.set_num_threads(before)
    assert network.threads == 1
    x = np.random.default_rng(0).standard_normal((64, 30), np.float32)
    np.testing.assert_allclose(network(x), exact(plans, layers, x), rtol=2e-5, atol=2e-5)
