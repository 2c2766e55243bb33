"""``plan``: which kernel serves each layer of a network, verified end to end and written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from crossover.bench.commands.conducting import StudyOptions, conduct_and_show
from crossover.bench.commands.output import EXIT_FINE, say
from crossover.bench.options.declaration import add_options, from_options
from crossover.bench.options.parser import add_command
from crossover.bench.studies.plan.asking import Asked, PlanSpec
from crossover.bench.studies.plan.layers import PlanLayers
from crossover.bench.studies.plan.verifying import PlanCandidates, PlanVerified

# Of the budget, for the layers one by one.
_LAYERS_SHARE = 0.6


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands, "plan",
        help="plan how to serve a network, and check it end to end",
        description="Measure a pruned network's layers, choose the fastest kernel for each and "
        "each batch, race the whole against all dense, and write what crossover.load serves.",
        epilog="example: crossover plan --network mine.safetensors --batch 1-256",
    )  # fmt: skip
    add_options(parser, PlanSpec)
    add_options(parser, StudyOptions)
    kept = "what was measured is kept, and the same command resumes"
    parser.set_defaults(run=_run, kept=kept)


def _run(options: argparse.Namespace, command: str) -> int:
    asked = Asked(from_options(PlanSpec, options))
    layers, name = PlanLayers(asked, _LAYERS_SHARE), _stem(asked.source.name)
    drafts = [options.out / f".{name}.{kind}.safetensors" for kind in ("candidates", "plan")]
    candidates = PlanCandidates(layers, drafts[0])
    studies = [layers, candidates, PlanVerified(candidates, drafts[1])]
    path = options.out / f"{name}.plan.safetensors"
    try:
        code = conduct_and_show(options, command, studies, "plan")
        if code == EXIT_FINE:  # only what was verified is there to be served
            drafts[1].replace(path)
            say(options, f"wrote {path}: crossover.load serves it")
        return code
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)


def _stem(name: str) -> str:
    return Path(name).stem or "network"
