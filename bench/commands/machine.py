"""``machine`` and ``doctor``: what it is, and what makes it a poor place to measure."""

from __future__ import annotations

import argparse
import json
from typing import Any

from crossover.bench.commands.output import EXIT_FINE, print_table
from crossover.bench.harness.environment import in_fresh_process
from crossover.bench.machine import doctor, flush, identity
from crossover.bench.machine.limits import CpuLimits
from crossover.bench.options.parser import add_command
from crossover.bench.studies.conduct import ceilings_of
from crossover.kernels import discover
from crossover.kernels.processor import vendor
from crossover.reports.conditions import ceiling_lines


def add(commands: Any) -> None:
    """Add the commands to ``commands``."""
    for name, text, run in (
        ("machine", "what this machine is, and its measured ceilings", _machine),
        ("doctor", "what makes it a poor place to measure, and how to mend it", _doctor),
    ):
        parser = add_command(commands, name, help=text)
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(run=run)


def _machine(options: argparse.Namespace, command: str) -> int:
    known = identity.identity() | identity.conditions()
    ceilings = ceilings_of([identity.available_cores()])
    if options.json:
        print(json.dumps(known | {"versions": identity.versions(), "ceilings": ceilings}))
        return EXIT_FINE
    found = known | identity.versions() | ceiling_lines(ceilings)
    lines = [{"what": what, "found": str(value)} for what, value in found.items() if value]
    print_table(lines, as_json=False)
    return EXIT_FINE


def _doctor(options: argparse.Namespace, command: str) -> int:
    cores = identity.available_cores()
    limits = CpuLimits(**ceilings_of([cores])[str(cores)])
    found = [
        {"what": each.what, "found": each.found, "remedy": each.remedy or "fine"}
        for each in doctor.examine(
            limits, cores, in_fresh_process(flush.probe), vendor(), discover().values()
        )
    ]
    print_table(found, options.json)
    return EXIT_FINE
