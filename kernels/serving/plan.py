"""A plan: which kernel multiplies each layer, by how many inputs there are at a time."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

#: How a batch goes through a network. ``compiled``: in one call, each thread with inputs of its
#: own. ``kernels``: threads share each layer's product. ``dense``: by NumPy's product, activations
#: as they come, (n, features).
Way = Literal["compiled", "kernels", "dense"]
WAYS: tuple[Way, ...] = get_args(Way)
#: Kernels that the compiled way knows.
COMPILED = "numba-tiled", "numba-dense", "numba-sell"
VERSION = 1


@dataclass(frozen=True)
class LayerPlan:
    """A layer as it is served."""

    name: str
    #: (m, k) of W.
    shape: tuple[int, int]
    #: Whether a ReLU follows.
    relu: bool


@dataclass(frozen=True)
class Choice:
    """What serves batches from ``least`` on, up to where the next choice begins."""

    least: int
    way: Way
    #: A kernel per layer; none where the way is dense.
    kernels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Which kernels serve a network, by the number of inputs."""

    network: str
    layers: tuple[LayerPlan, ...]
    #: By rising ``least``; the first begins at 1.
    choices: tuple[Choice, ...]
    #: Threads that it was measured with, and what it was measured on.
    threads: int = 0
    machine: str = ""
    #: What else is known of it: sparsity, accuracy, predictions.
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        least = [choice.least for choice in self.choices]
        if not self.layers or not least or least[0] != 1 or least != sorted(set(least)):
            raise ValueError(
                f"{len(self.layers)} layers with choices from batches {least}: there must be "
                "layers, and choices from 1 on, rising"
            )
        for choice in self.choices:
            wanted = 0 if choice.way == "dense" else len(self.layers)
            if choice.way not in WAYS or len(choice.kernels) != wanted:
                raise ValueError(
                    f"the choice from batch {choice.least} on names {len(choice.kernels)} kernels "
                    f"for {len(self.layers)} layers, {choice.way}"
                )
        for before, after in zip(self.layers, self.layers[1:], strict=False):
            if before.shape[0] != after.shape[1]:
                raise ValueError(
                    f"{before.name} gives {before.shape[0]} outputs, {after.name} takes "
                    f"{after.shape[1]} inputs: layers must chain"
                )

    def choice(self, batch: int) -> Choice:
        """Return what serves ``batch`` inputs."""
        place = bisect.bisect_right([each.least for each in self.choices], batch)
        return self.choices[place - 1]

    def kernels_of(self, layer: int) -> list[str]:
        """Return the kernels that hold an operand of a layer, each once."""
        found = [each.kernels[layer] for each in self.choices if each.kernels]
        return list(dict.fromkeys(found))

    @property
    def uses_dense(self) -> bool:
        """Return whether some batches go all dense."""
        return any(choice.way == "dense" for choice in self.choices)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Plan:
        """Return the plan that :meth:`as_json` made.

        Raises:
            ValueError: if it is none, or of another version.
        """
        try:
            if content["version"] != VERSION:
                raise ValueError(f"it is of version {content['version']}, known is {VERSION}")
            return cls(
                str(content["network"]),
                tuple(_layer(each) for each in content["layers"]),
                tuple(
                    Choice(int(e["least"]), e["way"], tuple(map(str, e["kernels"])))
                    for e in content["choices"]
                ),
                int(content["threads"]),
                str(content["machine"]),
                dict(content["about"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is no plan ({type(error).__name__}: {error})") from error


def one_way(
    network: str, layers: Sequence[LayerPlan], way: Way, kernels: Sequence[str] = ()
) -> Plan:
    """Return the plan that serves every batch in one way."""
    return Plan(network, tuple(layers), (Choice(1, way, tuple(kernels)),))


def _layer(content: Mapping[str, Any]) -> LayerPlan:
    m, k = (int(side) for side in content["shape"])
    if min(m, k) < 1:
        raise ValueError(f"layer {content['name']!r} has the shape {m} x {k}")
    return LayerPlan(str(content["name"]), (m, k), bool(content["relu"]))
