"""What every reader returns: the layers that a file holds, each read only when it is wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover.bench.errors import InputError, one_line

Floats = NDArray[np.float32]
#: What converting a type to float32 does to its values; the others are refused.
CONVERSIONS = {
    "float32": "",
    "float16": "float16, which float32 holds exactly",
    "bfloat16": "bfloat16, which float32 holds exactly",
    "float64": "float64, rounded to float32",
}
#: Activations that leave a network one that our engine can run.
ACTIVATIONS = "relu", ""


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file, of a type by NumPy's name or ``bfloat16`` (read as uint16)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    #: Returns its values as they are stored; raises ValueError where the file lies about them.
    read: Callable[[], NDArray[Any]] = field(repr=False)

    @property
    def size(self) -> int:
        """Return how many entries it has."""
        return math.prod(self.shape)

    @property
    def refusal(self) -> str:
        """Return why it cannot be a weight because of its type, or nothing."""
        if self.dtype in CONVERSIONS:
            return ""
        if self.dtype in ("int8", "uint8", "int4", "uint4"):
            return f"{self.dtype}: quantised, and its scale is not known; give the float weights"
        return f"{self.dtype}: no floating point numbers"

    def values(self) -> Floats:
        """Return its values as float32.

        Raises:
            ValueError: if one is not finite, or the file does not hold what it should.
        """
        stored = self.read()
        if stored.shape != self.shape:
            raise ValueError(f"{self.name} has the shape {stored.shape}, declared is {self.shape}")
        if self.dtype == "bfloat16":  # the upper half of a float32
            values = (stored.astype(np.uint32) << 16).view(np.float32)
        else:
            with np.errstate(over="ignore"):
                values = np.asarray(stored, np.float32)
        if not np.isfinite(values).all():
            raise ValueError(
                f"{self.name} holds values that are not finite: NaN, infinity, or beyond float32"
            )
        return values


@dataclass(frozen=True)
class StoredLayer:
    """A layer as a matrix product, Y = W X + b with W (m, k); what it holds is read when wanted."""

    name: str
    shape: tuple[int, int]
    #: Returns W (m, k).
    read_weight: Callable[[], Floats] = field(repr=False)
    #: Returns b (m,); None: it has none.
    read_bias: Callable[[], Floats] | None = field(default=None, repr=False)
    #: Columns of X that an image has: the outputs of a convolution.
    columns: int = 1
    #: What follows: ``relu``, nothing, or a function that our engine does not know.
    activation: str = ""
    #: What was done to its values.
    note: str = ""


@dataclass(frozen=True)
class Skipped:
    """A part of a file that is no matrix product, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class StoredNetwork:
    """The layers of a file, in the order in which they are computed, or as the file has them."""

    path: Path
    #: What the file is: ``safetensors``, ``ONNX``, ...
    format: str
    layers: tuple[StoredLayer, ...]
    skipped: tuple[Skipped, ...] = ()
    #: Returns the X (k, columns) of each layer, and the outputs (outputs, n), of inputs (n, ...);
    #: None where only a chain of layers can be run.
    run: Callable[[NDArray[Any]], tuple[list[Floats], Floats]] | None = field(
        default=None, repr=False
    )

    #: Names of skipped parts that compute something between layers.
    computing: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Return what reports call it: the name of its file or folder."""
        return self.path.name

    @property
    def parameters(self) -> int:
        """Return how many weights its layers have, zeros included."""
        return sum(layer.shape[0] * layer.shape[1] for layer in self.layers)

    def no_chain(self) -> str:
        """Return why its layers are no plain chain, in a few words; nothing if they are one."""
        for layer in self.layers:
            if layer.columns != 1:
                return (
                    f"{layer.name} has {layer.columns} columns of X an input, as a convolution has"
                )
        for before, after in zip(self.layers, self.layers[1:], strict=False):
            if before.shape[0] != after.shape[1]:
                return (
                    f"shapes do not chain: {before.name} gives {before.shape[0]} outputs, "
                    f"{after.name} takes {after.shape[1]} inputs"
                )
            if before.activation not in ACTIVATIONS:
                return f"{before.name} is followed by {before.activation}"
        if self.skipped_between:
            return f"it has parts that are not layers ({self.skipped_between})"
        return ""

    @property
    def skipped_between(self) -> str:
        """Return the first part that computes something between layers, or nothing."""
        return next((s.name for s in self.skipped if s.name in self.computing), "")


_WHOLE = "give a network whose weights are numbers, saved whole"


class UnreadableError(InputError):
    """Raised where a file does not hold what it should."""


def unreadable(path: Path, kind: str, why: object, fix: str = "save it again") -> UnreadableError:
    """Return the error that says that ``path`` is no sound file of its ``kind``."""
    return UnreadableError(f"{path} cannot be read as {kind} ({one_line(str(why))}): {fix}")


def checked_values(path: Path, kind: str, read: Callable[[], Floats]) -> Callable[[], Floats]:
    """Return ``read``, which raises :class:`UnreadableError` where it finds something wrong."""

    def values() -> Floats:
        try:
            return read()
        except InputError:
            raise
        except Exception as error:  # whatever a library makes of a damaged file
            raise unreadable(path, kind, error, _WHOLE) from error

    return values


def no_layers(path: Path, kind: str, skipped: Sequence[Skipped]) -> UnreadableError:
    """Return the error that says that there is nothing to multiply in ``path``."""
    why = "; ".join(f"{s.name}: {s.reason}" for s in skipped[:3]) or "it is empty"
    more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    return UnreadableError(
        f"{path} ({kind}) holds no layer that is a matrix product ({why}{more}): give a network "
        "with fully connected layers or convolutions"
    )
