"""``machine``, ``doctor``, ``selfcheck``: what it is, what ails it, whether it can be trusted."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

import pandas as pd

from crossover.bench import ceilings, cuda_ceilings, display, doctor, machine
from crossover.bench.commands.arguments import add_output
from crossover.bench.commands.output import EXIT_FINE, EXIT_USAGE, print_table, say
from crossover.bench.worker import in_fresh_process
from crossover.kernels.cuda.device import cupy_unavailable


def add(commands: Any) -> None:
    """Add the commands to ``commands``."""
    for name, text, run in (
        ("machine", "what this machine is, and its measured ceilings", _machine),
        ("doctor", "what makes it a poor place to measure, and how to mend it", _doctor),
        ("selfcheck", "whether measurements here can be trusted (six minutes)", _selfcheck),
    ):
        parser = commands.add_parser(name, help=text)
        add_output(parser)
        parser.set_defaults(run=run)


def _machine(options: argparse.Namespace, command: str) -> int:
    from crossover.reports.tables import ceiling_lines

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
    print_table(found, options.json)
    return EXIT_FINE


def _selfcheck(options: argparse.Namespace, command: str) -> int:
    from crossover.bench import (
        selfcheck,  # a module of kernels, too: not of those that are always there
    )

    lines = []
    with display.progress(options.quiet) as report:
        for check in selfcheck.run(report):
            lines.append({**asdict(check)})
            say(options, f"{check.verdict}: {check.name}: {check.found}")
    print_table(lines, options.json)
    return EXIT_USAGE if any(line["verdict"] == "failed" for line in lines) else EXIT_FINE


def _ceilings() -> ceilings.Ceilings:
    found: ceilings.Ceilings = in_fresh_process(ceilings.measure, machine.available_cores())
    return found
