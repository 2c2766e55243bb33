"""The contract that every kernel fulfils.

A layer computes ``Y = W X``, with ``W`` (m, k) = (outputs, inputs) and ``X`` (k, n) =
(inputs, batch), in C order. A kernel computes three passes over it:

================== ================================ =======================================
pass               computes                         sparse name
================== ================================ =======================================
``forward``        ``Y = W X`` (m, n)               SpMM (SpMV when n = 1)
``backward_input`` ``dX = Wᵀ dY`` (k, n)            transposed SpMM
``backward_weight````dW = dY Xᵀ`` at W's nonzeros   SDDMM
================== ================================ =======================================

``prepare`` is separate from the passes: it converts and uploads once, a pass runs many times.
A pass gets arrays of the kernel's own kind (see :meth:`Kernel.put`) and an ``out`` buffer of
the right shape; a library that can only allocate returns a new array instead. The *returned*
array is the result. Nothing but the work an honest user pays on every call belongs in a pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

Pass = Literal["forward", "backward_input", "backward_weight"]
PASSES: tuple[Pass, ...] = get_args(Pass)
Device = Literal["cpu", "cuda"]
Role = Literal["ours", "peer", "dense", "masked dense"]
Runtime = Literal["numba", "blas", "scipy", "torch", "mkl", "cuda"]
Array = NDArray[Any]


@dataclass(frozen=True)
class Arithmetic:
    """The rounding that a kernel really does.

    ``operand_roundoff`` is the unit roundoff with which W and X are read (0 where they are read
    as given), ``sum_roundoff`` that of the accumulation. ``operand_underflow`` is the largest
    absolute error with which an operand is read that is too small for its format's full precision.
    An operand too large for the format is not excused: what comes of it is a wrong result.
    """

    name: str
    operand_roundoff: float
    sum_roundoff: float
    operand_underflow: float = 0.0


FP32 = Arithmetic("fp32", 0.0, 2.0**-24)
FP64 = Arithmetic("fp64", 0.0, 2.0**-53)
# Tensor cores cut off instead of rounding, once when a product is aligned to the largest of its
# block and once when it is added: two errors of 2^-23 a product (Fasi et al. 2021, "Numerical
# behavior of NVIDIA tensor cores"). They may read fp32 as TF32 (11 bits) by cutting off as well.
TF32 = Arithmetic("TF32", 2.0**-10, 2.0**-22)
# fp16 is rounded to when it is converted to: 11 bits down to 2^-14, multiples of 2^-24 below.
FP16 = Arithmetic("fp16, fp32 sums", 2.0**-11, 2.0**-22, 2.0**-25)


#: Of kernels that compute in fp32 alone.
ONLY_FP32: Mapping[str, Arithmetic] = {"float32": FP32}


@dataclass(frozen=True)
class Look:
    """How a kernel is drawn: matplotlib's names of a colour, a marker and a dash.

    A family has one colour. Marker and dash together tell the kernels of a device apart, so that a
    plot can be read without colours.
    """

    colour: str
    marker: str
    dash: str


@dataclass(frozen=True)
class Weight:
    """A weight ``values`` (m, k) and the ``pattern`` (m, k) of the entries that are stored.

    A stored entry may be zero (an explicit zero); every other entry is zero.

    Raises:
        ValueError: if the shapes differ, an entry outside the pattern is not zero, or the
            values are not floating point numbers.
    """

    values: Array
    pattern: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape != self.pattern.shape:
            raise ValueError(
                f"weight of shape {self.values.shape} with a pattern of shape "
                f"{self.pattern.shape}: both must be the same (m, k)"
            )
        if self.values.dtype.kind != "f":
            raise ValueError(f"weight of dtype {self.values.dtype}: must be floating point")
        if np.any(self.values[~self.pattern] != 0):
            raise ValueError("weight has nonzeros outside its pattern: multiply by the pattern")

    @classmethod
    def from_dense(cls, values: Array) -> Weight:
        """Return the weight that stores exactly the nonzeros of ``values`` (m, k)."""
        return cls(np.ascontiguousarray(values), np.asarray(values != 0))

    @property
    def shape(self) -> tuple[int, int]:
        """Return (m, k) = (outputs, inputs)."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def nnz(self) -> int:
        """Return how many entries are stored."""
        return int(np.count_nonzero(self.pattern))

    @property
    def sparsity(self) -> float:
        """Return 1 - nnz / (m k); 0 for an empty matrix."""
        return 1.0 - self.nnz / self.pattern.size if self.pattern.size else 0.0


