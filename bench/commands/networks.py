"""``networks list``, ``methods``, ``train``, ``show``, ``export``: networks, and training them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossover.bench.commands.output import EXIT_FINE, print_table, say
from crossover.bench.commands.progress_bar import progress
from crossover.bench.errors import InputError
from crossover.bench.harness.sources import Discovered, runnable
from crossover.bench.options import common
from crossover.bench.options.declaration import add_options, from_options, option
from crossover.bench.options.parser import add_command, add_group
from crossover.bench.options.values import share
from crossover.bench.studies.given import GivenSource, source_of
from crossover.bench.studies.networks import trained
from crossover.bench.studies.plan.asking import Asked, PlanSpec
from crossover.bench.workloads import checkpoints, mnist
from crossover.bench.workloads.checkpoints import TrainedModel
from crossover.bench.workloads.networks import NETWORKS, network
from crossover.bench.workloads.pruning import registry
from crossover.bench.workloads.pruning.masks import Scope
from crossover.bench.workloads.readers.stored import StoredNetwork
from crossover.bench.workloads.readers.writing import WrittenLayer, write
from crossover.bench.workloads.recipes import TRAINING_KERNEL
from crossover.bench.workloads.training.recipe import LEARNING_RATES, TrainingRecipe
from crossover.kernels.base import PASSES


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained and pruned."""

    sparsities: tuple[float, ...] = common.sparsities((0.0,))
    kernel: str = option(
        TRAINING_KERNEL, "--kernel", metavar="NAME", help="the kernel to train with"
    )
    pattern: str = common.pattern()
    pruning_modules: tuple[str, ...] = common.pruning_modules()
    scope: Scope = option(
        "global", "--scope", choices=("global", "layer"), help="over all layers, or each alone"
    )
    seed: int = common.seed()
    data: Path | None = common.data()
    json: bool = option(False, "--json", help="print JSON")
    quiet: bool = option(False, "--quiet", help="no progress bar")


@dataclass(frozen=True)
class MethodsOptions:
    """Which methods are listed."""

    pruning_modules: tuple[str, ...] = common.pruning_modules()
    json: bool = option(False, "--json", help="print JSON")


@dataclass(frozen=True)
class ExportOptions:
    """What is written of a network, and where."""

    sparsity: float | None = option(
        None,
        "--sparsity",
        metavar="S",
        convert=share,
        help="of the whole network, as 0.9 or 90%%",
        shown="90%, a file as it is",
    )
    to: Path = option(
        Path("network.safetensors"),
        "--to",
        metavar="FILE",
        convert=Path,
        help="a .safetensors, .onnx or .npz file",
    )
    seed: int = common.seed()
    quiet: bool = option(False, "--quiet", help="no progress bar")


def add(commands: Any) -> None:
    """Add the commands to ``commands``."""
    group = add_group(commands, "networks", "the networks, and training them")
    lister = add_command(group, "list", help="the networks and what is trained of them")
    lister.add_argument("--json", action="store_true", help="print JSON")
    lister.set_defaults(run=_list)
    methods = add_command(
        group, "methods", help="how they can be pruned",
        description="The ways to prune a network, or to train it with zeros from the start.",
        epilog="example: crossover networks methods",
    )  # fmt: skip
    add_options(methods, MethodsOptions)
    methods.set_defaults(run=_methods)
    for name, text, run in (
        ("train", "train and prune one", _train),
        ("show", "a trained one's layers", _show),
    ):
        example = f"example: crossover networks {name} lenet-5 --sparsity 0.9"
        parser = add_command(group, name, help=text, epilog=example)
        parser.add_argument("name", metavar="NAME", help=", ".join(NETWORKS))
        add_options(parser, TrainingOptions)
        parser.set_defaults(run=run, kept="the networks whose training ended are kept")
    example = "example: crossover networks export lenet-300-100 --sparsity 0.9 --to pruned.onnx"
    exporter = add_command(group, "export", help="write one for other tools", epilog=example)
    exporter.add_argument("name", metavar="NAME", help=f"{', '.join(NETWORKS)}, or a file")
    add_options(exporter, ExportOptions)
    exporter.set_defaults(run=_export, kept="the networks whose training ended are kept")


def _list(options: argparse.Namespace, command: str) -> int:
    kept = checkpoints.kept_checkpoints()
    lines = [
        {
            "network": each.name,
            "layers": ", ".join(
                f"{part.name} {part.shape[0]} × {part.shape[1]}" for part in each.layers
            ),
            "parameters": f"{each.parameters:,}",
            "trained": ", ".join(
                f"{100 * recipe.sparsity:.4g} % {recipe.pattern if recipe.sparsity else 'dense'}"
                f" ({100 * accuracy:.2f} %)"
                for _, recipe, accuracy in kept
                if recipe.network == each.name
            )
            or "not yet",
        }
        for each in NETWORKS.values()
    ]
    print_table(lines, options.json)
    return EXIT_FINE


def _methods(options: argparse.Namespace, command: str) -> int:
    asked = from_options(MethodsOptions, options)
    registry.load(asked.pruning_modules)
    lines = [
        {"method": name, "how": each.title, "source": each.source}
        for name, each in registry.METHODS.items()
    ]
    print_table(lines, asked.json)
    return EXIT_FINE


