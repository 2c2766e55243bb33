"""Every format gives back what was written, to the last bit, and says what it skips."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import scipy.io
import scipy.linalg
import scipy.sparse as sp
from safetensors.numpy import save_file

from crossover.bench.workloads import given
from crossover.bench.workloads.readers import read
from crossover.bench.workloads.readers.stored import Floats, StoredNetwork, UnreadableError
from crossover.bench.workloads.readers.writing import WrittenLayer, write
from crossover.kernels import Weight, discover
from tests.workloads.readers import examples
from tests.workloads.readers.examples import WRITERS, chain, onnx_model, torch_file


def forward(network: StoredNetwork, x: Floats) -> Floats:
    """Return the outputs (n, outputs) of a plain chain, in float64."""
    activation = x.astype(np.float64).T
    for layer in network.layers:
        activation = layer.read_weight() @ activation
        if layer.read_bias:
            activation = activation + layer.read_bias()[:, None]
        activation = np.maximum(activation, 0) if layer.activation == "relu" else activation
    return np.asarray(activation.T, np.float32)


@pytest.mark.parametrize("ending", WRITERS)
def test_what_was_written_comes_back_to_the_last_bit(ending: str, tmp_path: Path) -> None:
    layers, path = chain(), tmp_path / f"net{ending}"
    WRITERS[ending](path, layers)
    network = read(path)
    assert [layer.name for layer in network.layers] == ["fc1", "fc2"]
    assert [layer.activation for layer in network.layers] == ["relu", ""]
    assert not network.no_chain()
    for wanted, found in zip(layers, network.layers, strict=True):
        assert found.shape == wanted.weight.shape
        assert found.read_weight().tobytes() == wanted.weight.tobytes()
        assert found.read_bias is not None
        assert found.read_bias().tobytes() == wanted.bias.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("ending", [".safetensors", ".npz", ".pt"])
def test_other_floats_are_converted_with_a_word(ending: str, dtype: str, tmp_path: Path) -> None:
    path, values = tmp_path / f"net{ending}", np.arange(6).reshape(2, 3).astype(dtype) / 7
    if ending == ".npz":
        arrays: Any = {"fc.weight": values}
        np.savez(path, **arrays)
    elif ending == ".pt":
        torch_file(path, {"fc.weight": values})
    else:
        save_file({"fc.weight": values}, path)
    (layer,) = read(path).layers
    assert dtype in layer.note
    np.testing.assert_array_equal(layer.read_weight(), values.astype(np.float32))


def test_bfloat16_is_the_upper_half_of_float32(tmp_path: Path) -> None:
    values = np.array([[1.0, -2.5], [3.140625, 0.0]], np.float32)
    torch_file(tmp_path / "net.pt", {"fc.weight": (values.view(np.uint32) >> 16).astype(np.uint16)})
    (layer,) = read(tmp_path / "net.pt").layers
    np.testing.assert_array_equal(layer.read_weight(), values)
    assert "bfloat16" in layer.note


def test_a_checkpoint_gives_its_model_and_not_its_optimizer(tmp_path: Path) -> None:
    state = OrderedDict(examples.tensors(chain()))
    optimizer = {"state": {0: {"exp_avg": np.ones((5, 7), np.float32)}}}
    for content in (
        {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": optimizer},
        {"state_dict": state, "lr": 0.1},
        state,
    ):
        torch_file(tmp_path / "net.pt", content)
        assert [layer.name for layer in read(tmp_path / "net.pt").layers] == ["fc1", "fc2"]


def test_the_mask_of_a_pruned_module_is_applied(tmp_path: Path) -> None:
    weight = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    mask = np.array([[1, 0, 1], [0, 0, 1]], np.float32)
    torch_file(tmp_path / "net.pt", {"fc.bias": np.ones(2, np.float32), "fc.weight_orig": weight,
                                     "fc.weight_mask": mask})  # fmt: skip
    (layer,) = read(tmp_path / "net.pt").layers
    assert layer.name == "fc"
    assert layer.note == "mask applied"
    np.testing.assert_array_equal(layer.read_weight(), weight * mask)


def test_strides_and_offsets_of_a_storage_are_heeded(tmp_path: Path) -> None:
    base = np.arange(20, dtype=np.float32)
    torch_file(tmp_path / "net.pt", {"a.weight": base[2:14].reshape(3, 4).T})
    (layer,) = read(tmp_path / "net.pt").layers
    np.testing.assert_array_equal(layer.read_weight(), base[2:14].reshape(3, 4).T)


def test_compressed_storages_are_read_too(tmp_path: Path) -> None:
    torch_file(tmp_path / "net.pt", examples.tensors(chain()), zipfile.ZIP_DEFLATED)
    assert (
        read(tmp_path / "net.pt").layers[0].read_weight().tobytes() == chain()[0].weight.tobytes()
    )


def test_names_that_were_sorted_are_put_into_the_order_that_chains(tmp_path: Path) -> None:
    sizes = {"hidden": (5, 7), "input": (7, 9), "output": (3, 5)}
    rng = np.random.default_rng(0)
    save_file({f"{n}.weight": rng.random(s, np.float32) for n, s in sizes.items()},
              tmp_path / "net.safetensors")  # fmt: skip
    network = read(tmp_path / "net.safetensors")
    assert [layer.name for layer in network.layers] == ["input", "hidden", "output"]
    assert [layer.activation for layer in network.layers] == ["relu", "relu", ""]


def test_what_is_no_product_is_listed_with_the_reason(tmp_path: Path) -> None:
    floats = {
        "conv.weight": (4, 3, 3, 3), "norm.weight": (8,), "embeddings.weight": (10, 4),
        "empty.weight": (0, 4), "fc.weight": (2, 8),
    }  # fmt: skip
    found = {name: np.ones(shape, np.float32) for name, shape in floats.items()}
    save_file({**found, "q.weight": np.ones((2, 2), np.int8), "ids": np.ones((2, 2), np.int64)},
              tmp_path / "net.safetensors")  # fmt: skip
    network = read(tmp_path / "net.safetensors")
    assert [layer.name for layer in network.layers] == ["fc"]
    reasons = {each.name: each.reason for each in network.skipped}
    assert "convolution" in reasons["conv.weight"]
    assert "no matrix" in reasons["norm.weight"]
    assert "embedding" in reasons["embeddings.weight"]
    assert "empty" in reasons["empty.weight"]
    assert "quantised" in reasons["q.weight"]
    assert "no floating point" in reasons["ids"]
    assert "parts that are not layers" in network.no_chain()


def test_one_matrix_is_one_layer(tmp_path: Path) -> None:
    matrix = sp.random_array((6, 4), density=0.4, rng=np.random.default_rng(0), dtype=np.float32)
    scipy.io.mmwrite(tmp_path / "a.mtx", matrix)
    sp.save_npz(tmp_path / "b.npz", sp.csr_array(matrix))
    np.save(tmp_path / "c.npy", matrix.toarray())
    for name in ("a.mtx", "b.npz", "c.npy"):
        (layer,) = read(tmp_path / name).layers
        np.testing.assert_allclose(layer.read_weight(), matrix.toarray(), rtol=1e-6)
    folder = read(tmp_path)
    assert [layer.name for layer in folder.layers] == ["a", "b", "c"]
    assert "do not chain" in folder.no_chain()


def test_a_folder_leaves_out_symbolic_links(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "outside.npy", np.ones((2, 3), np.float32))
    np.save(tmp_path / "in" / "own.npy", np.ones((2, 3), np.float32))
    (tmp_path / "in" / "link.npy").symlink_to(tmp_path / "outside.npy")
    network = read(tmp_path / "in")
    assert [layer.name for layer in network.layers] == ["own"]
    assert "symbolic link" in network.skipped[0].reason


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 2, 0, 1]])
@pytest.mark.parametrize("strides", [[1, 1], [2, 1]])
@pytest.mark.parametrize("dilations", [[1, 1], [1, 2]])
def test_a_convolution_is_lowered_as_it_is_computed(
    pads: list[int], strides: list[int], dilations: list[int], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    weights = {"conv.weight": rng.random((4, 2, 3, 3), np.float32),
               "conv.bias": rng.random(4, np.float32)}  # fmt: skip
    node = onnx.helper.make_node(
        "Conv", ["input", "conv.weight", "conv.bias"], ["conv"], pads=pads, strides=strides,
        dilations=dilations,
    )  # fmt: skip
    flat = onnx.helper.make_node("Flatten", ["conv"], ["output"])
    onnx.save(onnx_model([node, flat], weights, ["n", 2, 8, 9], 1), tmp_path / "net.onnx")
    network = read(tmp_path / "net.onnx")
    (layer,) = network.layers
    assert network.run is not None
    assert layer.read_bias is not None
    images = rng.random((3, 2, 8, 9), np.float32)
    (x,), outputs = network.run(images)
    assert x.shape == (layer.shape[1], layer.columns * len(images))
    y = layer.read_weight() @ x + layer.read_bias()[:, None]
    # Columns are (positions, images), outputs (channels * positions, images).
    np.testing.assert_allclose(y.reshape(4 * layer.columns, 3), outputs, rtol=1e-4, atol=1e-5)


def test_matmul_with_add_is_a_layer_with_bias(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {"w1": rng.random((7, 5), np.float32), "b1": rng.random(5, np.float32),
               "w2": rng.random((5, 3), np.float32)}  # fmt: skip
    make = onnx.helper.make_node
    nodes = [
        make("MatMul", ["input", "w1"], ["m1"]), make("Add", ["m1", "b1"], ["a1"]),
        make("Relu", ["a1"], ["r1"]), make("MatMul", ["r1", "w2"], ["output"]),
    ]  # fmt: skip
    onnx.save(onnx_model(nodes, weights, ["n", 7], 3), tmp_path / "net.onnx")
    network = read(tmp_path / "net.onnx")
    assert [layer.shape for layer in network.layers] == [(5, 7), (3, 5)]
    assert not network.no_chain()
    assert not network.skipped
    x = rng.random((4, 7), np.float32)
    layers, outputs = given.run(network, x)
    np.testing.assert_allclose(forward(network, x).T, outputs, rtol=1e-5)
    np.testing.assert_array_equal(layers[0], x.T)


def test_what_lies_between_products_keeps_a_graph_from_being_a_chain(tmp_path: Path) -> None:
    weights = {"w1": np.ones((5, 7), np.float32), "w2": np.ones((3, 5), np.float32)}
    make = onnx.helper.make_node
    nodes = [
        make("Gemm", ["input", "w1"], ["m1"], transB=1), make("Sigmoid", ["m1"], ["s"]),
        make("Gemm", ["s", "w2"], ["m2"], transB=1), make("Softmax", ["m2"], ["output"]),
    ]  # fmt: skip
    onnx.save(onnx_model(nodes, weights, ["n", 7], 3), tmp_path / "net.onnx")
    network = read(tmp_path / "net.onnx")
    assert network.no_chain() == "w1 is followed by sigmoid"
    assert {each.name for each in network.skipped} == {"Sigmoid", "Softmax"}


def test_inputs_of_another_shape_are_one_line(tmp_path: Path) -> None:
    for ending in (".npz", ".onnx"):
        WRITERS[ending](tmp_path / f"net{ending}", chain())
        with pytest.raises(UnreadableError, match=r"shape|values an item"):
            given.run(read(tmp_path / f"net{ending}"), np.ones((2, 9), np.float32))


def test_what_is_missing_or_unknown_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "net.xyz").write_text("")
    (tmp_path / "net.pt").write_text("")
    (tmp_path / "model.pb").write_text("x")
    for name, said in (
        ("nowhere.pt", "does not exist"),
        ("net.xyz", "no ending that is known"),
        ("net.pt", "is empty"),
        ("model.pb", "convert it to ONNX"),
    ):
        with pytest.raises(Exception, match=said):
            read(tmp_path / name)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnreadableError, match="holds no layer"):
        read(tmp_path / "folder")


@pytest.mark.parametrize("ending", [".pt", ".onnx"])
def test_weights_go_to_operands_and_back_to_a_file_without_changing_a_bit(
    ending: str, tmp_path: Path
) -> None:
    WRITERS[ending](tmp_path / f"net{ending}", chain((40, 30, 20)))
    network = read(tmp_path / f"net{ending}")
    running = [
        kernel
        for kernel in discover().values()
        if kernel.device == "cpu" and not kernel.unavailable() and "float32" in kernel.arithmetic
    ]
    assert {"numba-tiled", "numba-sell", "numba-bsr", "scipy-csr", "numpy-dense"} <= {
        kernel.name for kernel in running
    }
    for kernel in running:
        back = []
        for layer in network.layers:
            assert layer.read_bias is not None
            weight = Weight.from_dense(layer.read_weight())
            if kernel.unfit(weight):
                break
            dense = kernel.dense_weight(kernel.prepare(weight))
            assert dense.tobytes() == layer.read_weight().tobytes(), kernel.name
            back.append(WrittenLayer(layer.name, dense, layer.read_bias(), bool(layer.activation)))
        else:
            for again in (".safetensors", ".onnx", ".npz"):
                write(tmp_path / f"back{again}", back)
                for one, other in zip(
                    network.layers, read(tmp_path / f"back{again}").layers, strict=True
                ):
                    assert one.read_weight().tobytes() == other.read_weight().tobytes()


#: Models that PyTorch exported for ONNX's own tests, with what they should compute.
FOREIGN = ("Linear", "Conv2d", "Conv2d_no_bias", "Conv2d_padding", "Conv2d_strided",
           "Conv2d_dilated")  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_models_that_others_exported_compute_what_they_should(name: str) -> None:
    folder = Path(onnx.__file__).parent / "backend/test/data/pytorch-converted" / f"test_{name}"
    if not folder.exists():
        pytest.skip("not run: this onnx comes without its models")
    inputs, wanted = (
        onnx.numpy_helper.to_array(onnx.load_tensor(folder / "test_data_set_0" / f"{each}_0.pb"))
        for each in ("input", "output")
    )
    network = read(folder / "model.onnx")
    (layer,) = network.layers
    assert network.run is not None
    (x,), outputs = network.run(inputs)
    n = len(inputs)
    np.testing.assert_allclose(outputs, wanted.reshape(n, -1).T, rtol=1e-3, atol=1e-4)
    y = layer.read_weight() @ x
    y += layer.read_bias()[:, None] if layer.read_bias else 0
    np.testing.assert_allclose(y.reshape(-1, n), wanted.reshape(n, -1).T, rtol=1e-3, atol=1e-4)


def test_matrices_that_scipy_carries_are_read() -> None:
    folder = Path(scipy.linalg.__file__).parent / "tests/data"
    if not folder.exists():
        pytest.skip("not run: this SciPy comes without its tests")
    for name in ("carex_18_data.npz", "carex_20_data.npz"):
        network = read(folder / name)
        stored = np.load(folder / name)
        assert network.layers
        for layer in network.layers:
            np.testing.assert_array_equal(
                layer.read_weight(), stored[layer.name].astype(np.float32)
            )


@pytest.mark.parametrize("symmetry", ["general", "symmetric", "skew-symmetric"])
@pytest.mark.parametrize("field", ["real", "integer", "pattern"])
def test_matrix_market_is_read_as_scipy_reads_it(symmetry: str, field: str, tmp_path: Path) -> None:
    dense = np.random.default_rng(0).integers(-5, 6, (6, 6)).astype(float)
    dense = {"general": dense, "symmetric": dense + dense.T, "skew-symmetric": dense - dense.T}[
        symmetry
    ]
    path = tmp_path / "a.mtx"
    scipy.io.mmwrite(path, sp.coo_array(dense), field=field, symmetry=symmetry, comment="why")
    np.testing.assert_array_equal(
        read(path).layers[0].read_weight(), scipy.io.mmread(path).toarray().astype(np.float32)
    )
    scipy.io.mmwrite(path, dense[:, :4])
    np.testing.assert_array_equal(read(path).layers[0].read_weight(), dense[:, :4])
