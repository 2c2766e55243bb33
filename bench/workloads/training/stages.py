"""A training in stages, each kept, so that one that was interrupted goes on from the last."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from crossover.bench.workloads import tensor_files
from crossover.bench.workloads.mnist import Dataset
from crossover.bench.workloads.networks import Network
from crossover.bench.workloads.pruning.method import PruningMethod
from crossover.bench.workloads.tensor_files import DamagedError, TensorFile
from crossover.bench.workloads.training import loop
from crossover.bench.workloads.training.loop import Schedule, Stage
from crossover.bench.workloads.training.model import LayerState, Model
from crossover.kernels.base import Kernel


@dataclass(frozen=True)
class StagedTraining:
    """The training of a network, whose last stage is at ``path``.

    ``recipe`` says all that the stage depends on; one of another recipe is not gone on from.
    """

    path: Path
    network: Network
    recipe: Mapping[str, Any]
    kernel: Kernel

    def train(
        self,
        begin: Callable[[], Sequence[LayerState]],
        dataset: Dataset,
        schedule: Schedule,
        rng: np.random.Generator,
        method: PruningMethod | None = None,
        report_share: Callable[[float], None] | None = None,
    ) -> tuple[Model, float]:
        """Return the trained model, and the seconds that it took over all attempts together.

        ``begin`` returns the layers to begin with, drawn by ``rng``. The rest is as
        :func:`loop.train` has it, and so is the outcome, however often it was interrupted.

        Raises:
            InputError: if a stage cannot be written.
        """
        model, stage, before_s = self._start(begin)
        began = perf_counter()

        def keep(stage: Stage) -> None:
            self.save(stage, before_s + perf_counter() - began)

        loop.train(
            model, dataset.train_images, dataset.train_labels, schedule, rng, method,
            report_share, stage, keep,
        )  # fmt: skip
        return model, before_s + perf_counter() - began

    def _start(
        self, begin: Callable[[], Sequence[LayerState]]
    ) -> tuple[Model, Stage | None, float]:
        kept = self.load()
        if kept is not None:
            stage, seconds = kept
            model = Model(self.network, stage.states, self.kernel)
            if stage.fits(model):
                return model, stage, seconds
        return Model(self.network, begin(), self.kernel), None, 0.0

    def save(self, stage: Stage, train_s: float) -> None:
        """Keep ``stage``, reached after ``train_s``, in the place of the one before.

        Raises:
            InputError: if it cannot be written.
        """
        metadata = {
            "recipe": json.dumps(self.recipe),
            "epochs": str(stage.epochs),
            "steps": str(stage.steps),
            "draws": json.dumps(stage.draws),
            "layout": stage.layout,
            "train_s": repr(train_s),
        }
        moments = {
            f"moment.{index}.{order}": moment
            for index, pair in enumerate(stage.moments)
            for order, moment in enumerate(pair)
        }
        tensor_files.write(self.path, self.network, stage.states, metadata, moments)

    def load(self) -> tuple[Stage, float] | None:
        """Return the stage that is kept and the seconds until then, or None without a sound one.

        Raises:
            InputError: if it cannot be read at all.
        """
        try:
            with tensor_files.opened(self.path) as file:
                return self._read(file)
        except FileNotFoundError:
            return None
        except DamagedError as error:
            print(f"{self.path} is damaged ({error}); training from its beginning", file=sys.stderr)
            return None

    def _read(self, file: TensorFile) -> tuple[Stage, float]:
        metadata = file.metadata
        if json.loads(metadata["recipe"]) != self.recipe:
            raise ValueError("it holds another recipe")
        draws = json.loads(metadata["draws"])
        np.random.default_rng().bit_generator.state = draws  # raises where it is no such state
        moments = tuple(
            (file.array(f"moment.{index}.0"), file.array(f"moment.{index}.1"))
            for index in range(2 * len(self.network.layers))
        )
        epochs, steps = int(metadata["epochs"]), int(metadata["steps"])
        layers, layout = file.layers(self.network), metadata.get("layout", "")
        stage = Stage(epochs, layers, steps, moments, draws, layout)
        return stage, float(metadata["train_s"])
