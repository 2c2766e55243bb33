"""A network that is served: its operands, and buffers that every call uses again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from ..base import Array, Kernel, Weight
from ..discovery import discover
from ..processor import aligned_empty
from . import compiled, glue
from .plan import Choice, Plan

#: Instead of a kernel, where what lies between products is measured alone.
NOTHING = "nothing"
# So many batch sizes keep their buffers in a thread; beyond, those used first go.
_MOST_SIZES = 16


@dataclass(frozen=True)
class Layer:
    """What a layer holds: W with its pattern, and b (m,)."""

    weight: Weight
    bias: Array


#: Computes Y = W X in the buffer, of X.
_Product = Callable[[Array, Array], Array]


class Network:
    """A network by its plan; call it with (n, inputs) float32, get (n, outputs).

    Calls from several threads at a time are safe, each on buffers of its own.
    """

    def __init__(
        self,
        plan: Plan,
        layers: Sequence[Layer],
        kernels: Mapping[str, Kernel] | None = None,
    ) -> None:
        """Convert the weights for the kernels that the plan names.

        Raises:
            ValueError: if a kernel is unknown or cannot run here, or layers are not the plan's.
        """
        shapes = [each.weight.shape for each in layers]
        if shapes != [each.shape for each in plan.layers]:
            raise ValueError(f"layers of shapes {shapes} are not the plan's")
        self.plan = plan
        self.threads = numba.get_num_threads()
        self._biases = [np.ascontiguousarray(each.bias, np.float32) for each in layers]
        there = discover() if kernels is None else kernels
        self._kernels = there
        self._operands = [
            {name: _operand(there, name, layer.weight) for name in plan.kernels_of(index)}
            for index, layer in enumerate(layers)
        ]
        #: Wᵀ (k, m), of plans that go all dense somewhere.
        self._dense = (
            [np.ascontiguousarray(layer.weight.values.T) for layer in layers]
            if plan.uses_dense
            else []
        )
        self._local = threading.local()

    @property
    def inputs(self) -> int:
        """Return how many values an input has."""
        return self.plan.layers[0].shape[1]

    @property
    def outputs(self) -> int:
        """Return how many values an output has."""
        return self.plan.layers[-1].shape[0]

    @property
    def nbytes(self) -> int:
        """Return the bytes of all operands, those of several kernels for a layer together."""
        sparse = sum(operand.nbytes for each in self._operands for operand in each.values())
        return int(sparse + sum(each.nbytes for each in (*self._dense, *self._biases)))

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        """Return the outputs (n, outputs) of ``x`` (n, inputs), one input a row.

        Without ``out`` the result is a buffer that the next call from the same thread overwrites:
        copy what you keep. After the first call of a size nothing is allocated, if x is float32 in
        C order, but by kernels that need room of their own where a plan goes layer by layer.

        Raises:
            ValueError: if the shape of x or of out is another.
        """
        x = np.ascontiguousarray(x, np.float32)
        if x.ndim != 2 or x.shape[1] != self.inputs or not len(x):
            raise ValueError(f"inputs of shape {x.shape}: give (n, {self.inputs}), an input a row")
        call = self._prepared(len(x))
        result = call.out if out is None else out
        if result.shape != (len(x), self.outputs) or result.dtype != np.float32:
            raise ValueError(
                f"out is {result.dtype} {result.shape}: give float32 ({len(x)}, {self.outputs})"
            )
        call.run(x, result)
        return result

    def _prepared(self, n: int) -> _Call:
        calls: dict[int, _Call] | None = getattr(self._local, "calls", None)
        if calls is None:
            calls = self._local.calls = {}
        found = calls.get(n)
        if found is None:
            if len(calls) >= _MOST_SIZES:
                calls.pop(next(iter(calls)))
            found = calls[n] = self._call(n, self.plan.choice(n))
        return found

    def _call(self, n: int, choice: Choice) -> _Call:
        relus = [each.relu for each in self.plan.layers]
        if choice.way == "dense":
            return _DenseCall(n, self._dense, self._biases, relus)
        operands = [e[name] for e, name in zip(self._operands, choice.kernels, strict=True)]
        if choice.way == "compiled":
            return _CompiledCall(n, self, choice.kernels, operands, self._biases, relus)
        products = [
            _product(self._kernels.get(name), operand)
            for name, operand in zip(choice.kernels, operands, strict=True)
        ]
        return _KernelCall(n, self.inputs, products, self._biases, relus, self.threads)


class _Call:
    """One size of batch: its buffers, made once."""

    out: Array

    def run(self, x: Array, out: Array) -> None:
        """Write the outputs (n, outputs) of ``x`` (n, inputs)."""
        raise NotImplementedError


class _KernelCall(_Call):
    """Activations (features, n), each layer by a kernel."""

    def __init__(
        self,
        n: int,
        inputs: int,
        products: Sequence[_Product],
        biases: Sequence[Array],
        relus: Sequence[bool],
        threads: int,
    ) -> None:
        sizes = [bias.size for bias in biases]
        buffers = [aligned_empty((size, n), np.float32) for size in sizes]
        self._biases = biases  # owned here: the loops get their addresses
        places = [bias.ctypes.data for bias in biases]
        self._steps = list(zip(products, buffers, places, relus, strict=True))
        self._turned = aligned_empty((inputs, n), np.float32)
        self._threads = threads
        self.out = aligned_empty((n, sizes[-1]), np.float32)

    def run(self, x: Array, out: Array) -> None:
        """Write the outputs."""
        *inner, (product, buffer, bias, relu) = self._steps
        if len(x) == 1:  # a row is a column
            activation = x.reshape(-1, 1)
        else:
            glue.turn(x, self._turned, self._threads)
            activation = self._turned
        for each, own, its_bias, its_relu in inner:
            activation = each(activation, own)
            glue.finish(activation, its_bias, its_relu, self._threads)
        glue.finish_turned_part(product(activation, buffer), bias, relu, out)


class _CompiledCall(_Call):
    """All layers in one compiled call."""

    def __init__(
        self,
        n: int,
        network: Network,
        kernels: Sequence[str],
        operands: Sequence[Any],
        biases: Sequence[Array],
        relus: Sequence[bool],
    ) -> None:
        threads = compiled.parts_of(n, network.threads)
        own = compiled.inputs_of_a_thread(n, network.threads)
        sizes = [network.inputs, *(bias.size for bias in biases)]
        # Addresses of arrays that the network owns, as long as this call is one of its.
        self._layers = compiled.table(
            [
                compiled.line(name, operand, bias, relu, inputs, own)
                for name, operand, bias, relu, inputs in zip(
                    kernels, operands, biases, relus, sizes[:-1], strict=True
                )
            ]
        )
        floats = compiled.scratch_floats(sizes, own)
        self._room = aligned_empty((threads, floats), np.float32)
        self._run = compiled.run_alone if threads == 1 else compiled.run_on_threads
        self.out = aligned_empty((n, sizes[-1]), np.float32)

    def run(self, x: Array, out: Array) -> None:
        """Write the outputs."""
        self._run(x, out, self._layers, self._room)


class _DenseCall(_Call):
    """Activations (n, features) as they come, by NumPy's product: where no sparse one pays."""

    def __init__(
        self,
        n: int,
        weights: Sequence[Array],
        biases: Sequence[Array],
        relus: Sequence[bool],
    ) -> None:
        buffers = [aligned_empty((n, bias.size), np.float32) for bias in biases]
        self._steps = list(zip(weights, buffers, biases, relus, strict=True))
        self.out = buffers[-1]

    def run(self, x: Array, out: Array) -> None:
        """Write the outputs."""
        last = len(self._steps) - 1
        for index, (weight, buffer, bias, relu) in enumerate(self._steps):
            y = out if index == last else buffer
            np.matmul(x, weight, out=y)
            np.add(y, bias, out=y)
            if relu:
                np.maximum(y, 0, out=y)
            x = y


def _operand(kernels: Mapping[str, Kernel], name: str, weight: Weight) -> Any:
    """Return the operand of a weight.

    Raises:
        ValueError: if the kernel is unknown, or cannot hold the weight here.
    """
    if name == NOTHING:
        return _NoOperand()
    kernel = kernels.get(name)
    if kernel is None:
        raise ValueError(f"the plan names the kernel {name!r}, which this version does not have")
    if reason := kernel.unavailable() or kernel.unfit(weight):
        raise ValueError(f"the plan names the kernel {name!r}: {reason}")
    return kernel.prepare(weight)


def _product(kernel: Kernel | None, operand: Any) -> _Product:
    def product(x: Array, out: Array) -> Array:
        if kernel is None:
            return out
        result: Array = kernel.forward(operand, x, out)
        return result

    return product


class _NoOperand:
    """What no kernel holds: of a network whose glue alone is measured."""

    nbytes = 0
