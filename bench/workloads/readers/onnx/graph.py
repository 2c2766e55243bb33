"""ONNX models: the layers of a graph, in the order in which it computes them.

Gemm, MatMul and Conv with weights of the file are layers; what adds a vector to one is its bias.
The library parses the file; what it says of its tensors' sizes is held against what is there.
"""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from crossover.bench.workloads.readers.onnx.lowering import Lowering, Window, lowering_of
from crossover.bench.workloads.readers.onnx.run import runner
from crossover.bench.workloads.readers.onnx.tensors import tensor_of
from crossover.bench.workloads.readers.stored import (
    Floats,
    Skipped,
    StoredLayer,
    StoredNetwork,
    Tensor,
    UnreadableError,
    checked_values,
    no_layers,
    unreadable,
)

_KIND = "ONNX"
# Operations that leave numbers as they are when a network serves.
_WITHOUT_EFFECT = {"Identity", "Flatten", "Reshape", "Dropout", "Squeeze", "Unsqueeze", "Cast",
                   "Constant"}  # fmt: skip
_PRODUCTS = {"Gemm", "MatMul", "Conv"}


def read(path: Path) -> StoredNetwork:
    """Return the network in an ONNX file.

    Raises:
        UnreadableError: if it is none, holds no layer, or ``onnx`` is not installed.
    """
    try:
        onnx: Any = importlib.import_module("onnx")
    except ImportError:
        raise UnreadableError(
            f"{path} is an ONNX model, and onnx is not installed to read it: install the extra onnx"
        ) from None
    try:
        model = onnx.load_model(path, load_external_data=False)
        graph = Graph(onnx, model, path)
        found = dict(graph.layers())
    except UnreadableError:
        raise
    except Exception as error:  # the parser's errors are of many kinds
        raise unreadable(path, _KIND, error) from error
    skipped, computing = graph.skipped(set(found))
    if not found:
        raise no_layers(path, _KIND, skipped)
    return StoredNetwork(
        path,
        _KIND,
        tuple(layer for layer, _ in found.values()),
        tuple(skipped),
        runner(onnx, graph, [how for _, how in found.values()]),
        frozenset(computing),
    )


