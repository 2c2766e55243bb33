"""``gpu-check``: everything a GPU is asked once, into one folder of reference."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crossover.bench import display, gpu_check, machine
from crossover.bench.commands.arguments import add_budget, add_kernel_module, add_output, add_seed
from crossover.bench.commands.output import EXIT_FINE, EXIT_WRONG, say
from crossover.bench.errors import InputError
from crossover.bench.gpu_check import Inquiry
from crossover.kernels.cuda.device import cupy_unavailable

_REFERENCE = machine.ROOT / "reports" / "reference"


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    parser = commands.add_parser(
        "gpu-check",
        help="check and measure the GPU kernels, into one reference run",
        description="Check every CUDA kernel at real sizes, measure the GPU's ceilings, time the "
        "kernels, find the crossovers, and write one reference run. Needs an NVIDIA GPU.",
        epilog="example: crossover gpu-check --budget 10m",
    )
    add_budget(parser, Inquiry().budget_s, "time for all of it; the most important comes first "
               "(default: 10m)")  # fmt: skip
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the run (default: reports/reference/ and the GPU's name)",
    )
    add_seed(parser)
    add_kernel_module(parser)
    add_output(parser, "print the targets as JSON")
    kept = "what was measured is kept, and the same command resumes"
    parser.set_defaults(run=_run, kept=kept)


def _run(options: argparse.Namespace, command: str) -> int:
    from crossover.reports import gpu

    modules = tuple(options.kernel_module)
    inquiry = Inquiry(options.budget, options.seed, modules)
    gpu_check.refuse_without_gpu(cupy_unavailable(), gpu_check.cuda_kernels(modules))
    folder = options.out or _REFERENCE / folder_name(machine.identity()["gpu"])
    tools = gpu_check.tools_of(inquiry)
    with display.progress(options.quiet) as report:
        checks = gpu_check.check(inquiry, folder, command, tools, report)
    findings = gpu.write(folder, checks)
    if options.json:
        print(json.dumps([asdict(each) for each in findings.targets]))
    else:
        display.table(gpu.target_table(findings.targets))
    say(options, f"wrote {folder / 'README.md'}; {findings.rows} rows measured")
    for where, kernel, reason in checks.wrong:
        say(options, f"wrong: {kernel}, {where}: {reason}")
    for stage, titles in checks.left_out.items():
        say(options, f"left out for time: {stage}: {len(titles)} (listed in README.md)")
    if not findings.rows:
        raise InputError("no cell was measured: give more --budget; see README.md in the folder")
    return EXIT_WRONG if checks.wrong else EXIT_FINE


def folder_name(gpu: str) -> str:
    """Return a folder's name for a GPU as its driver calls it: ``nvidia-h200``."""
    model = gpu.split(",")[0]
    return re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-") or "gpu"
