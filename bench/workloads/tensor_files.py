"""Layers in safetensors files: written whole, and checked for what they hold when read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from crossover.bench.errors import InputError
from crossover.bench.records.files import write_whole
from crossover.bench.workloads.networks import Network
from crossover.bench.workloads.training.model import LayerState
from crossover.kernels.base import Weight

OTHER_CACHE = "free space, or name another folder in CROSSOVER_CACHE"


class DamagedError(InputError):
    """Raised where a file does not hold what it should; says what is wrong with it."""


class TensorFile:
    """A file that is open: its metadata, and its arrays."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.metadata: dict[str, str] = file.metadata() or {}  # a file of another tool has none

    def array(
        self, name: str, shape: tuple[int, ...] | None = None, dtype: DTypeLike = np.float32
    ) -> NDArray[Any]:
        """Return the array called ``name``, of any shape without ``shape``.

        Raises:
            ValueError: if it has another shape or type, or a value that is not finite.
        """
        array: NDArray[Any] = self._file.get_tensor(name)
        wanted = shape or array.shape
        if array.shape != wanted or array.dtype != dtype:
            raise ValueError(
                f"{name} is {array.dtype} {array.shape}, not {np.dtype(dtype)} {wanted}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds values that are not finite")
        return array

    def layers(self, network: Network) -> tuple[LayerState, ...]:
        """Return the layers of ``network``.

        Raises:
            ValueError: if one of them is not as it should be.
        """
        return tuple(
            LayerState(
                Weight(
                    self.array(f"{layer.name}.weight", layer.shape),
                    self.array(f"{layer.name}.pattern", layer.shape, np.bool_),
                ),
                self.array(f"{layer.name}.bias", layer.shape[:1]),
            )
            for layer in network.layers
        )


@contextmanager
def opened(path: Path) -> Iterator[TensorFile]:
    """Yield the file at ``path``.

    Raises:
        DamagedError: if it is no safetensors file, or what is read inside is not as it should be.
        FileNotFoundError: if there is none.
        InputError: if it cannot be read at all, or is a folder.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder where a file belongs: remove it")
    try:
        with safe_open(path, "numpy") as file:
            yield TensorFile(file)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(
            f"cannot read {path} ({error.strerror or error}): make it readable, or remove it"
        ) from error
    except KeyError as error:
        raise DamagedError(f"it lacks {error}") from error
    except (SafetensorError, ValueError, TypeError) as error:
        raise DamagedError(str(error)) from error


def write(
    path: Path,
    network: Network,
    states: Sequence[LayerState],
    metadata: Mapping[str, str],
    others: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write the layers of ``network``, and ``others``, to ``path``, all of it or nothing.

    Raises:
        InputError: if it cannot be written.
    """
    tensors = dict(others or {})
    for layer, state in zip(network.layers, states, strict=True):
        tensors[f"{layer.name}.weight"] = state.weight.values
        tensors[f"{layer.name}.pattern"] = state.weight.pattern
        tensors[f"{layer.name}.bias"] = state.bias
    kept = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    write_whole(path, save(kept, dict(metadata)), OTHER_CACHE)
