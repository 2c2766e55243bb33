"""The command line: parsing and printing, nothing else.

This module puts the parts together, so it alone may import ``reports`` from within ``bench``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from bench import display, sweep
from bench.errors import InputError
from bench.records import FILE_NAME, Store
from bench.sweep import Plan
from bench.workloads import mnist, models
from bench.workloads.models import PRUNINGS, Recipe
from bench.workloads.networks import NETWORKS, network
from kernels.base import PASSES, discover

EXIT_FINE, EXIT_USAGE, EXIT_WRONG, EXIT_INTERRUPTED = 0, 2, 3, 130


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see '{self.prog} --help')")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        parser = _parser()
        options = parser.parse_args(given or ["run"])
        return int(options.run(options, "crossover " + " ".join(given)))
    except (InputError, OSError) as error:
        print(f"crossover: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print(
            "crossover: stopped; what was measured is kept, and the same command resumes",
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED


def _run(options: argparse.Namespace, command: str) -> int:
    plan = Plan(
        models=tuple(options.model),
        sparsities=tuple(options.sparsity),
        batches=tuple(options.batch),
        passes=tuple(options.passes),
        kernels=tuple(options.kernels),
        threads=tuple(options.threads),
        budget_s=options.budget,
        pruning=options.prune,
        scope=options.scope,
        seed=options.seed,
        data=options.data,
        modules=tuple(options.kernel_module),
        time_limit_s=options.time_limit,
    )
    sweep.check(plan)
    store = Store(options.out / FILE_NAME)
    with display.progress(options.quiet) as report:
        result = sweep.sweep(plan, store, command, report, options.again)
    store.close()
    if not result.rows_measured:
        reasons = "no kernel could run; see 'kernels list'"
        raise InputError(f"nothing was measured ({reasons})")
    code = _report(options, result.run_id)
    _say(options, f"{result.rows_written} rows measured, {result.rows_kept} kept from before")
    for where in result.wrong:
        print("wrong result: " + ", ".join(where), file=sys.stderr)
    return EXIT_WRONG if result.wrong else code


def _report_command(options: argparse.Namespace, command: str) -> int:
    return _report(options, options.run_id)


def _report(options: argparse.Namespace, run_id: str | None) -> int:
    from reports import page

    report = page.load(options.out, run_id)
    paths = page.write(report, options.out)
    if options.json:
        print(page.as_json(report))
    else:
        page.summary(report)
    for path in paths:
        _say(options, f"wrote {path}")
    return EXIT_FINE


def _kernels_list(options: argparse.Namespace, command: str) -> int:
    try:
        kernels = discover(options.kernel_module)
    except ValueError as error:
        raise InputError(str(error)) from error
    lines = [
        {
            "name": kernel.name,
            "device": kernel.device,
            "format": kernel.format,
            "arithmetic": ", ".join(a.name for a in kernel.arithmetic.values()),
            "passes": "all" if kernel.passes == PASSES else ", ".join(kernel.passes),
            "available": kernel.unavailable() or "yes",
            **({"title": kernel.title, "source": kernel.source} if options.json else {}),
        }
        for kernel in kernels.values()
    ]
    _print_table(lines, options.json)
    return EXIT_FINE


def _models_list(options: argparse.Namespace, command: str) -> int:
    kept = models.kept_checkpoints()
    lines = [
        {
            "network": each.name,
            "layers": ", ".join(f"{la.name} {la.shape[0]} × {la.shape[1]}" for la in each.layers),
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
    _print_table(lines, options.json)
    return EXIT_FINE


def _models_train(options: argparse.Namespace, command: str) -> int:
    network(options.name)
    kernels = discover()
    if options.kernel not in kernels:
        raise InputError(f"unknown kernel {options.kernel!r}: choose from {', '.join(kernels)}")
    kernel = kernels[options.kernel]
    if reason := kernel.unavailable():
        raise InputError(f"kernel {options.kernel!r} cannot train here: {reason}")
    recipes = [_recipe(options, sparsity) for sparsity in options.sparsity]
    dataset = mnist.load(options.data)
    models.check_cache()
    trained = []
    with display.progress(options.quiet) as report:
        for recipe in recipes:
            trained.append(
                models.obtain(
                    recipe,
                    dataset,
                    kernel,
                    lambda title, done: report(sweep.Progress("train", title, done, 1.0)),
                )
            )
    for model in trained:
        _show(model, options.json)
    return EXIT_FINE


def _models_show(options: argparse.Namespace, command: str) -> int:
    network(options.name)
    dataset = mnist.load(options.data)
    for sparsity in options.sparsity:
        recipe = _recipe(options, sparsity)
        if not models.checkpoint_path(recipe).exists():
            raise InputError(
                f"{recipe.title} is not trained yet: run 'models train {options.name} "
                f"--sparsity {sparsity:g}' with the same options"
            )
        _show(models.obtain(recipe, dataset, discover()[options.kernel]), options.json)
    return EXIT_FINE


def _recipe(options: argparse.Namespace, sparsity: float) -> Recipe:
    digest = mnist.load(options.data).digest
    return Recipe(
        options.name, digest, sparsity, options.prune, options.scope, options.seed, options.kernel
    )


def _show(model: models.TrainedModel, as_json: bool) -> None:
    """Print a network's layers and what it reaches."""
    lines = [
        {
            "layer": layer.name,
            "shape (m × k)": f"{layer.shape[0]} × {layer.shape[1]}",
            "parameters": f"{state.weight.pattern.size:,}",
            "nnz": f"{state.weight.nnz:,}",
            "sparsity": f"{100 * state.weight.sparsity:.2f} %",
        }
        for layer, state in zip(model.network.layers, model.states, strict=True)
    ]
    if as_json:
        summary = {"recipe": asdict(model.recipe), "layers": lines}
        figures = {"accuracy": model.accuracy, "nnz": model.nnz, "train_s": model.train_s}
        print(json.dumps(summary | figures | {"parameters": model.network.parameters}))
        return
    _print_table(lines, as_json)
    fewer = 1 / (1 - model.sparsity)
    print(
        f"{model.recipe.title}: {model.network.parameters:,} parameters, {model.nnz:,} weights "
        f"stored ({fewer:.1f} x fewer, sparsity {100 * model.sparsity:.2f} %), "
        f"test accuracy {100 * model.accuracy:.2f} % (error {100 * (1 - model.accuracy):.2f} %), "
        f"trained in {model.train_s:.0f} s"
    )


