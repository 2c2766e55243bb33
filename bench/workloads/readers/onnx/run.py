"""An ONNX model run by the library's own evaluator, for the real activations of its layers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossover.bench.workloads.readers.onnx.lowering import Lowering
from crossover.bench.workloads.readers.stored import Floats, unreadable

if TYPE_CHECKING:
    from crossover.bench.workloads.readers.onnx.graph import Graph

_KIND = "ONNX"


def runner(
    onnx: Any, graph: Graph, lowerings: Sequence[Lowering]
) -> Callable[[NDArray[Any]], tuple[list[Floats], Floats]]:
    """Return a function of inputs (n, ...): the X of each layer, and the outputs (outputs, n).

    It raises UnreadableError where the model cannot be run on them.
    """

    def run(inputs: NDArray[Any]) -> tuple[list[Floats], Floats]:
        sources = [each.source for each in lowerings]
        try:
            given, results = _evaluated(onnx, graph, sources, inputs)
        except Exception as error:  # whatever an operation makes of foreign inputs
            raise unreadable(
                graph.path, _KIND, f"it cannot be run on inputs of shape {inputs.shape}: {error}",
                "give inputs of the shape that it takes, its batch first",
            ) from error  # fmt: skip
        layers = [each.lower(given[each.source]) for each in lowerings]
        output = np.asarray(results, np.float32).reshape(len(inputs), -1)
        return layers, np.ascontiguousarray(output.T)

    return run


def _evaluated(
    onnx: Any, graph: Graph, sources: Sequence[str], inputs: NDArray[Any]
) -> tuple[dict[str, Any], Any]:
    """Return the activations by name, and the first output."""
    reference: Any = importlib.import_module("onnx.reference")
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    for proto in model.graph.initializer:
        if proto.data_location == onnx.TensorProto.EXTERNAL:
            proto.CopyFrom(onnx.numpy_helper.from_array(
                np.ascontiguousarray(graph.weights[proto.name].read()), proto.name))  # fmt: skip
    known = {each.name for each in model.graph.initializer}
    (entry, *more) = [each for each in model.graph.input if each.name not in known]
    if more:
        raise ValueError(f"it takes {len(more) + 1} inputs")
    result = model.graph.output[0].name
    wanted = [*dict.fromkeys(sources)]
    names = [name for name in wanted if name != entry.name]
    model.graph.ClearField("output")
    for name in [result, *(name for name in names if name != result)]:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    sides = [int(d.dim_value) for d in entry.type.tensor_type.shape.dim]
    fed = np.asarray(inputs, np.float32)
    if len(sides) > 1 and all(sides[1:]):
        fed = fed.reshape(len(fed), *sides[1:])
    found = reference.ReferenceEvaluator(model).run(None, {entry.name: fed})
    by_name = dict(zip([each.name for each in model.graph.output], found, strict=True))
    return by_name | {entry.name: fed}, by_name[result]
