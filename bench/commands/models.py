"""``models list``, ``train``, ``show``: the networks, and training them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from crossover.bench import display
from crossover.bench.cells import TRAINING_KERNEL
from crossover.bench.commands.arguments import add_group, add_output, add_recipe, add_several, share
from crossover.bench.commands.output import EXIT_FINE, print_table
from crossover.bench.errors import InputError
from crossover.bench.progress import training_progress
from crossover.bench.workloads import mnist, models
from crossover.bench.workloads.models import Recipe
from crossover.bench.workloads.networks import NETWORKS, network
from crossover.kernels import discover
from crossover.kernels.base import PASSES


def add(commands: Any) -> None:
    """Add the commands to ``commands``."""
    group = add_group(commands, "models", "the networks, and training them")
    lister = group.add_parser("list", help="the networks and what is trained of them")
    lister.add_argument("--json", action="store_true", help="print JSON")
    lister.set_defaults(run=_list)
    for name, text, run in (
        ("train", "train and prune it", _train),
        ("show", "a trained one's layers", _show),
    ):
        parser = group.add_parser(
            name, help=text, epilog=f"example: crossover models {name} lenet-5 --sparsity 0.9"
        )
        parser.add_argument("name", metavar="NAME", help=", ".join(NETWORKS))
        add_several(parser, "--sparsity", "S", (0.0,), "0.9 or 90%% (default: dense)", share)
        parser.add_argument(
            "--kernel",
            default=TRAINING_KERNEL,
            metavar="NAME",
            help="the kernel to train with (default: %(default)s)",
        )
        add_recipe(parser)
        add_output(parser, quiet="no progress bar")
        parser.set_defaults(run=run, kept="the networks whose training ended are kept")


def _list(options: argparse.Namespace, command: str) -> int:
    kept = models.kept_checkpoints()
    lines = [
        {
            "network": each.name,
            "layers": ", ".join(
                f"{part.name} {part.shape[0]} × {part.shape[1]}" for part in each.layers
            ),
            "parameters": f"{each.parameters:,}",
            "trained": ", ".join(
                f"{100 * recipe.sparsity:.4g} % {recipe.pruning if recipe.sparsity else 'dense'}"
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


def _train(options: argparse.Namespace, command: str) -> int:
    network(options.name)
    kernels = discover()
    if options.kernel not in kernels:
        raise InputError(f"unknown kernel {options.kernel!r}: choose from {', '.join(kernels)}")
    kernel = kernels[options.kernel]
    if reason := kernel.unavailable():
        raise InputError(f"kernel {options.kernel!r} cannot train here: {reason}")
    if missing := [pass_ for pass_ in PASSES if pass_ not in kernel.passes]:
        raise InputError(f"kernel {options.kernel!r} cannot train: it has no {missing[0]} pass")
    recipes = [_recipe(options, sparsity) for sparsity in options.sparsity]
    dataset = mnist.load(options.data)
    models.check_cache()
    with display.progress(options.quiet) as report:
        tell = training_progress(recipes, report)
        trained = [models.obtain(recipe, dataset, kernel, tell) for recipe in recipes]
    _print(trained, options.json)
    return EXIT_FINE


def _show(options: argparse.Namespace, command: str) -> int:
    network(options.name)
    dataset = mnist.load(options.data)
    kept = []
    for sparsity in options.sparsity:
        recipe = _recipe(options, sparsity)
        if not models.checkpoint_path(recipe).exists():
            raise InputError(
                f"{recipe.title} is not trained yet: run 'models train {options.name} "
                f"--sparsity {sparsity:g}' with the same options"
            )
        kept.append(models.obtain(recipe, dataset, discover()[options.kernel]))
    _print(kept, options.json)
    return EXIT_FINE


def _recipe(options: argparse.Namespace, sparsity: float) -> Recipe:
    digest = mnist.load(options.data).digest
    return Recipe(
        options.name, digest, sparsity, options.prune, options.scope, options.seed, options.kernel
    )


def _print(trained: Sequence[models.TrainedModel], as_json: bool) -> None:
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


def _record(model: models.TrainedModel) -> dict[str, Any]:
    figures = {"accuracy": model.accuracy, "nnz": model.nnz, "train_s": model.train_s}
    described = {"recipe": asdict(model.recipe), "layers": _layers(model)}
    return described | figures | {"parameters": model.network.parameters}


def _layers(model: models.TrainedModel) -> list[dict[str, str]]:
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
