"""``experiment NAME``, ``all``, ``list``: the questions that this suite began with."""

from __future__ import annotations

import argparse
from typing import Any

from crossover.bench.commands.conducting import StudyOptions, conduct_and_show, study_command
from crossover.bench.commands.output import EXIT_FINE, print_table
from crossover.bench.options.declaration import add_options, from_options
from crossover.bench.options.parser import add_command, add_group
from crossover.bench.studies.experiments import EXPERIMENTS
from crossover.bench.studies.experiments.experiment import ExperimentSpec


def add(commands: Any) -> None:
    """Add the commands to ``commands``."""
    group = add_group(commands, "experiment", "questions about sparse networks, answered here")
    lister = add_command(group, "list", help="the experiments, and what each asks")
    lister.add_argument("--json", action="store_true", help="print JSON")
    lister.set_defaults(run=_list)
    for name, study in EXPERIMENTS.items():
        study_command(
            name, study, ExperimentSpec, help=study.question, description=study.question,
            epilog=f"example: crossover experiment {name} --quick",
        )(group)  # fmt: skip
    every = add_command(
        group, "all", help="one after the other",
        description="Conduct every experiment, one after the other: about a night on two cores.",
        epilog="example: crossover experiment all --out night",
    )  # fmt: skip
    add_options(every, ExperimentSpec)
    add_options(every, StudyOptions)
    every.set_defaults(run=_all, kept="what was measured is kept, and the same command resumes")


def _list(options: argparse.Namespace, command: str) -> int:
    lines = [{"experiment": n, "asks": study.question} for n, study in EXPERIMENTS.items()]
    print_table(lines, options.json)
    return EXIT_FINE


def _all(options: argparse.Namespace, command: str) -> int:
    spec = from_options(ExperimentSpec, options)
    studies = [study(spec) for study in EXPERIMENTS.values()]
    return conduct_and_show(options, command, studies, None)