class Graph:
    """A model's graph, its tensors, and who takes what."""

    def __init__(self, onnx: Any, model: Any, path: Path) -> None:
        self.onnx, self.model, self.path = onnx, model, path
        self.nodes = list(model.graph.node)
        self.weights = {p.name: tensor_of(p, path.parent) for p in model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and self._attribute(node, "value") is not None:
                self._add_constant(node)
        self._absorbed: set[int] = set()

    def layers(self) -> Iterator[tuple[int, tuple[StoredLayer, Lowering]]]:
        """Yield the number of each node that is a layer, with the layer and where its X is."""
        for number, node in enumerate(self.nodes):
            if node.op_type in _PRODUCTS:
                weight = self._weight(node)
                lowering = weight and self._lowering(node, weight)
                if weight and isinstance(lowering, Lowering):
                    yield number, (self._layer(node, weight, lowering), lowering)

    def skipped(self, layers: set[int]) -> tuple[list[Skipped], list[str]]:
        """Return what is no layer and why; and which of it computes something between layers."""
        found, plain = [], Counter[str]()
        for number, node in enumerate(self.nodes):
            if number in layers or number in self._absorbed or node.op_type in _WITHOUT_EFFECT:
                continue
            weight = self._weight(node)
            if node.op_type == "Relu" and self._follows_layer(node, layers):
                continue
            if weight is None:
                plain[node.op_type] += 1
                continue
            reason = self._lowering(node, weight) if node.op_type in _PRODUCTS else None
            why = reason if isinstance(reason, str) else f"{node.op_type}: no matrix product"
            found.append(Skipped(_short(weight.name), why))
        last = self._last_operation()
        for kind, count in plain.items():
            times = f" ({count} times)" if count > 1 else ""
            found.append(Skipped(kind, f"computed between products{times}"))
        between = [s.name for s in found if not (s.name == last and plain[last] == 1)]
        return found, between

    # -- one layer ----------------------------------------------------------------------------

    def _layer(self, node: Any, weight: Tensor, lowering: Lowering) -> StoredLayer:
        bias = self._bias(node, lowering.shape[0])
        read_bias = checked_values(self.path, _KIND, bias.values) if bias else None
        return StoredLayer(
            _short(weight.name) or node.name,
            lowering.shape,
            checked_values(self.path, _KIND, partial(_matrix, weight, lowering)),
            read_bias,
            lowering.columns,
            self._activation(node),
        )

    def _weight(self, node: Any) -> Tensor | None:
        """Return the tensor of the file that a node multiplies by, or None."""
        given = [self.weights[name] for name in node.input if name in self.weights]
        given = [each for each in given if each.dtype.startswith(("float", "bfloat"))]
        return max(given, key=lambda each: (len(each.shape) > 1, each.size), default=None)

    def _lowering(self, node: Any, weight: Tensor) -> Lowering | str:
        """Return how a node's product is lowered, or why it is none."""
        if weight.refusal:
            return weight.refusal
        if 0 in weight.shape:
            return f"empty: {weight.shape}"
        if node.op_type == "Conv":
            return self._convolution(node, weight)
        if len(weight.shape) != 2:
            return f"{node.op_type} by a tensor of {len(weight.shape)} dimensions"
        alone = len([name for name in node.input[:2] if name in self.weights]) == 1
        if not alone or weight.name not in node.input[:2]:
            return f"{node.op_type}: no product of a weight and activations"
        first = node.input[0] == weight.name
        if node.op_type == "Gemm":
            if first or self._attribute(node, "transA", 0):
                return "Gemm: its activations are transposed"
            if self._attribute(node, "alpha", 1.0) != 1 or self._attribute(node, "beta", 1.0) != 1:
                return "Gemm: it scales by alpha or beta"
            return Lowering(node.input[0], weight.shape, not self._attribute(node, "transB", 0))
        if first:
            return "MatMul: the weight is on the left"
        columns = self._columns(node.input[0])
        return Lowering(node.input[0], weight.shape, True, columns)

    def _convolution(self, node: Any, weight: Tensor) -> Lowering | str:
        if len(weight.shape) != 4 or node.input[1] != weight.name:
            return f"Conv of {len(weight.shape) - 2} dimensions: only images are lowered"
        if self._attribute(node, "group", 1) != 1:
            return "Conv: grouped, so each product is of a part of the channels"
        image = self._shape(node.input[0])
        if image is None or len(image) != 4 or not all(image[2:]):
            return "Conv: the size of its images is not in the file"
        given = {name: list(self._attribute(node, name, default)) for name, default in (
            ("strides", [1, 1]), ("dilations", [1, 1]), ("pads", [0, 0, 0, 0]))}  # fmt: skip
        auto = self._attribute(node, "auto_pad", b"NOTSET")
        window = Window((weight.shape[2], weight.shape[3]), **given)
        return lowering_of(node.input[0], weight.shape, image[2:], window, auto)

    def _bias(self, node: Any, m: int) -> Tensor | None:
        """Return the vector that is added to a layer's product, or None."""
        places = {"Gemm": 2, "Conv": 2}
        place = places.get(node.op_type)
        if place is not None and len(node.input) > place:
            return self._vector(node.input[place], m)
        if node.op_type == "MatMul" and (added := self._sole_taker(node.output[0])) is not None:
            number, taker = added
            others = [name for name in taker.input if name != node.output[0]]
            if taker.op_type == "Add" and others and (bias := self._vector(others[0], m)):
                self._absorbed.add(number)
                return bias
        return None

    def _vector(self, name: str, m: int) -> Tensor | None:
        found = self.weights.get(name)
        if found is None or found.size != m or found.shape[-1:] != (m,) or found.refusal:
            return None
        read = partial(_flat, found)
        return Tensor(found.name, (m,), found.dtype, read)

    def _activation(self, node: Any) -> str:
        """Return what follows a layer: ``relu``, nothing, or the name of an operation."""
        taker = self._sole_taker(node.output[0])
        while taker is not None and (
            taker[0] in self._absorbed or taker[1].op_type in _WITHOUT_EFFECT
        ):
            taker = self._sole_taker(taker[1].output[0])
        if taker is None:
            return ""
        kind = taker[1].op_type
        is_last = self._sole_taker(taker[1].output[0]) is None
        return "" if kind in _PRODUCTS or (is_last and kind != "Relu") else kind.lower()

    # -- the graph ----------------------------------------------------------------------------

    @cached_property
    def _takers(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for number, node in enumerate(self.nodes):
            for name in node.input:
                found.setdefault(name, []).append(number)
        return found

    def _sole_taker(self, name: str) -> tuple[int, Any] | None:
        takers = self._takers.get(name, [])
        return (takers[0], self.nodes[takers[0]]) if len(takers) == 1 else None

    def _follows_layer(self, node: Any, layers: set[int]) -> bool:
        makers = {name: number for number in layers for name in self.nodes[number].output}
        makers |= {name: n for n in self._absorbed for name in self.nodes[n].output}
        return node.input[0] in makers

    def _last_operation(self) -> str:
        outputs = {each.name for each in self.model.graph.output}
        return next((n.op_type for n in self.nodes if outputs & set(n.output)), "")

    def _attribute(self, node: Any, name: str, default: Any = None) -> Any:
        for each in node.attribute:
            if each.name == name:
                return self.onnx.helper.get_attribute_value(each)
        return default

    def _add_constant(self, node: Any) -> None:
        proto = self._attribute(node, "value")
        found = tensor_of(proto, self.path.parent)
        name = node.output[0]
        self.weights[name] = Tensor(name, found.shape, found.dtype, found.read)

    @cached_property
    def _shapes(self) -> Mapping[str, list[int]]:
        """Return the shapes that the library infers; 0 for a side that is not known."""
        model = self.onnx.shape_inference.infer_shapes(self.model)
        return {
            each.name: [int(d.dim_value) for d in each.type.tensor_type.shape.dim]
            for each in (*model.graph.input, *model.graph.value_info, *model.graph.output)
        }

    def _shape(self, name: str) -> list[int] | None:
        return self._shapes.get(name)

    def _columns(self, name: str) -> int:
        """Return how many rows of a MatMul's left side an item of the batch has."""
        shape = self._shape(name)
        middle = shape[1:-1] if shape else []
        return math.prod(middle) if middle and all(middle) else 1


def _matrix(weight: Tensor, lowering: Lowering) -> Floats:
    """Return W (m, k) of a layer."""
    values = weight.values()
    if values.ndim == 4:
        return np.ascontiguousarray(values.reshape(values.shape[0], -1))
    return np.ascontiguousarray(values.T) if lowering.turned else values


def _flat(tensor: Tensor) -> Any:
    return tensor.read().reshape(-1)


def _short(name: str) -> str:
    for ending in (".weight", "_weight", "/kernel", ".kernel"):
        name = name.removesuffix(ending)
    return name
