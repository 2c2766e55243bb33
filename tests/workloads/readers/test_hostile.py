"""Files that are damaged, lie, or mean harm: one line each, and nothing is run or written."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from safetensors.numpy import save, save_file

from crossover.bench.errors import InputError
from crossover.bench.workloads.readers import read
from crossover.bench.workloads.readers.arrays import read_inputs
from tests.workloads.readers.examples import WRITERS, chain, onnx_model, torch_file

#: No file of these tests warrants more.
MOST_BYTES = 50e6


def refused(path: Path) -> str:
    """Return the line that refuses a file, whole or once its weights are read."""
    before = {each: each.stat().st_mtime_ns for each in path.parent.rglob("*")}
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            read_whole(path)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
    assert {each: each.stat().st_mtime_ns for each in path.parent.rglob("*")} == before
    line = str(caught.value)
    assert str(path) in line
    return line


def read_whole(path: Path) -> None:
    for layer in read(path).layers:
        layer.read_weight()
        if layer.read_bias:
            layer.read_bias()


def line_of(path: Path) -> str:
    """Return the line that refuses a file, which need not be: then its path."""
    try:
        read_whole(path)
    except InputError as error:
        return str(error)
    return str(path)


@pytest.mark.parametrize("ending", WRITERS)
def test_a_file_that_ends_too_soon_is_refused_wherever_it_ends(ending: str, tmp_path: Path) -> None:
    WRITERS[ending](tmp_path / f"whole{ending}", chain())
    content = (tmp_path / f"whole{ending}").read_bytes()
    for size in sorted({1, 7, 8, 9, *np.linspace(10, len(content) - 1, 25, dtype=int).tolist()}):
        path = tmp_path / f"{size}{ending}"
        path.write_bytes(content[:size])
        line = line_of(path)  # what is cut off at the end of an archive may not be missed
        assert str(path) in line
        assert len(line.splitlines()) == 1


@pytest.mark.parametrize("ending", WRITERS)
def test_changed_bytes_never_end_in_a_traceback(ending: str, tmp_path: Path) -> None:
    WRITERS[ending](tmp_path / f"whole{ending}", chain())
    content = (tmp_path / f"whole{ending}").read_bytes()
    rng = np.random.default_rng(0)
    for number in range(150):
        changed = bytearray(content)
        for place in rng.integers(len(content), size=rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        path = tmp_path / f"{number}{ending}"
        path.write_bytes(changed)
        assert str(path) in line_of(path)


def test_what_a_fuzzer_found_is_refused_or_read(tmp_path: Path) -> None:
    for path in sorted((Path(__file__).parent / "found").glob("*")):
        copy = tmp_path / f"net.{path.name.split('-')[0]}"
        copy.write_bytes(path.read_bytes())
        assert str(copy) in line_of(copy), path.name


class Harm:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("where", ["alone", "in a state"])
def test_a_pickle_with_code_runs_nothing(where: str, tmp_path: Path) -> None:
    harm = Harm(tmp_path / "made")
    content = harm if where == "alone" else {"fc.weight": np.ones((2, 2), np.float32), "x": harm}
    torch_file(tmp_path / "net.pt", content)
    assert "mkdir, which is no tensor" in refused(tmp_path / "net.pt")
    assert not (tmp_path / "made").exists()


def test_pickles_in_arrays_are_not_loaded(tmp_path: Path) -> None:
    harm = np.array([Harm(tmp_path / "made")], object)
    np.savez(tmp_path / "net.npz", w=harm)
    np.save(tmp_path / "net.npy", harm)
    for name in ("net.npz", "net.npy"):
        assert "objects" in refused(tmp_path / name)
    with pytest.raises(InputError):
        read_inputs(tmp_path / "net.npy", "--inputs")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("ending", WRITERS)
def test_weights_must_be_numbers(ending: str, value: float, tmp_path: Path) -> None:
    layers = chain()
    layers[1].weight[0, 0] = value
    WRITERS[ending](tmp_path / f"net{ending}", layers)
    assert "not finite" in refused(tmp_path / f"net{ending}")


def test_a_float64_beyond_float32_is_no_number(tmp_path: Path) -> None:
    save_file({"fc.weight": np.full((2, 2), 1e300)}, tmp_path / "net.safetensors")
    assert "not finite" in refused(tmp_path / "net.safetensors")


def header(content: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 1 << 62) + b"{}",
        header({"a.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 64]}}, b"x" * 16),
        header({"a.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
                "b.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [8, 24]}}, b"x" * 24),
        header({"a.weight": {"dtype": "F32", "shape": [1 << 40, 1 << 40],
                             "data_offsets": [0, 16]}}, b"x" * 16),
        header({"a.weight": {"dtype": "F32", "shape": [-2, -2], "data_offsets": [0, 16]}},
               b"x" * 16),
        struct.pack("<Q", 4000) + b"[" * 2000 + b"]" * 2000,
    ],
    ids=["endless header", "beyond the file", "overlapping", "huge", "negative", "nested"],
)  # fmt: skip
def test_safetensors_that_lie_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(content)
    refused(tmp_path / "net.safetensors")


@pytest.mark.parametrize("ratio", ["bomb", "honest zeros"])
def test_zip_bombs_are_refused_and_pruned_weights_are_not(ratio: str, tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    if ratio == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            content = io.BytesIO()
            np.save(content, np.zeros((1000, 20000), np.float32))
            archive.writestr("w.npy", content.getvalue())
        assert "zip bomb" in refused(path)
    else:
        rng = np.random.default_rng(0)
        pruned = rng.standard_normal((1000, 1000), np.float32)
        pruned[rng.random(pruned.shape) < 0.99] = 0
        np.savez_compressed(path, w=pruned)
        assert np.array_equal(read(path).layers[0].read_weight(), pruned)


def test_an_array_larger_than_its_member_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 20)}
    )
    with zipfile.ZipFile(tmp_path / "net.npz", "w") as archive:
        archive.writestr("w.npy", content.getvalue())
    (tmp_path / "net.npy").write_bytes(content.getvalue())
    for name in ("net.npz", "net.npy"):
        refused(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "%%MatrixMarket matrix coordinate real general\n1000000 1000000 999999999\n1 1 1\n",
        "%%MatrixMarket matrix coordinate real general\n2 2 1\n3 3 1.0\n",
        "%%MatrixMarket matrix coordinate complex general\n2 2 1\n1 1 1.0 2.0\n",
        "%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 nan\n",
        "%%MatrixMarket matrix array real general\n0 0\n",
        "no matrix",
    ],
)
def test_matrix_market_files_that_lie_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "net.mtx").write_text(text)
    refused(tmp_path / "net.mtx")


def changed_pickle(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the pickle of a PyTorch file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, change(content) if name.endswith("data.pkl") else content)


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch_file(path, {"fc.weight": np.ones((2, 3), np.float32)})
    changed_pickle(path, lambda content: content.replace(b"K\x02K\x03\x86", b"K\x7fK\x7f\x86"))
    assert "beyond its storage" in refused(path)
    torch_file(path, {"fc.weight": np.ones((2, 3), np.float32)})
    changed_pickle(path, lambda content: content.replace(b"K\x06", b"K\x60"))
    assert "not 96" in refused(path)


@pytest.mark.parametrize(
    "content",
    [pickle.dumps(b"x" * 10)[:-4], b"\x80\x02" + b"(" * 5000, b"\x80\x05\x95" + b"\xff" * 8,
     pickle.dumps([1, 2]), b""],
)  # fmt: skip
def test_pickles_that_hold_no_state_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch_file(path, {})
    changed_pickle(path, lambda _: content)
    refused(path)


def external(tmp_path: Path, location: str, length: int = 16) -> Path:
    """Write a model whose one weight of 16 bytes lies elsewhere."""
    node = onnx.helper.make_node("Gemm", ["input", "w"], ["output"], transB=1)
    model = onnx_model([node], {"w": np.ones((2, 2), np.float32)}, ["n", 2], 2)
    (weight,) = model.graph.initializer
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        weight.external_data.add(key=key, value=value)
    path = tmp_path / "model" / "net.onnx"
    path.parent.mkdir()
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_are_read_from_beside_the_model_alone(tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin")
    (path.parent / "w.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    np.testing.assert_array_equal(read(path).layers[0].read_weight(), [[0, 1], [2, 3]])


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "", "missing.bin", "link.bin"])
def test_external_data_elsewhere_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"x" * 16)
    path = external(tmp_path, location)
    (path.parent / "link.bin").symlink_to(tmp_path / "w.bin")
    assert "external data" in refused(path)


@pytest.mark.parametrize("length", [8, 1 << 40])
def test_external_data_of_another_size_are_refused(length: int, tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin", length)
    (path.parent / "w.bin").write_bytes(b"x" * 16)
    refused(path)


def test_an_onnx_tensor_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Gemm", ["input", "w"], ["output"], transB=1)
    for sides in ([1 << 30, 1 << 30], [-1, 2], [2, 3]):
        model = onnx_model([node], {"w": np.ones((2, 2), np.float32)}, ["n", 2], 2)
        model.graph.initializer[0].dims[:] = sides
        (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
        refused(tmp_path / "net.onnx")


def test_a_configuration_of_keras_is_only_read(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    WRITERS[".keras"](path, chain())
    with zipfile.ZipFile(path) as archive:
        weights = archive.read("model.weights.h5")
    for config in ("[" * 5000 + "]" * 5000, "{}", "null", '{"config": {"layers": 3}}'):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", config)
            archive.writestr("model.weights.h5", weights)
        refused(path)
    lambda_layer = {"class_name": "Lambda", "config": {"name": "l", "function": "os.system"}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": [lambda_layer]}}))
        archive.writestr("model.weights.h5", weights)
    assert "Lambda: no matrix product" in refused(path)


def test_what_an_hdf5_file_refers_to_elsewhere_is_not_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["kernel"] = np.ones((2, 3), np.float32)
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file["fc/kernel"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "kernel")
    refused(tmp_path / "net.h5")


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.pt")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        read(tmp_path / "net.pt")


def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    for rows in (2, 3):
        path.write_bytes(save({"fc.weight": np.ones((rows, 4), np.float32)}))
        assert read(path).layers[0].shape == (rows, 4)
