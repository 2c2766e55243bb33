"""What runs a whole network: ours by its plan, and all dense by each library that is installed.

An engine declares what a kernel does, so that it is raced, kept and shown as one. Each gets inputs
(n, features) float32, a row each, as a server does, and is written as its library's users would.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from crossover.bench.harness.sources import Discovered
from crossover.kernels import libraries
from crossover.kernels.base import ONLY_FP32, Array, Device, ForwardOnly, Kernel, Look, Role, Weight
from crossover.kernels.cuda.device import cupy_unavailable
from crossover.kernels.serving import Choice, Network, Plan
from crossover.kernels.serving.network import NOTHING, Layer
from crossover.kernels.serving.plan import Way, one_way

#: Returns outputs (n, outputs) of inputs (n, features).
Run = Callable[[Array], Array]


@dataclass(frozen=True)
class Built:
    """A network that is ready, and the bytes of its weights."""

    run: Run
    nbytes: int


class Engine(ForwardOnly):
    """One way to run a whole network; it computes no pass of a layer alone."""

    device: ClassVar[Device] = "cpu"
    arithmetic = ONLY_FP32
    format = "network"
    role: ClassVar[Role] = "dense"
    stores_zeros = True

    def refuses(self, inputs: int) -> str | None:
        """Return why it cannot run so many inputs at a time, if it cannot."""
        return None

    @abstractmethod
    def build(self, plan: Plan, layers: Sequence[Layer]) -> Built:
        """Return the network of ``layers``, ready to be run; ``plan`` tells their ReLUs too."""

    def prepare(self, weight: Weight) -> Any:
        raise NotImplementedError(f"{self.name} runs networks, not layers")

    def forward(self, operand: Any, x: Any, out: Any) -> Any:
        raise NotImplementedError(f"{self.name} runs networks, not layers")

    def update(self, operand: Any, step: Any, rate: float) -> None:
        raise NotImplementedError(f"{self.name} runs networks, not layers")

    def gradient_shape(self, operand: Any) -> tuple[int, ...]:
        raise NotImplementedError(f"{self.name} runs networks, not layers")

    def dense_weight(self, operand: Any) -> Array:
        raise NotImplementedError(f"{self.name} runs networks, not layers")

    def dense_gradient(self, operand: Any, gradient: Any) -> Array:
        raise NotImplementedError(f"{self.name} runs networks, not layers")


class Planned(Engine):
    """Ours, by the plan."""

    name = "planned"
    title = "by the plan"
    runtime = "numba"
    role = "ours"
    stores_zeros = False
    source = "crossover.load: kernels.serving"
    look = Look("#1a6fe6", "^", "-")

    def build(self, plan: Plan, layers: Sequence[Layer]) -> Built:
        network = Network(plan, layers)
        return Built(network, network.nbytes)


class Layered(Engine):
    """Ours, by what a plan has beside its own choices: threads share each layer's product."""

    name = "layered"
    title = "by the plan, layer by layer"
    runtime = "numba"
    role = "ours"
    stores_zeros = False
    source = "kernels.serving"
    look = Look("#4ba45d", "D", "--")

    def build(self, plan: Plan, layers: Sequence[Layer]) -> Built:
        choices = tuple(Choice(n, way, tuple(each)) for n, way, each in plan.about["layered"])
        network = Network(Plan(plan.network, plan.layers, choices), layers)
        return Built(network, network.nbytes)


class NumpyNetwork(Engine):
    """All dense, by NumPy."""

    name = "numpy-network"
    title = "NumPy, all dense"
    runtime = "blas"
    source = "numpy.matmul(x, W.T, out=), numpy.add and numpy.maximum in place"
    look = Look("#70655f", "o", "-")

    def build(self, plan: Plan, layers: Sequence[Layer]) -> Built:
        return _in_one_way(plan, layers, "dense")


class NumbaNetwork(Engine):
    """All dense, by our own dense kernel in one compiled call."""

    name = "numba-network"
    title = "Numba, all dense"
    runtime = "numba"
    source = "numba-dense in kernels.serving"
    look = Look("#70655f", "o", ":")

    def build(self, plan: Plan, layers: Sequence[Layer]) -> Built:
        return _in_one_way(plan, layers, "compiled", ["numba-dense"] * len(layers))


class TorchNetwork(Engine):
    """All dense, by PyTorch."""

    name = "torch-network"
    title = "PyTorch, all dense"
    runtime = "torch"
    source = "torch.nn.Sequential of Linear and ReLU under torch.inference_mode"
    look = Look("#1b99e8", "X", "--")

    def unavailable(self) -> str | None:
        return libraries.missing("torch", "PyTorch", "install the extra peers")

    def build(self, plan: Plan, layers: Sequence[Layer]) -> Built:
        torch: Any = importlib.import_module("torch")
        parts = []
        for layer, declared in zip(layers, plan.layers, strict=True):
            linear = torch.nn.Linear(*reversed(declared.shape))
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(np.array(layer.weight.values)))
                linear.bias.copy_(torch.from_numpy(np.array(layer.bias)))
            parts += [linear, torch.nn.ReLU(inplace=True)] if declared.relu else [linear]
        network = torch.nn.Sequential(*parts).eval()

        def run(x: Array) -> Array:
            with torch.inference_mode():
                outputs: Array = network(torch.from_numpy(x)).numpy()
            return outputs

        return Built(run, sum(4 * (m * k + m) for m, k in (e.shape for e in plan.layers)))


