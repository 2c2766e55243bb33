"""Networks as products: lowered convolutions, and real operands of their layers."""

from __future__ import annotations

import numpy as np
import pytest

from crossover.bench.errors import InputError
from crossover.bench.workloads.networks import NETWORKS, Convolution, network


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


def test_layers_say_how_many_columns_x_has() -> None:
    conv1, conv2, fc1, _ = network("lenet-5").layers
    assert (conv1.shape, conv1.columns(2)) == ((20, 25), 24 * 24 * 2)
    assert (conv2.shape, conv2.columns(2)) == ((50, 500), 8 * 8 * 2)
    assert (fc1.shape, fc1.columns(2)) == ((500, 800), 2)
    assert network("lenet-300-100").parameters == 266_610
    assert all(each.name == name for name, each in NETWORKS.items())


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(InputError, match="unknown network 'alexnet': choose from lenet-300-100"):
        network("alexnet")