@dataclass(frozen=True)
class Problem:
    """One product to compute: the pass, W (m, k) with nnz stored entries, batch n."""

    pass_: Pass
    m: int
    k: int
    n: int
    nnz: int
    dtype: str = "float32"


@dataclass(frozen=True)
class Choice:
    """A parameter that a kernel chose for an operand: its name, its value, and the reason."""

    name: str
    value: str
    reason: str


class Operand(Protocol):
    """A prepared weight, on the device and in the format of its kernel."""

    @property
    def nbytes(self) -> int:
        """Return the bytes that hold the weight: values, indices and masks."""

    @property
    def stored_entries(self) -> int:
        """Return how many entries of W are stored: a block's zeros and padding are."""


class Kernel(ABC):
    """One way to compute the passes. Subclasses declare the class variables and do the work.

    A concrete kernel sets ``name`` in its own body; a class without one is a family's base and
    is not discovered.
    """

    #: Stable identifier, ``library-format``.
    name: ClassVar[str]
    #: What a table shows.
    title: ClassVar[str]
    device: ClassVar[Device]
    #: ``dense``, ``masked dense``, ``csr``, ``csc``, ``bsr``, ``sell`` (sliced ELLPACK), ``2:4``.
    format: ClassVar[str]
    #: Per dtype that is supported, the arithmetic that is really used.
    arithmetic: ClassVar[Mapping[str, Arithmetic]] = {"float32": FP32, "float64": FP64}
    passes: ClassVar[tuple[Pass, ...]] = PASSES
    #: The library call, or the paper whose technique is used.
    source: ClassVar[str]
    #: ``dense`` competes as the baseline of its device, ``masked dense`` as that of a training
    #: step; ``peer`` is a library's sparse kernel.
    role: ClassVar[Role] = "ours"
    runtime: ClassVar[Runtime] = "numba"
    #: Maker of the processors that its library is made for, as :func:`processor.vendor` names it;
    #: empty: of any. On another maker's its figures carry a warning.
    made_for: ClassVar[str] = ""
    #: Whether the operand holds all m k entries, by design.
    stores_zeros: ClassVar[bool] = False
    #: Whether ``update`` leaves entries outside the pattern at zero.
    keeps_zeros: ClassVar[bool] = True
    look: ClassVar[Look] = Look("#84939c", "o", "-")
    #: Module of ``kernels.variants`` whose kernels fix what this one chooses itself; or empty.
    variants: ClassVar[str] = ""

    # -- what it can do here ------------------------------------------------------------------

    def unavailable(self) -> str | None:
        """Return why this machine cannot run the kernel, as a sentence, or None if it can.

        The kernel imports its library here and never raises.
        """
        return None

    def unsupported(self, problem: Problem) -> str | None:
        """Return why the kernel cannot do ``problem``, as a sentence, or None if it can."""
        if problem.dtype not in self.arithmetic:
            return f"{self.name} computes {', '.join(self.arithmetic)}, not {problem.dtype}."
        if problem.pass_ not in self.passes:
            return f"{self.name} has no {problem.pass_} pass."
        return None

    def unfit(self, weight: Weight) -> str | None:
        """Return why the kernel cannot hold ``weight``'s pattern or values, or None if it can."""
        return None

    def needed_bytes(self, problem: Problem) -> int:
        """Return about how many bytes ``problem`` takes on the device, before any is allocated.

        W in the kernel's format, with X, dY and the result.
        """
        size = np.dtype(problem.dtype).itemsize
        m, k, n = problem.m, problem.k, problem.n
        operand = m * k * size if self.stores_zeros else problem.nnz * (size + 4)
        result = operand if problem.pass_ == "backward_weight" else max(m, k) * n * size
        return operand + (m + k) * n * size + result

    def explain(self, operand: Any, pass_: Pass, n: int) -> Sequence[Choice]:
        """Return what was chosen for a pass over ``operand`` with batch ``n``, and why."""
        return ()

    # -- the work -----------------------------------------------------------------------------

    @abstractmethod
    def prepare(self, weight: Weight) -> Any:
        """Return the operand of ``weight``: converted, uploaded, and owning its memory."""

    def prepare_for(self, weight: Weight, passes: Collection[Pass], n: int) -> Any:
        """Return the operand of ``weight`` for ``passes`` with a batch of ``n``.

        It can do all that an operand of :meth:`prepare` can; what it was not made for takes longer.
        """
        return self.prepare(weight)

    @abstractmethod
    def forward(self, operand: Any, x: Any, out: Any) -> Any:
        """Return ``W x`` (m, n) for ``x`` (k, n)."""

    @abstractmethod
    def backward_input(self, operand: Any, dy: Any, out: Any) -> Any:
        """Return ``Wᵀ dy`` (k, n) for ``dy`` (m, n)."""

    @abstractmethod
    def backward_weight(self, operand: Any, dy: Any, x: Any, out: Any) -> Any:
        """Return ``dy xᵀ`` at W's nonzeros, in the layout of :meth:`gradient_shape`."""

    @abstractmethod
    def update(self, operand: Any, step: Any, rate: float) -> None:
        """Subtract ``rate * step`` from W in place; ``step`` is laid out like a gradient."""

    # -- layouts ------------------------------------------------------------------------------

    @abstractmethod
    def gradient_shape(self, operand: Any) -> tuple[int, ...]:
        """Return the shape of what ``backward_weight`` returns."""

    @abstractmethod
    def dense_weight(self, operand: Any) -> Array:
        """Return W (m, k) as the operand holds it now, on the host."""

    @abstractmethod
    def dense_gradient(self, operand: Any, gradient: Any) -> Array:
        """Return a gradient as (m, k) on the host, zero where the layout holds nothing."""

    # -- arrays (untimed) ---------------------------------------------------------------------

    def put(self, array: Array) -> Any:
        """Return ``array`` as the kernel's own kind of array, on its device."""
        return array

    def local(self, array: Any) -> Any:
        """Return a NumPy or CuPy view of the kernel's own ``array``, on the same device."""
        return array

    def fetch(self, array: Any) -> Array:
        """Return the kernel's own ``array`` as a NumPy array on the host."""
        return np.asarray(self.local(array))

    def namespace(self) -> ModuleType:
        """Return the module (NumPy or CuPy) whose functions work on :meth:`local` arrays."""
        return np

    # -- what follows from the above ----------------------------------------------------------

    def output_shape(self, operand: Any, pass_: Pass, shape: tuple[int, int], n: int) -> Any:
        """Return the shape of the result of ``pass_`` for W of ``shape`` (m, k)."""
        if pass_ == "backward_weight":
            return self.gradient_shape(operand)
        return (shape[0] if pass_ == "forward" else shape[1], n)

    def run(self, pass_: Pass, operand: Any, x: Any, dy: Any, out: Any) -> Any:
        """Return the result of ``pass_``; ``x`` (k, n) and ``dy`` (m, n) as it needs them."""
        if pass_ == "forward":
            return self.forward(operand, x, out)
        if pass_ == "backward_input":
            return self.backward_input(operand, dy, out)
        return self.backward_weight(operand, dy, x, out)


class ForwardOnly(Kernel):
    """A kernel for serving, without the passes that train."""

    passes = ("forward",)

    def backward_input(self, operand: Any, dy: Any, out: Any) -> Any:
        """Refuse."""
        raise NotImplementedError(f"{self.name} has no backward_input pass")

    def backward_weight(self, operand: Any, dy: Any, x: Any, out: Any) -> Any:
        """Refuse."""
        raise NotImplementedError(f"{self.name} has no backward_weight pass")
