"""Networks written for other tools: safetensors, ONNX, and ``.npz``, all with the same names.

A layer ``fc1`` is ``fc1.weight`` (outputs, inputs) and ``fc1.bias`` (outputs,), float32, the zeros
of a pruned W in place. ONNX has a Gemm per layer, with a Relu where one follows, from ``input``
(batch, inputs) to ``output``. Each is read back to the last bit.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from crossover.bench.errors import InputError
from crossover.bench.records.files import write_whole
from crossover.bench.workloads.readers.stored import Floats

_OPSET, _IR = 17, 8


@dataclass(frozen=True)
class WrittenLayer:
    """A layer to be written: W (m, k), b (m,), and whether a ReLU follows."""

    name: str
    weight: Floats
    bias: Floats
    relu: bool


def write(path: Path, layers: Sequence[WrittenLayer]) -> None:
    """Write a chain of layers to ``path``, in the format that its ending tells.

    Raises:
        InputError: if the ending is none that is written, or the file cannot be.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InputError(f"{path} has no ending that is written: give {', '.join(_WRITERS)}")
    write_whole(path, writer(layers))


def _tensors(layers: Sequence[WrittenLayer]) -> dict[str, Floats]:
    found = {}
    for layer in layers:
        found[f"{layer.name}.weight"] = np.ascontiguousarray(layer.weight, np.float32)
        found[f"{layer.name}.bias"] = np.ascontiguousarray(layer.bias, np.float32)
    return found


def _safetensors(layers: Sequence[WrittenLayer]) -> bytes:
    return save(_tensors(layers))


def _npz(layers: Sequence[WrittenLayer]) -> bytes:
    written = io.BytesIO()
    arrays: Any = _tensors(layers)
    np.savez_compressed(written, **arrays)
    return written.getvalue()


def _onnx(layers: Sequence[WrittenLayer]) -> bytes:
    try:
        onnx: Any = importlib.import_module("onnx")
    except ImportError:
        raise InputError(
            "onnx is not installed to write its files: install the extra onnx"
        ) from None
    make, nodes, activation = onnx.helper, [], "input"
    for index, layer in enumerate(layers):
        last = index == len(layers) - 1
        result = "output" if last and not layer.relu else f"{layer.name}.product"
        given = [activation, f"{layer.name}.weight", f"{layer.name}.bias"]
        nodes.append(make.make_node("Gemm", given, [result], layer.name, transB=1))
        activation = result
        if layer.relu:
            activation = "output" if last else f"{layer.name}.output"
            nodes.append(make.make_node("Relu", [result], [activation], f"{layer.name}.relu"))
    shapes = {"input": layers[0].weight.shape[1], "output": layers[-1].weight.shape[0]}
    inputs, outputs = (
        make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", size])
        for name, size in shapes.items()
    )
    weights = [onnx.numpy_helper.from_array(a, name) for name, a in _tensors(layers).items()]
    graph = make.make_graph(nodes, "network", [inputs], [outputs], weights)
    opset = make.make_opsetid("", _OPSET)
    model = make.make_model(graph, opset_imports=[opset], ir_version=_IR)
    content: bytes = model.SerializeToString()
    return content


_WRITERS: Mapping[str, Callable[[Sequence[WrittenLayer]], bytes]] = {
    ".safetensors": _safetensors,
    ".onnx": _onnx,
    ".npz": _npz,
}