def _train(options: argparse.Namespace, command: str) -> int:
    asked = from_options(TrainingOptions, options)
    recipes = _recipes(options.name, asked)
    kernel = runnable(Discovered(), [asked.kernel])[asked.kernel]
    if missing := [pass_ for pass_ in PASSES if pass_ not in kernel.passes]:
        raise InputError(f"kernel {asked.kernel!r} cannot train: it has no {missing[0]} pass")
    dataset = mnist.load(asked.data)
    checkpoints.check_cache()
    with progress(asked.quiet) as report:
        models = trained(recipes, dataset, report)
    _print(models, asked.json)
    return EXIT_FINE


def _export(options: argparse.Namespace, command: str) -> int:
    asked = from_options(ExportOptions, options)
    spec = PlanSpec(network=options.name, sparsity=asked.sparsity, seed=asked.seed)
    with progress(asked.quiet) as report:
        chosen = Asked(spec).choose(report)
    layers = [
        WrittenLayer(declared.name, layer.weight.values, layer.bias, declared.relu)
        for declared, layer in zip(chosen.plans, chosen.layers, strict=True)
    ]
    write(asked.to, layers)
    say(options, f"wrote {asked.to}")
    return EXIT_FINE


def _show(options: argparse.Namespace, command: str) -> int:
    asked = from_options(TrainingOptions, options)
    source = source_of(options.name)
    if isinstance(source, GivenSource):
        return _show_given(source.stored, asked.json)
    recipes = _recipes(options.name, asked)
    for recipe in recipes:
        if not checkpoints.checkpoint_path(recipe).exists():
            raise InputError(
                f"{recipe.title} is not trained yet: run 'networks train {options.name} "
                f"--sparsity {recipe.sparsity:g}' with the same options"
            )
    _print([checkpoints.load(recipe) for recipe in recipes], asked.json)
    return EXIT_FINE


def _show_given(network: StoredNetwork, as_json: bool) -> int:
    """Print the layers of a file, and what of it is none."""
    lines = [
        {
            "layer": layer.name,
            "shape (m × k)": f"{layer.shape[0]} × {layer.shape[1]}",
            "parameters": f"{layer.shape[0] * layer.shape[1]:,}",
            "nnz": f"{np.count_nonzero(layer.read_weight()):,}",
            "columns per image": f"{layer.columns}",
            "then": layer.activation,
            "note": layer.note,
        }
        for layer in network.layers
    ]
    skipped = [{"skipped": each.name, "reason": each.reason} for each in network.skipped]
    if as_json:
        print(json.dumps({"format": network.format, "layers": lines, "skipped": skipped}))
        return EXIT_FINE
    print_table(lines, False)
    if skipped:
        print_table(skipped, False)
    why = network.no_chain()
    print(
        f"{network.name} ({network.format}): {len(lines)} layers, {network.parameters:,} weights; "
        + (f"not to be planned: {why}" if why else "a chain that 'crossover plan' takes")
    )
    return EXIT_FINE


def _recipes(name: str, asked: TrainingOptions) -> list[TrainingRecipe]:
    network(name)
    registry.load(asked.pruning_modules)
    registry.method_called(asked.pattern)
    how = asked.pattern, asked.scope, asked.seed, asked.kernel
    digest, code = mnist.load(asked.data).digest, registry.code_of(asked.pattern)
    return [
        TrainingRecipe(
            name,
            digest,
            sparsity,
            *how,
            rate=LEARNING_RATES.of(sparsity, asked.pattern),
            code=code,
        )
        for sparsity in asked.sparsities
    ]


def _print(trained: Sequence[TrainedModel], as_json: bool) -> None:
    """Print the layers of networks and what they reach."""
    if as_json:
        print(json.dumps([_record(model) for model in trained]))
        return
    for model in trained:
        print_table(_layers(model), False)
        fewer = 1 / (1 - model.sparsity)
        print(
            f"{model.recipe.title}: {model.network.parameters:,} parameters, {model.nnz:,} weights "
            f"stored ({fewer:.1f} x fewer, sparsity {100 * model.sparsity:.2f} %), "
            f"test accuracy {100 * model.accuracy:.2f} % "
            f"(error {100 * (1 - model.accuracy):.2f} %), trained in {model.train_s:.0f} s"
        )


def _record(model: TrainedModel) -> dict[str, Any]:
    figures = {"accuracy": model.accuracy, "nnz": model.nnz, "train_s": model.train_s}
    described = {"recipe": asdict(model.recipe), "layers": _layers(model)}
    return described | figures | {"parameters": model.network.parameters}


def _layers(model: TrainedModel) -> list[dict[str, str]]:
    return [
        {
            "layer": layer.name,
            "shape (m × k)": f"{layer.shape[0]} × {layer.shape[1]}",
            "parameters": f"{state.weight.pattern.size:,}",
            "nnz": f"{state.weight.nnz:,}",
            "sparsity": f"{100 * state.weight.sparsity:.2f} %",
        }
        for layer, state in zip(model.network.layers, model.states, strict=True)
    ]