def _print_table(lines: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(lines))
    else:
        display.table(pd.DataFrame(lines))


def _say(options: argparse.Namespace, line: str) -> None:
    if not options.quiet:
        print(line, file=sys.stderr)


# -- parsing ----------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="crossover",
        description="From which sparsity does a sparse kernel beat the dense one on this machine?",
        epilog="Without a command: run. Exit codes: 0 fine, 2 bad usage or input or nothing "
        "measured, 3 a kernel computed a wrong result.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    _add_run(commands)
    report = commands.add_parser("report", help="write the report of what was measured again")
    report.add_argument("--run", dest="run_id", metavar="ID", help="a run (default: the last)")
    _add_output(report)
    report.set_defaults(run=_report_command)
    _add_kernels(commands)
    _add_models(commands)
    return parser


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="measure real layers, and end in a report",
        description="Measure which kernel is fastest for each layer at each sparsity.",
        epilog="example: crossover run --model lenet-5 --sparsity 0.8 0.9 --batch 1 64",
    )
    default = Plan()
    run.add_argument("--model", nargs="+", action=_Flat, default=default.models, metavar="NAME",
                     help=f"networks: {', '.join(NETWORKS)} (default: %(default)s)")  # fmt: skip
    run.add_argument("--sparsity", nargs="+", action=_Flat, convert=_share,
                     default=default.sparsities, metavar="S",
                     help="of the whole network, as 0.9 or 90%% (default: %(default)s)")  # fmt: skip
    run.add_argument("--batch", nargs="+", action=_Flat, convert=_whole, default=default.batches,
                     metavar="N", help="images at a time (default: %(default)s)")  # fmt: skip
    run.add_argument("--passes", nargs="+", action=_Flat, convert=_pass, default=default.passes,
                     metavar="PASS", help=f"of {', '.join(PASSES)} (default: all)")  # fmt: skip
    run.add_argument("--kernels", nargs="+", action=_Flat, default=default.kernels, metavar="NAME",
                     help="see 'kernels list' (default: all)")  # fmt: skip
    run.add_argument("--threads", nargs="+", action=_Flat, convert=_whole, default=(), metavar="T",
                     help="threads of every library (default: all cores)")  # fmt: skip
    run.add_argument("--budget", type=_duration, default=default.budget_s, metavar="TIME",
                     help="time for the measuring, as 90s or 5m (default: 90s)")  # fmt: skip
    run.add_argument("--time-limit", type=_duration, default=default.time_limit_s, metavar="TIME",
                     help="after which a kernel counts as hanging (default: 60s)")  # fmt: skip
    run.add_argument("--again", action="store_true",
                     help="measure again what was measured before")  # fmt: skip
    _add_recipe(run)
    _add_kernel_module(run)
    _add_output(run)
    run.set_defaults(run=_run)