class SparseNetwork(Engine):
    """All sparse, by one kernel for every layer."""

    runtime = "numba"
    role = "ours"
    stores_zeros = False
    way: ClassVar[Way] = "compiled"
    #: The kernel of each layer.
    kernel: ClassVar[str]

    def build(self, plan: Plan, layers: Sequence[Layer]) -> Built:
        return _in_one_way(plan, layers, self.way, [self.kernel] * len(layers))


class TiledNetwork(SparseNetwork):
    """All by ``numba-tiled``, in one compiled call."""

    name = "tiled-network"
    title = "Numba, sparse in registers"
    kernel = "numba-tiled"
    source = "numba-tiled in kernels.serving"
    look = Look("#1a6fe6", "v", "-.")


class SellNetwork(SparseNetwork):
    """All by ``numba-sell``, for one input."""

    name = "sell-network"
    title = "Numba, sparse for one input"
    kernel = "numba-sell"
    source = "numba-sell in kernels.serving"
    look = Look("#9a5fd0", "P", "-.")

    def refuses(self, inputs: int) -> str | None:
        return None if inputs == 1 else f"{self.name} is for one input, not {inputs}."


class BlocksNetwork(SparseNetwork):
    """All by ``numba-bsr``, layer by layer."""

    name = "blocks-network"
    title = "Numba, sparse in blocks"
    way = "kernels"
    kernel = "numba-bsr"
    source = "numba-bsr in kernels.serving"
    look = Look("#c2620c", "s", "-.")


class CupyNetwork(Engine):
    """All dense on a GPU, from inputs on the host to outputs on the host."""

    name = "cupy-network"
    title = "CuPy, all dense"
    device = "cuda"
    runtime = "cuda"
    source = "cupy.matmul of inputs that are copied there, outputs copied back"
    look = Look("#4d8f3f", "h", ":")

    def unavailable(self) -> str | None:
        return cupy_unavailable()

    def build(self, plan: Plan, layers: Sequence[Layer]) -> Built:
        cupy: Any = importlib.import_module("cupy")
        there = [
            (cupy.asarray(np.ascontiguousarray(each.weight.values.T)), cupy.asarray(each.bias))
            for each in layers
        ]

        def run(x: Array) -> Array:
            y = cupy.asarray(x)
            for (weight, bias), declared in zip(there, plan.layers, strict=True):
                y = cupy.matmul(y, weight)
                y += bias
                if declared.relu:
                    cupy.maximum(y, 0, out=y)
            outputs: Array = cupy.asnumpy(y)
            return outputs

        return Built(run, sum(4 * (m * k + m) for m, k in (e.shape for e in plan.layers)))


class Glue(Engine):
    """What lies between a plan's products: turned activations, biases, ReLU; no answer."""

    name = "glue"
    title = "between the products"
    runtime = "numba"
    role = "ours"
    stores_zeros = False
    source = "kernels.serving without products"
    look = Look("#84939c", "s", ":")

    def build(self, plan: Plan, layers: Sequence[Layer]) -> Built:
        nothing = (NOTHING,) * len(layers)
        choices = tuple(
            Choice(each.least, "kernels" if each.way == "kernels" else "compiled", nothing)
            for each in plan.choices
        )
        network = Network(Plan(plan.network, plan.layers, choices), layers)
        return Built(network, network.nbytes)


ENGINES: tuple[Engine, ...] = (
    Planned(), Layered(), NumpyNetwork(), NumbaNetwork(), TorchNetwork(), TiledNetwork(),
    SellNetwork(), BlocksNetwork(), CupyNetwork(), Glue(),
)  # fmt: skip


@dataclass(frozen=True)
class KernelsAndEngines:
    """The source of every kernel of this suite and of ``modules``, and of engines."""

    modules: tuple[str, ...] = ()

    def load(self) -> dict[str, Kernel]:
        """Return kernels and engines by name."""
        return Discovered(self.modules).load() | Engines().load()


@dataclass(frozen=True)
class Engines:
    """The source of engines, in the place of one of kernels."""

    def load(self) -> dict[str, Kernel]:
        """Return the engines by name."""
        return {engine.name: engine for engine in ENGINES}


def _in_one_way(
    plan: Plan, layers: Sequence[Layer], way: Way, kernels: Sequence[str] = ()
) -> Built:
    network = Network(one_way(plan.network, plan.layers, way, kernels), layers)
    return Built(network, network.nbytes)
