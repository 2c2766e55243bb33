"""Files of planned networks: safetensors, so that no code is in them and all of it is checked.

Of layer ``i``, counted from 0, there are:

=========================== ========= ===================================================
tensor                      type      what
=========================== ========= ===================================================
``i.pointers`` (m + 1,)     int32     where each row of W begins among its nonzeros
``i.columns`` (nnz,)        int32     the column of each nonzero, rising within a row
``i.values`` (nnz,)         float32   its value
``i.bias`` (m,)             float32   b
=========================== ========= ===================================================

A layer that is not sparse has ``i.weight`` (m, k) float32 instead of the first three. The metadata
has the plan as JSON under ``crossover.plan``: the layers' names, shapes and ReLUs, and what serves
batches from which size on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..base import Array, Kernel, Weight
from .network import Layer, Network
from .plan import LayerPlan, Plan

KEY = "crossover.plan"
# Beyond this density a dense W is smaller than pointers, columns and values.
_MOST_DENSITY = 0.5


class PlanFileError(ValueError):
    """Raised where a file is no planned network; says what is wrong with it."""


def load(path: str | Path, kernels: Mapping[str, Kernel] | None = None) -> Network:
    """Return the network of a file that ``crossover plan`` wrote, ready to be called.

    Raises:
        PlanFileError: if it is none, or names a kernel that cannot run here.
    """
    plan, layers = read(path)
    try:
        return Network(plan, layers, kernels)
    except ValueError as error:
        raise PlanFileError(f"{path} cannot be served ({error}): plan it again here") from error


def read(path: str | Path) -> tuple[Plan, list[Layer]]:
    """Return the plan and the layers in a file.

    Raises:
        PlanFileError: if it is no planned network.
    """
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if KEY not in metadata:
                raise ValueError("it holds no plan")
            plan = Plan.from_json(json.loads(metadata[KEY]))
            names = set(file.keys())
            return plan, [
                Layer(_weight(file, names, index, each), _bias(file, index, each))
                for index, each in enumerate(plan.layers)
            ]
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise PlanFileError(f"{path} is no planned network ({error}): plan it again") from error


def written(plan: Plan, layers: Sequence[Layer]) -> bytes:
    """Return the content of the file of a planned network."""
    tensors: dict[str, Array] = {}
    for index, layer in enumerate(layers):
        weight = layer.weight
        tensors[f"{index}.bias"] = np.ascontiguousarray(layer.bias, np.float32)
        if weight.nnz > _MOST_DENSITY * weight.pattern.size:
            tensors[f"{index}.weight"] = np.ascontiguousarray(weight.values, np.float32)
            continue
        rows, columns = np.nonzero(weight.pattern)
        pointers = np.zeros(weight.shape[0] + 1, np.int32)
        np.cumsum(np.bincount(rows, minlength=weight.shape[0]), out=pointers[1:])
        tensors[f"{index}.pointers"] = pointers
        tensors[f"{index}.columns"] = columns.astype(np.int32)
        tensors[f"{index}.values"] = weight.values[rows, columns].astype(np.float32)
    return save(tensors, {KEY: json.dumps(plan.as_json())})


def _weight(file: Any, names: set[str], index: int, layer: LayerPlan) -> Weight:
    if f"{index}.weight" in names:
        return Weight.from_dense(_tensor(file, f"{index}.weight", layer.shape, np.float32))
    m, k = layer.shape
    pointers = _tensor(file, f"{index}.pointers", (m + 1,), np.int32)
    columns = _tensor(file, f"{index}.columns", None, np.int32)
    values = _tensor(file, f"{index}.values", columns.shape, np.float32)
    counts = np.diff(pointers)
    if pointers[0] != 0 or pointers[-1] != columns.size or (counts < 0).any():
        raise ValueError(f"the pointers of layer {index} do not rise from 0 to {columns.size}")
    if columns.size and not 0 <= columns.min() <= columns.max() < k:
        raise ValueError(f"the columns of layer {index} are not all in 0 to {k - 1}")
    pattern = np.zeros((m, k), bool)
    rows = np.repeat(np.arange(m), counts)
    pattern[rows, columns] = True
    if np.count_nonzero(pattern) != columns.size:
        raise ValueError(f"layer {index} has a column twice in a row")
    dense = np.zeros((m, k), np.float32)
    dense[rows, columns] = values
    return Weight(dense, pattern)


def _bias(file: Any, index: int, layer: LayerPlan) -> Array:
    return _tensor(file, f"{index}.bias", layer.shape[:1], np.float32)


def _tensor(file: Any, name: str, shape: tuple[int, ...] | None, dtype: Any) -> Array:
    array: Array = file.get_tensor(name)
    wanted = array.shape[:1] if shape is None else shape
    if array.shape != wanted or array.dtype != dtype:
        raise ValueError(f"{name} is {array.dtype} {array.shape}, not {np.dtype(dtype)} {wanted}")
    if array.dtype == np.float32 and not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite")
    return array
