"""Keras files: ``.keras``, an archive of a configuration and of weights, and ``.h5`` before it.

The configuration, JSON, tells the layers in their order and what follows each; weights are in
HDF5, read by h5py. Kernels are (inputs, outputs), those of convolutions (height, width, channels
in, channels out). No class that a configuration names is imported.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover.bench.workloads.readers.naming import network_of
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
from crossover.bench.workloads.readers.zips import opened_zip

_KIND = "Keras"
_WEIGHTS, _CONFIG = "model.weights.h5", "config.json"
_MOST_CONFIG_BYTES = 1 << 26
# Layers that leave activations as they are when a network serves, and so are not reported.
_WITHOUT_EFFECT = {"InputLayer", "Dropout", "Flatten", "Reshape", "ActivityRegularization"}


def read(path: Path) -> StoredNetwork:
    """Return the network in a ``.keras`` or ``.h5`` file.

    Raises:
        UnreadableError: if it is none, holds no layer, or h5py is not installed.
    """
    with _opened(path) as (root, config):
        if config is None:
            return network_of(path, _KIND, list(_datasets(path, root)), inputs_first=True)
        found, skipped = [], []
        for name, group, layer in _configured(root, config):
            one = _layer(path, name, group, layer)
            if isinstance(one, StoredLayer):
                found.append(one)
            elif one:
                skipped.append(Skipped(name, one))
    if not found:
        raise no_layers(path, _KIND, skipped)
    computing = frozenset(each.name for each in skipped)
    return StoredNetwork(path, _KIND, tuple(found), tuple(skipped), computing=computing)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Mapping[str, Any] | None]]:
    """Yield the HDF5 group of the weights, and the configuration, if there is one."""
    try:
        h5py: Any = importlib.import_module("h5py")
    except ImportError:
        raise UnreadableError(
            f"{path} is a file of Keras, and h5py is not installed to read it: install the extra "
            "keras"
        ) from None
    try:
        if path.suffix == ".keras":
            with opened_zip(path, _KIND) as archive:
                for name in (_WEIGHTS, _CONFIG):
                    if name not in archive.namelist():
                        raise ValueError(f"it has no {name}")
                if archive.getinfo(_CONFIG).file_size > _MOST_CONFIG_BYTES:
                    raise ValueError("its configuration is over 64 MiB")
                config = json.loads(archive.read(_CONFIG))
                if not isinstance(config, dict):
                    raise ValueError("its configuration is no object")
                content: Any = io.BytesIO(archive.read(_WEIGHTS))
        else:
            config, content = None, path
        with h5py.File(content, "r") as file:
            if config is None and "model_config" in file.attrs:
                config = json.loads(file.attrs["model_config"])
            yield file, config
    except UnreadableError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError,
            RecursionError, MemoryError) as error:  # fmt: skip
        raise unreadable(path, _KIND, error) from error


def _configured(
    root: Any, config: Mapping[str, Any]
) -> Iterator[tuple[str, Callable[[int], Any], Mapping[str, Any]]]:
    """Yield the name, the weights by their number, and the configuration of each layer."""
    seen: Counter[str] = Counter()
    for layer in config["config"]["layers"]:
        name = str(layer["config"].get("name", layer["class_name"]))
        plain = _snake(str(layer["class_name"]))
        number = seen[plain]
        seen[plain] += 1
        # Keras 3 names by class and number, Keras 2 by the layer's own name.
        place = f"layers/{plain}_{number}/vars" if number else f"layers/{plain}/vars"
        yield name, partial(_weight, root, place, name), layer


def _weight(root: Any, place: str, name: str, number: int) -> Any:
    """Return a layer's dataset by its number, or None where there are fewer."""
    if place in root:
        return root[place].get(str(number))
    group = root.get(f"model_weights/{name}", root.get(name))
    if group is None or "weight_names" not in group.attrs:
        return None
    names = [_text(each) for each in group.attrs["weight_names"]]
    return group.get(names[number]) if number < len(names) else None


