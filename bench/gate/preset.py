"""What the gate measures: a small, fixed set of cells, each named by a digest of its definition.

A cell whose definition changes gets another digest and is not compared with its old self. The
operands are drawn, not trained: two versions of the code must be given the very same ones, and
training sums in another order with another BLAS.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from crossover.bench.workloads import pruning
from crossover.bench.workloads.networks import network
from crossover.kernels.base import Array, Kernel, Pass, Weight

#: Raised whenever the operands of the same definition become others.
VERSION = 1
CI = "ci"
_NETWORK = "lenet-300-100"
# MNIST's pixels are zero to this share, so X of a first layer is; and a ReLU's results to half.
_PIXELS_ZERO, _RELU_ZERO = 0.81, 0.5
_SPARSITY = 0.9
_SEED = 1998


@dataclass(frozen=True)
class Cell:
    """One product to time: a layer, its sparsity and pattern, the pass, the batch, the kernel."""

    kernel: str
    layer: str
    m: int
    k: int
    batch: int
    pass_: Pass
    sparsity: float = _SPARSITY
    pattern: Literal["row-skewed", "block"] = "row-skewed"
    #: Share of X that is zero.
    zeros: float = _RELU_ZERO
    seed: int = _SEED
    version: int = VERSION

    @property
    def name(self) -> str:
        """Return the cell in a few words: what tables, histories and other tools call it."""
        return f"{self.kernel} {self.layer} {self.pass_} batch {self.batch}"

    @property
    def digest(self) -> str:
        """Return the hash of the definition."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def at(self, sparsity: float, kernel: str = "") -> Cell:
        """Return the cell at another sparsity, with another kernel if one is named."""
        return replace(self, sparsity=sparsity, kernel=kernel or self.kernel)

    @property
    def problem(self) -> Cell:
        """Return what cells of other kernels and passes with the same operands share."""
        return replace(self, kernel="", pass_="forward")

    def operands(self) -> tuple[Weight, Array, Array]:
        """Return W, X (k, batch) and dY (m, batch), float32, the same wherever they are drawn."""
        rng = np.random.default_rng([self.seed, self.m, self.k, self.batch])
        values = rng.standard_normal((self.m, self.k), np.float32)
        x = np.abs(rng.standard_normal((self.k, self.batch), np.float32))
        x[rng.random(x.shape) < self.zeros] = 0
        dy = rng.standard_normal((self.m, self.batch), np.float32) / np.float32(self.batch)
        if self.pattern == "block":
            mask = pruning.block_masks([values], self.sparsity)[0]
        else:
            mask = pruning.row_skewed_masks([values.shape], self.sparsity, rng)[0]
        return Weight(np.where(mask, values, 0), mask), x, dy


_F1: tuple[Pass, int] = ("forward", 1)
_F64: tuple[Pass, int] = ("forward", 64)
_I16: tuple[Pass, int] = ("backward_input", 16)
_W256: tuple[Pass, int] = ("backward_weight", 256)

#: Per kernel, the passes and batches that ``ci`` measures; a kernel that is not named here is
#: measured at ``_OTHERS``, so that a new one needs no line. One of each family has every pass.
_POINTS: Mapping[str, tuple[tuple[Pass, int], ...]] = {
    "numpy-dense": (_F1, _F64, _I16, _W256),
    "numpy-masked-call": (_F64,),
    "numpy-masked-update": (_W256,),
    "numba-dense": (_F64, _W256),
    "numba-csr": (_F1, _F64, _I16, _W256),
    "numba-tiled": (_F1, _F64, _I16, _W256),
    "numba-tiled-zeros": (_F1,),
    "numba-sell": (_F1,),
    "numba-bsr": (_F64, _I16, _W256),
    "scipy-csr": (_F1, _F64, _I16, _W256),
    "scipy-csc": (_I16,),
    "scipy-bsr": (_F64,),
}
_OTHERS = (_F64,)
#: Networks and their layers that other tools' suites have beside: small, lowered, and large.
_CANONICAL = ((_NETWORK, 0), (_NETWORK, 1), ("lenet-5", 1), ("wide", 1))
#: Kernels of optional libraries: what is installed must not decide what is gated.
_OPTIONAL = ("mkl-", "torch-")
#: Whose crossover is gated, against which dense kernel.
_CROSSOVERS = {"numba-csr": "numpy-dense", "numba-tiled": "numpy-dense"}


@dataclass(frozen=True)
class Crossing:
    """A crossover to gate: ``cell`` at any sparsity, against the dense kernel ``against``."""

    cell: Cell
    against: str

    @property
    def name(self) -> str:
        """Return the crossover in a few words."""
        return f"{self.cell.layer} at batch {self.cell.batch}, {self.cell.kernel}"

    @property
    def digest(self) -> str:
        """Return the hash of the definition."""
        return hashlib.sha256(f"{self.cell.digest} {self.against}".encode()).hexdigest()[:12]


def cells(kernels: Mapping[str, Kernel]) -> list[Cell]:
    """Return the cells of the preset ``ci`` for those of ``kernels`` that run on this CPU."""
    return [
        _cell(name, pass_, batch)
        for name, kernel in _gated(kernels)
        for pass_, batch in _POINTS.get(name, _OTHERS)
        if pass_ in kernel.passes
    ]


def crossings(kernels: Mapping[str, Kernel]) -> list[Crossing]:
    """Return the crossovers of the preset ``ci``."""
    names = {name for name, _ in _gated(kernels)}
    return [
        Crossing(_cell(name, "forward", 64), against)
        for name, against in _CROSSOVERS.items()
        if {name, against} <= names
    ]


def canonical(kernels: Mapping[str, Kernel]) -> list[Cell]:
    """Return a cell per kernel and canonical layer, whether or not it can run here."""
    return [
        _cell(name, "forward", kernel_batch, of, index)
        for name, kernel in sorted(kernels.items())
        for of, index in _CANONICAL
        if (kernel_batch := _forward_batch(name, kernel))
    ]


def _forward_batch(name: str, kernel: Kernel) -> int:
    """Return the batch of a kernel's forward pass: what ``ci`` has for it; 0 without the pass."""
    batches = [batch for pass_, batch in _POINTS.get(name, _OTHERS) if pass_ == "forward"]
    return max(batches, default=_F64[1]) if "forward" in kernel.passes else 0


def _gated(kernels: Mapping[str, Kernel]) -> Iterable[tuple[str, Kernel]]:
    for name, kernel in sorted(kernels.items()):
        if kernel.device == "cpu" and not name.startswith(_OPTIONAL) and not kernel.unavailable():
            yield name, kernel


def _cell(kernel: str, pass_: Pass, batch: int, of: str = _NETWORK, index: int = 0) -> Cell:
    layer = network(of).layers[index]
    m, k = layer.shape
    name = layer.name if of == _NETWORK else f"{of} {layer.name}"
    pattern: Any = "block" if "bsr" in kernel else "row-skewed"
    zeros = _RELU_ZERO if index else _PIXELS_ZERO
    return Cell(kernel, name, m, k, batch, pass_, pattern=pattern, zeros=zeros)
