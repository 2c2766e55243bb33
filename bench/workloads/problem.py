"""What is measured: a workload in a setting, each named by the hash of its recipe."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, get_args

from crossover.bench.workloads.given import GivenWeights
from crossover.bench.workloads.learned import LearnedNetwork
from crossover.bench.workloads.recipes import NetworkWeights, ServedNetwork, WeightRecipe
from crossover.kernels.base import PASSES, Pass

#: A pass of one layer; or of a whole network a training step, its outputs of inputs, or these for
#: several callers at a time; a training with its outcome, epochs of one kernel beside those of
#: others, or its first steps beside float64.
Computes = Pass | Literal["step", "network", "serving", "training", "epoch", "first steps"]
#: ``hot``: operands stay in the caches; ``cold``: the caches are emptied before each call.
Caches = Literal["hot", "cold"]
CACHES: tuple[Caches, ...] = get_args(Caches)
#: Idle threads of the libraries rest after 0.1 ms, or as long as each library likes.
IdleThreads = Literal["rest", "as the library likes"]


@dataclass(frozen=True)
class Workload:
    """Operands and what to compute with them; machines are compared on equal workloads."""

    weights: WeightRecipe | NetworkWeights | GivenWeights | ServedNetwork | LearnedNetwork
    computes: Computes
    batch: int
    #: Share of zeros in X and dY: drawn to be so, or None for the recipe's own.
    zeros: float | None = None
    #: Of a training step.
    optimizer: str = ""
    dtype: str = "float32"
    #: Of what is drawn beside the weights.
    seed: int = 0

    @property
    def workload_id(self) -> str:
        """Return the hash that names it, on every machine."""
        return _digest(identity(self))

    @property
    def pass_(self) -> Pass:
        """Return the pass that is computed of one layer.

        Raises:
            ValueError: if it is something of a whole network.
        """
        for name in PASSES:
            if name == self.computes:
                return name
        raise ValueError(f"{self.computes} is no pass of a layer")

    @property
    def title(self) -> str:
        """Return it as a progress bar shows it."""
        labels = self.weights.labels
        sparsity = f"{100 * labels.network_sparsity:.4g} %"
        return f"{labels.network} {sparsity} {labels.layer} {self.computes} batch {self.batch}"


@dataclass(frozen=True)
class Setting:
    """How a workload is run."""

    #: Threads of every library.
    threads: int
    caches: Caches = "hot"
    idle_threads: IdleThreads = "rest"
    #: What takes the times: our race, or pyperf in processes of its own.
    timer: Literal["race", "pyperf"] = "race"


@dataclass(frozen=True)
class Problem:
    """A workload in a setting."""

    workload: Workload
    setting: Setting

    @property
    def problem_id(self) -> str:
        """Return the hash that names it in the records."""
        return _digest([identity(self.workload), identity(self.setting)])

    @property
    def title(self) -> str:
        """Return it as a progress bar shows it."""
        cold = ", cold" if self.setting.caches == "cold" else ""
        return f"{self.workload.title}{cold}"


def identity(value: Any) -> Any:
    """Return what names ``value``, as JSON knows it: dataclasses by their name and fields.

    Fields that only say where something is found are left out.
    """
    if is_dataclass(value):
        named = {
            each.name: identity(getattr(value, each.name))
            for each in fields(value)
            if each.metadata.get("identity", True)
        }
        return {"is": type(value).__name__, **named}
    if isinstance(value, tuple | list):
        return [identity(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
