"""What an NVIDIA GPU is asked, in the order of what it decides; problems of a weight together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from crossover.bench.studies.networks import trained
from crossover.bench.studies.study import Report
from crossover.bench.workloads import mnist
from crossover.bench.workloads.checkpoints import checkpoint_path
from crossover.bench.workloads.matrices import MatrixPattern, RandomMatrix
from crossover.bench.workloads.networks import network
from crossover.bench.workloads.problem import Caches, Problem, Setting, Workload
from crossover.bench.workloads.recipes import PrunedLayer
from crossover.bench.workloads.training.recipe import TrainingRecipe
from crossover.kernels.base import PASSES, Kernel, Pass

#: Least and most rounds of a visit, and its seconds beyond the least.
ROUNDS = 6, 12
SHARE_S = 0.1
_SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
_FEW_SPARSITIES = (0.5, 0.7, 0.9, 0.98)
_SIDES = (512, 1024, 2048, 4096, 8192)
_BATCHES = (1, 32, 128, 1024, 8192)
_ALWAYS = "lenet-300-100"
# Layers of the Transformer and the ResNet-50 of the Deep Learning Matrix Collection.
_SHAPES = ((512, 512), (2048, 512), (512, 2048), (256, 2304))


def unavailable(kernels: Mapping[str, Kernel]) -> str | None:
    """Return why no CUDA kernel can run here, as a sentence, or None if one can."""
    reasons = [each.unavailable() for each in kernels.values() if each.device == "cuda"]
    return None if None in reasons else next(filter(None, reasons), "There is no CUDA kernel.")


def problems(seed: int, threads: int, report: Report) -> list[Problem]:
    """Return the problems, the most important first.

    LeNet-300-100 is trained on the CPU where that was not done yet; what takes longer to train
    takes part only where it is kept ('networks train').
    """
    workloads: list[tuple[Workload, Caches]] = [
        *_squares((4096,), (0.9,), (1024,), seed),
        *_network(_ALWAYS, (1, 128, 1024), ("forward",), seed, report),
        *_network("wide", (1, 128, 1024), ("forward",), seed, report),
        *_squares((4096,), _SPARSITIES, (1024,), seed),
        *_squares((4096, 8192), (0.9,), (1,), seed, caches="cold"),
        *_squares((2048,), _SPARSITIES, (128, 1024), seed),
        *_structured(seed),
        *_layers_like_dlmc(seed),
        *_squares((1024, 4096), _FEW_SPARSITIES, (128, 1024), seed, PASSES[1:]),
        *_network(_ALWAYS, (128, 1024), PASSES[1:], seed, report),
        *_squares((4096,), _SPARSITIES, (128,), seed),
        *_squares((8192,), (0.5, 0.7, 0.8, 0.9, 0.98), (128, 1024), seed),
        *_squares(_SIDES, _FEW_SPARSITIES, (1, 32), seed),
        *_squares((512, 1024), _SPARSITIES, (128, 1024, 8192), seed),
        *_network(_ALWAYS, _BATCHES, ("forward",), seed, report),
        *_network("lenet-5", (1, 128), ("forward",), seed, report),
        *_squares(_SIDES, _SPARSITIES, _BATCHES, seed),
    ]
    unique = dict.fromkeys(workloads)
    return [Problem(workload, Setting(threads, caches)) for workload, caches in unique]


def _squares(
    sides: Iterable[int],
    sparsities: Sequence[float],
    batches: Sequence[int],
    seed: int,
    passes: Sequence[Pass] = ("forward",),
    caches: Caches = "hot",
    pattern: MatrixPattern = "random",
) -> list[tuple[Workload, Caches]]:
    group = "squares" if pattern == "random" else f"squares, {pattern}"
    return [
        (Workload(RandomMatrix(group, side, side, sparsity, pattern, seed), pass_, batch), caches)
        for side in sides
        for sparsity in sparsities
        for batch in batches
        for pass_ in passes
    ]


def _layers_like_dlmc(seed: int) -> list[tuple[Workload, Caches]]:
    return [
        (
            Workload(RandomMatrix("layers like DLMC's", m, k, sparsity, seed=seed), pass_, batch),
            "hot",
        )
        for m, k in _SHAPES
        for sparsity in (0.7, 0.8, 0.9, 0.95, 0.98)
        for batch in (128, 1024)
        for pass_ in ("forward", "backward_weight")
    ]


def _structured(seed: int) -> list[tuple[Workload, Caches]]:
    sparsities = (0.5, 0.7, 0.8, 0.9, 0.95)
    return [
        *_squares((2048, 4096), sparsities, (128, 1024), seed, pattern="block-32"),
        *_squares((2048, 4096), (0.5,), (1, 128, 1024), seed, pattern="2:4"),
    ]


def _network(
    name: str, batches: Sequence[int], passes: Sequence[Pass], seed: int, report: Report
) -> list[tuple[Workload, Caches]]:
    dataset = mnist.load()
    recipe = TrainingRecipe(name, dataset.digest, seed=seed)
    if name != _ALWAYS and not checkpoint_path(recipe).exists():
        return []
    (model,) = trained([recipe], dataset, report)
    return [
        (
            Workload(
                PrunedLayer(recipe, index, model.digest, sparsity=sparsity, seed=seed), pass_, batch
            ),
            "hot",
        )
        for index in range(len(network(name).layers))
        for sparsity in _SPARSITIES
        for batch in batches
        for pass_ in passes
    ]
