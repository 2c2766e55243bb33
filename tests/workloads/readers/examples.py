"""Small networks in the formats that readers know, written without the libraries that own them."""

from __future__ import annotations

import itertools
import json
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
from numpy.typing import NDArray
from safetensors.numpy import save_file

from crossover.bench.workloads.readers.writing import WrittenLayer, write

Arrays = Mapping[str, NDArray[Any]]


def chain(sizes: tuple[int, ...] = (7, 5, 3), seed: int = 0) -> list[WrittenLayer]:
    """Return a chain of layers, half of whose weights are zero."""
    rng = np.random.default_rng(seed)
    layers = []
    for index, (k, m) in enumerate(itertools.pairwise(sizes)):
        weight = rng.standard_normal((m, k), np.float32)
        weight[rng.random((m, k)) < 0.5] = 0
        bias = rng.standard_normal(m, np.float32)
        layers.append(WrittenLayer(f"fc{index + 1}", weight, bias, index < len(sizes) - 2))
    return layers


def tensors(layers: list[WrittenLayer]) -> dict[str, NDArray[Any]]:
    """Return the tensors of a chain, as a ``state_dict`` names them."""
    found: dict[str, NDArray[Any]] = {}
    for each in layers:
        found |= {f"{each.name}.weight": each.weight, f"{each.name}.bias": each.bias}
    return found


def as_safetensors(path: Path, layers: list[WrittenLayer]) -> None:
    save_file(tensors(layers), path)


def as_written(path: Path, layers: list[WrittenLayer]) -> None:
    write(path, layers)


def as_pytorch(path: Path, layers: list[WrittenLayer]) -> None:
    torch_file(path, tensors(layers))


def as_keras(path: Path, layers: list[WrittenLayer]) -> None:
    """Write what Keras 3 does: a configuration, and kernels (inputs, outputs) by class."""
    config: dict[str, Any] = {"class_name": "Sequential", "config": {"layers": [
        {"class_name": "InputLayer", "config": {"name": "in"}},
        *({"class_name": "Dense", "config": {"name": e.name, "activation": "relu" if e.relu else
                                             "linear"}} for e in layers),
    ]}}  # fmt: skip
    inner = path.with_suffix(".inner")
    with h5py.File(inner, "w") as file:
        for index, each in enumerate(layers):
            group = file.create_group(f"layers/dense{f'_{index}' if index else ''}/vars")
            group["0"], group["1"] = each.weight.T, each.bias
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.write(inner, "model.weights.h5")
    inner.unlink()


def as_h5(path: Path, layers: list[WrittenLayer]) -> None:
    """Write what Keras 2 does with weights alone."""
    with h5py.File(path, "w") as file:
        for each in layers:
            file[f"{each.name}/{each.name}/kernel:0"] = each.weight.T
            file[f"{each.name}/{each.name}/bias:0"] = each.bias


WRITERS = {
    ".safetensors": as_safetensors,
    ".onnx": as_written,
    ".npz": as_written,
    ".pt": as_pytorch,
    ".keras": as_keras,
    ".h5": as_h5,
}


def torch_file(path: Path, content: Any, compression: int = zipfile.ZIP_STORED) -> None:
    """Write ``content`` as ``torch.save`` does: arrays in it become tensors."""
    storages: list[NDArray[Any]] = []
    modules = {name: types.ModuleType(name) for name in ("torch", "torch._utils", "torch.storage")}

    def rebuild(*_: Any) -> None:
        raise AssertionError("only its name is written")

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    modules["torch._utils"]._rebuild_tensor_v2 = rebuild  # type: ignore[attr-defined]
    kinds = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage",
             "int64": "LongStorage", "uint16": "BFloat16Storage"}  # fmt: skip
    for name in kinds.values():
        setattr(modules["torch"], name, type(name, (), {"__module__": "torch"}))

    class Storage:
        def __init__(self, array: NDArray[Any]) -> None:
            self.kind = getattr(modules["torch"], kinds[array.dtype.name])
            self.number, self.size = len(storages), array.size
            storages.append(array)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if isinstance(value, Storage):
                return "storage", value.kind, str(value.number), "cpu", value.size
            return None

        def reducer_override(self, value: Any) -> Any:
            if not isinstance(value, np.ndarray):
                return NotImplemented
            strides = tuple(step // value.itemsize for step in value.strides)
            base = value if value.base is None else np.asarray(value.base)
            offset = (value.ctypes.data - base.ctypes.data) // value.itemsize
            given: Any = Storage(base.ravel()), offset, value.shape, strides, False, OrderedDict()
            return rebuild, given

    with zipfile.ZipFile(path, "w", compression) as archive:
        before = {name: sys.modules.get(name) for name in modules}
        sys.modules.update(modules)
        try:
            with archive.open("archive/data.pkl", "w") as file:
                Pickler(file, 2).dump(content)
        finally:
            for name, module in before.items():
                if module is None:
                    del sys.modules[name]
                else:
                    sys.modules[name] = module
        for number, array in enumerate(storages):
            archive.writestr(f"archive/data/{number}", array.tobytes())
        archive.writestr("archive/byteorder", "little")


def onnx_model(nodes: list[Any], weights: Arrays, inputs: list[Any], outputs: int) -> Any:
    """Return a model that computes ``nodes`` from ``input`` to ``output``."""
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = make.make_graph(
        nodes,
        "example",
        [make.make_tensor_value_info("input", kind, inputs)],
        [make.make_tensor_value_info("output", kind, ["n", outputs])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in weights.items()],
    )
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