def _add_kernels(commands: Any) -> None:
    kernels = commands.add_parser("kernels", help="the kernels there are")
    listed = kernels.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    lister = listed.add_parser("list", help="name, device, format, passes, availability")
    _add_kernel_module(lister)
    lister.add_argument("--json", action="store_true", help="print JSON")
    lister.set_defaults(run=_kernels_list)


def _add_models(commands: Any) -> None:
    group = commands.add_parser("models", help="the networks, and training them")
    actions = group.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    lister = actions.add_parser("list", help="the networks and what is trained of them")
    lister.add_argument("--json", action="store_true", help="print JSON")
    lister.set_defaults(run=_models_list)
    for name, action, text in (
        ("train", _models_train, "train and prune a network"),
        ("show", _models_show, "a trained network's layers"),
    ):
        parser = actions.add_parser(
            name, help=text, epilog=f"example: crossover models {name} lenet-5 --sparsity 0.9"
        )
        parser.add_argument("name", metavar="NAME", help=", ".join(NETWORKS))
        parser.add_argument("--sparsity", nargs="+", action=_Flat, convert=_share, default=(0.0,),
                            metavar="S", help="0.9 or 90%% (default: dense)")  # fmt: skip
        parser.add_argument("--kernel", default=sweep.TRAINING_KERNEL, metavar="NAME",
                            help="the kernel to train with (default: %(default)s)")  # fmt: skip
        _add_recipe(parser)
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument("--quiet", action="store_true", help="no progress bar")
        parser.set_defaults(run=action)


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prune", choices=PRUNINGS, default="gradual",
                        help="how to prune (default: %(default)s)")  # fmt: skip
    parser.add_argument("--scope", choices=("global", "layer"), default="global",
                        help="over all layers, or each alone (default: %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=_whole, default=0, help="default: %(default)s")
    parser.add_argument("--data", type=Path, metavar="DIR",
                        help="IDX files of MNIST's form (default: the embedded MNIST)")  # fmt: skip


def _add_kernel_module(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kernel-module", action="append", default=[], metavar="MODULE",
                        help="an importable module with kernels of your own")  # fmt: skip


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR",
                        help="folder of the results (default: %(default)s)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress, no remarks")


class _Flat(argparse.Action):
    """Takes values with spaces or commas between them, converts each, and checks it."""

    def __init__(self, *arguments: Any, convert: Any = str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.convert = convert

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        parts = [part for value in values for part in str(value).split(",") if part]
        if not parts:
            raise InputError(f"{option} has no value: give one or more")
        setattr(namespace, self.dest, tuple(dict.fromkeys(self.convert(part) for part in parts)))


def _share(text: str) -> float:
    """Return a share given as 0.9 or 90%."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise InputError(f"sparsity {text!r} is not a number: give 0.9 or 90%") from None
    Recipe("", "", value)
    return value


def _whole(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise InputError(f"{text!r} is not a whole number of at least 0")
    return value


def _pass(text: str) -> str:
    if text not in PASSES:
        raise InputError(f"unknown pass {text!r}: choose from {', '.join(PASSES)}")
    return text


def _duration(text: str) -> float:
    """Return the seconds of 90, 90s, 5m or 1h."""
    factor = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:], 0.0)
    try:
        value = float(text[:-1]) * factor if factor else float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise InputError(f"time {text!r} is not a duration above 0: give 90s, 5m or 1h")
    return value


if __name__ == "__main__":
    sys.exit(main())
