"""The command line: what each command does with its parsed arguments, and what it prints.

This module puts the parts together, so it alone may import ``reports`` from within ``bench``.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from bench import (
    arguments,
    ceilings,
    cells,
    cuda_ceilings,
    display,
    doctor,
    locate,
    machine,
    peers,
    sweep,
)
from bench.answers import SearchInterrupted
from bench.cells import Plan
from bench.errors import InputError
from bench.locate import Inquiry
from bench.peers import Contest
from bench.progress import training_progress
from bench.records import FILE_NAME, Store
from bench.worker import in_fresh_process
from bench.workloads import mnist, models
from bench.workloads.models import Recipe
from bench.workloads.networks import NETWORKS, network
from kernels.base import PASSES, discover
from kernels.gpu import cupy_unavailable

EXIT_FINE, EXIT_USAGE, EXIT_WRONG, EXIT_INTERRUPTED = 0, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        options = arguments.parser().parse_args(given or ["run"])
        return _COMMANDS[options.command](options, shlex.join(["crossover", *given]))
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
        caches=tuple(options.caches),
        budget_s=options.budget,
        pruning=options.prune,
        scope=options.scope,
        seed=options.seed,
        data=options.data,
        modules=tuple(options.kernel_module),
        time_limit_s=options.time_limit,
    )
    cells.check(plan)
    store = Store(options.out / FILE_NAME)
    with display.progress(options.quiet) as report:
        result = sweep.sweep(plan, store, command, report, options.again)
    store.close()
    if not result.rows_measured:
        reasons = "no kernel could run; see 'kernels list'"
        raise InputError(f"nothing was measured ({reasons})")
    code = _report(options, result.run_id)
    kept = f"{result.rows_written} rows measured, {result.rows_kept} kept from before"
    spent = f"{result.busy_s:.0f} of {result.measuring_s:.0f} s went into the kernels themselves"
    _say(options, f"{kept}; {spent}" if result.rows_written else kept)
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


def _crossover(options: argparse.Namespace, command: str) -> int:
    from reports import answers

    inquiry = Inquiry(
        model=options.model,
        layers=tuple(options.layer),
        batches=tuple(options.batch),
        passes=tuple(options.passes),
        kernels=tuple(options.kernels),
        against=options.against,
        threads=tuple(options.threads),
        pattern=options.pattern,
        zeros=tuple(options.zeros),
        confidence=options.confidence,
        width=options.width,
        budget_s=options.budget,
        seed=options.seed,
        modules=tuple(options.kernel_module),
    )
    interrupted = False
    locate.check(inquiry)
    limits = sweep.ceilings_of(inquiry.threads or (machine.available_cores(),))
    try:
        with display.progress(options.quiet) as report:
            found = locate.locate(inquiry, report)
    except SearchInterrupted as stopped:
        interrupted, found = True, stopped.answers
    if options.json:
        print(json.dumps([answers.record(answer, limits) for answer in found]))
    else:
        display.table(answers.table(found, limits))
    if interrupted:
        print("crossover: stopped; the answers so far are above", file=sys.stderr)
        return EXIT_INTERRUPTED
    unfinished = [a for a in found if not a.failure and a.search.wanted() is not None]
    if unfinished:
        _say(options, f"{len(unfinished)} of {len(found)} could be narrower: give more --budget")
    return EXIT_WRONG if any(answer.wrong for answer in found) else EXIT_FINE


def _machine(options: argparse.Namespace, command: str) -> int:
    from reports.tables import ceiling_lines

    found = _ceilings()
    on_gpu = in_fresh_process(cuda_ceilings.measure) if cupy_unavailable() is None else None
    known = machine.identity() | machine.conditions()
    if options.json:
        measured = {"ceilings": asdict(found), "cuda": asdict(on_gpu) if on_gpu else None}
        print(json.dumps(known | {"versions": machine.versions()} | measured))
        return EXIT_FINE
    lines = known | machine.versions() | ceiling_lines(found)
    lines |= ceiling_lines(on_gpu) if on_gpu else {}
    display.table(pd.DataFrame([{"what": k, "found": str(v)} for k, v in lines.items() if v]))
    return EXIT_FINE


def _doctor(options: argparse.Namespace, command: str) -> int:
    found = [
        {"what": each.what, "found": each.found, "remedy": each.remedy or "fine"}
        for each in doctor.examine(_ceilings(), machine.available_cores())
    ]
    _print_table(found, options.json)
    return EXIT_FINE


def _peers(options: argparse.Namespace, command: str) -> int:
    from reports import contest

    asked = Contest(
        kernels=tuple(options.kernels),
        models=tuple(options.model),
        sparsities=tuple(options.sparsity),
        squares=tuple(options.squares),
        dlmc=options.dlmc,
        batches=tuple(options.batch),
        passes=tuple(options.passes),
        threads=options.threads,
        budget_s=options.budget,
        seed=options.seed,
    )
    with display.progress(options.quiet) as report:
        matches, total, limits = peers.compete(asked, report)
    results = contest.frame(matches, asked.kernels, limits)
    missing = {name: why for match in matches for name, why in match.reasons.items()}
    if options.json:
        rows = json.loads(results.to_json(orient="records"))
        conditions: dict[str, Any] = {"machine": machine.identity(), "versions": machine.versions()}
        conditions |= {"revision": machine.revision(), "ceilings": asdict(limits)}
        print(json.dumps(conditions | {"matches": rows, "of": total, "not run": missing}))
    else:
        display.table(contest.table(results))
    _say(options, f"{len(matches)} of {total} problems measured, in random order of the matrices")
    for name, reason in missing.items():
        _say(options, f"{name} did not run everywhere: {reason}")
    return EXIT_FINE


def _selfcheck(options: argparse.Namespace, command: str) -> int:
    from bench import selfcheck  # a module of kernels, too: not of those that are always there

    lines = []
    with display.progress(options.quiet) as report:
        for check in selfcheck.run(report):
            lines.append({**asdict(check)})
            _say(options, f"{check.verdict}: {check.name}: {check.found}")
    _print_table(lines, options.json)
    return EXIT_USAGE if any(line["verdict"] == "failed" for line in lines) else EXIT_FINE


def _ceilings() -> ceilings.Ceilings:
    found: ceilings.Ceilings = in_fresh_process(ceilings.measure, machine.available_cores())
    return found


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
    with display.progress(options.quiet) as report:
        tell = training_progress(recipes, report)
        trained = [models.obtain(recipe, dataset, kernel, tell) for recipe in recipes]
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


_COMMANDS = {
    "run": _run,
    "crossover": _crossover,
    "machine": _machine,
    "doctor": _doctor,
    "selfcheck": _selfcheck,
    "peers": _peers,
    "report": _report_command,
    "kernels list": _kernels_list,
    "models list": _models_list,
    "models train": _models_train,
    "models show": _models_show,
}


if __name__ == "__main__":
    sys.exit(main())