def _layer(
    path: Path, name: str, weight: Callable[[int], Any], layer: Mapping[str, Any]
) -> StoredLayer | str:
    """Return a layer; or why it is none, which is nothing where it has no effect."""
    kind, config = str(layer["class_name"]), layer["config"]
    kernel, bias = weight(0), weight(1)
    if kind in _WITHOUT_EFFECT:
        return ""
    if kind not in ("Dense", "Conv2D"):
        return f"{kind}: no matrix product"
    if kernel is None:
        return f"{kind}: its weights are missing"
    columns = 1
    if kind == "Conv2D":
        found = _positions(layer)
        if isinstance(found, str):
            return found
        columns = found
    tensor, shape = _tensor(name, kernel), tuple(map(int, kernel.shape))
    if tensor.refusal or 0 in shape or len(shape) != (2 if kind == "Dense" else 4):
        return tensor.refusal or f"shape {shape}"
    m, k = shape[-1], math.prod(shape[:-1])
    vector = _tensor(f"{name} bias", bias) if bias is not None and bias.shape == (m,) else None
    given = config.get("activation")
    activation = "" if given in (None, "linear") else str(given)
    return StoredLayer(
        name,
        (m, k),
        checked_values(path, _KIND, partial(_lowered, tensor)),
        checked_values(path, _KIND, vector.values) if vector else None,
        columns,
        activation,
    )


def _lowered(tensor: Tensor) -> Floats:
    """Return W (m, k) of a kernel; the k of a convolution are (channels, height, width)."""
    values = tensor.values()
    if values.ndim == 4:
        values = values.transpose(3, 2, 0, 1).reshape(values.shape[3], -1)
        return np.ascontiguousarray(values)
    return np.ascontiguousarray(values.T)


def _positions(layer: Mapping[str, Any]) -> int | str:
    """Return how many outputs a convolution has per image, or why that is not known."""
    config, shape = layer["config"], layer.get("build_config", {}).get("input_shape")
    if not shape or len(shape) != 4 or None in shape[1:3]:
        return "Conv2D: the size of its images is not in the file"
    if config.get("data_format") == "channels_first" or config.get("groups", 1) != 1:
        return "Conv2D: only channels last, in one group"
    sides = []
    for side, window, stride, dilation in zip(
        shape[1:3], config["kernel_size"], config["strides"],
        config.get("dilation_rate", (1, 1)), strict=True,
    ):  # fmt: skip
        covered = (int(window) - 1) * int(dilation) + 1
        inside = int(side) if config["padding"] == "same" else int(side) - covered + 1
        sides.append(-(-inside // int(stride)))
    return math.prod(sides) if min(sides) > 0 else f"Conv2D: no outputs of images {shape}"


def _datasets(path: Path, root: Any) -> Iterator[Tensor]:
    """Yield every dataset of a file without a configuration, by its path."""
    found: list[Tensor] = []

    def visit(name: str, item: Any) -> None:
        if hasattr(item, "shape") and item.shape is not None:
            found.append(_tensor(_plain(name), item))

    root.visititems(visit)
    yield from found


def _plain(name: str) -> str:
    """Return a dataset's path as a name of a weight or a bias."""
    numbered = re.sub(r":\d+$", "", name)
    for number, kind in (("0", "kernel"), ("1", "bias")):  # as Keras 3 numbers them
        numbered = re.sub(rf"/vars/{number}$", f"/{kind}", numbered)
    return numbered


def _tensor(name: str, dataset: Any) -> Tensor:
    """Return a dataset as a tensor; it is read from the file when it is wanted."""
    file, place = dataset.file, dataset.name
    source: Any = file.filename if Path(str(file.filename)).is_file() else None
    shape = tuple(map(int, dataset.shape))
    # Of an archive's weights, which are in memory, the file stays open no longer than it is read.
    held = None if source else np.asarray(dataset)
    return Tensor(name, shape, dataset.dtype.name, partial(_read, source, place, held))


def _read(source: str | None, place: str, held: NDArray[Any] | None) -> NDArray[Any]:
    if held is not None:
        return held
    h5py: Any = importlib.import_module("h5py")
    with h5py.File(source, "r") as file:
        return np.asarray(file[place])


def _snake(name: str) -> str:
    """Return a class's name as Keras names its weights: ``Conv2D`` is ``conv2d``."""
    apart = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", apart).lower()


def _text(value: Sequence[Any] | bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
