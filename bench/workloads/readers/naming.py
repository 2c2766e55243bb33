"""Layers from tensors with names alone: what a ``state_dict`` and its like tell.

A matrix is a layer, a vector of its outputs' size under the same name its bias. What the layers
compute between them no file of tensors says: ReLU is assumed where shapes chain.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from crossover.bench.workloads.readers.stored import (
    CONVERSIONS,
    Floats,
    Skipped,
    StoredLayer,
    StoredNetwork,
    Tensor,
    checked_values,
    no_layers,
    unreadable,
)

#: Of a pruned layer of ``torch.nn.utils.prune``: W is their product.
_ORIGINAL, _MASK = "weight_orig", "weight_mask"
_LAST_PARTS = re.compile(r"(?:^|[._/])(?:weight|kernel|weights|w|W)$")
_EMBEDDING = re.compile(r"(?:^|[._])(?:embed\w*|\w*embeddings?|wte|wpe|emb)(?:[._]|$)", re.I)
#: Names that the bias of a weight may have.
_BIASES = ("bias", "b", "biases")


def network_of(
    path: Path, kind: str, tensors: Sequence[Tensor], inputs_first: bool | None = False
) -> StoredNetwork:
    """Return the network that ``tensors`` are, in their order.

    ``inputs_first`` says whether matrices are (inputs, outputs); None: their biases tell.

    Raises:
        UnreadableError: if none of them is a layer.
    """
    by_name = {tensor.name: tensor for tensor in tensors}
    if len(by_name) < len(tensors):
        raise unreadable(path, kind, "two tensors have the same name")
    found: list[StoredLayer] = []
    skipped: list[Skipped] = []
    taken: set[str] = set()
    for tensor in tensors:
        if tensor.name in taken:
            continue
        if reason := _no_layer(tensor):
            skipped.append(Skipped(tensor.name, reason))
            continue
        if tensor.name.endswith(_MASK) and _partner(tensor.name, _MASK, _ORIGINAL) in by_name:
            continue
        layer, used = _layer(path, kind, tensor, by_name, inputs_first)
        found.append(layer)
        taken |= used
    skipped = [each for each in skipped if each.name not in taken]
    if not found:
        raise no_layers(path, kind, skipped)
    # What has weights computes something, an embedding or a normalisation, say.
    computing = frozenset(s.name for s in skipped if by_name[s.name].dtype in CONVERSIONS)
    layers = tuple(_activated(_in_order(found)))
    return StoredNetwork(path, kind, layers, tuple(skipped), computing=computing)


def _no_layer(tensor: Tensor) -> str:
    """Return why a tensor is no layer, in a few words; nothing if it is one."""
    if 0 in tensor.shape:
        return f"empty: {_shown(tensor.shape)}"
    if len(tensor.shape) in (3, 4, 5):
        return (
            f"convolution {_shown(tensor.shape)}: how many outputs an image has is not in a file "
            "of tensors; give the network as ONNX"
        )
    if len(tensor.shape) != 2:
        return f"{_shown(tensor.shape) or 'a number'}: no matrix"
    if min(tensor.shape) < 2:
        return f"{_shown(tensor.shape)}: a vector"
    if _EMBEDDING.search(tensor.name):
        return "an embedding: looked up, not multiplied"
    return tensor.refusal


def _layer(
    path: Path,
    kind: str,
    tensor: Tensor,
    by_name: Mapping[str, Tensor],
    inputs_first: bool | None,
) -> tuple[StoredLayer, set[str]]:
    """Return the layer of a matrix, and the names of all tensors that it takes."""
    name = _LAST_PARTS.sub("", tensor.name) or tensor.name
    outer, _, inner = name.rpartition("/")
    name = inner if inner == outer else name  # as Keras 2 wrote them
    taken, mask = {tensor.name}, None
    if tensor.name.endswith(_ORIGINAL):
        name = tensor.name.removesuffix(_ORIGINAL).rstrip("._") or tensor.name
        mask = by_name.get(_partner(tensor.name, _ORIGINAL, _MASK))
        mask = mask if mask is not None and mask.shape == tensor.shape else None
        taken |= {mask.name} if mask else set()
    bias = _bias_of(name, tensor, by_name)
    turned = inputs_first
    if turned is None:
        turned = bias is not None and bias.shape[0] != tensor.shape[0]
    m, k = tensor.shape[::-1] if turned else tensor.shape
    pattern = by_name.get(f"{name}.pattern")  # of our own files: which entries are stored
    if pattern is not None and pattern.dtype == "bool" and pattern.shape == tensor.shape:
        taken.add(pattern.name)
    if bias is not None and bias.shape[0] == m:
        taken.add(bias.name)
    else:
        bias = None
    notes = [CONVERSIONS[tensor.dtype], "mask applied" if mask else ""]
    layer = StoredLayer(
        name,
        (m, k),
        checked_values(path, kind, partial(_weight, tensor, mask, turned)),
        checked_values(path, kind, bias.values) if bias else None,
        note="; ".join(filter(None, notes)),
    )
    return layer, taken


def _weight(tensor: Tensor, mask: Tensor | None, turned: bool) -> Floats:
    values = tensor.values()
    if mask is not None:
        values = values * np.asarray(mask.read() != 0, np.float32)
    return np.ascontiguousarray(values.T) if turned else values


def _bias_of(name: str, weight: Tensor, by_name: Mapping[str, Tensor]) -> Tensor | None:
    """Return the vector beside a weight that is its bias, or None."""
    begins = dict.fromkeys((name, _LAST_PARTS.sub("", weight.name)))
    for begin, separator, last in itertools.product(begins, "._/", _BIASES):
        found = by_name.get(f"{begin}{separator}{last}")
        if found and len(found.shape) == 1 and found.shape[0] in weight.shape:
            return None if found.refusal else found
    return None


def _partner(name: str, own: str, other: str) -> str:
    return name.removesuffix(own) + other


def _in_order(layers: Sequence[StoredLayer]) -> Sequence[StoredLayer]:
    """Return layers as they follow each other, where their shapes leave but one order.

    Files that sort names have ``hidden`` before ``input``, and ``10`` before ``2``.
    """
    if _chains(layers):
        return layers
    for order in (sorted(layers, key=lambda each: _natural(each.name)), _by_shapes(layers)):
        if _chains(order):
            return order
    return layers


def _by_shapes(layers: Sequence[StoredLayer]) -> list[StoredLayer]:
    """Return the one order in which each layer takes what the one before gives, or nothing."""
    outputs = [layer.shape[0] for layer in layers]
    first = [layer for layer in layers if layer.shape[1] not in outputs]
    if len(first) != 1 or len(set(outputs)) < len(outputs):
        return []
    order, left = first, [layer for layer in layers if layer is not first[0]]
    while left:
        following = [layer for layer in left if layer.shape[1] == order[-1].shape[0]]
        if len(following) != 1:
            return []
        order, left = [*order, *following], [each for each in left if each is not following[0]]
    return order


def _chains(layers: Sequence[StoredLayer]) -> bool:
    return bool(layers) and all(
        one.shape[0] == other.shape[1] for one, other in itertools.pairwise(layers)
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts ``2`` before ``10``."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _activated(layers: Sequence[StoredLayer]) -> list[StoredLayer]:
    """Return layers with ReLU after all but the last: what a chain of layers is taken for."""
    last = len(layers) - 1
    return [
        StoredLayer(**{**vars(layer), "activation": "relu" if index < last else ""})
        for index, layer in enumerate(layers)
    ]


def _shown(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
