"""``kernels list``: the kernels there are, and why some cannot run here."""

from __future__ import annotations

import argparse
from typing import Any

from bench.commands.arguments import add_group, add_kernel_module
from bench.commands.output import EXIT_FINE, print_table
from bench.errors import InputError
from kernels.base import PASSES, discover


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    group = add_group(commands, "kernels", "the kernels there are")
    lister = group.add_parser("list", help="name, device, format, passes, availability")
    add_kernel_module(lister)
    lister.add_argument("--json", action="store_true", help="print JSON")
    lister.set_defaults(run=_list)


def _list(options: argparse.Namespace, command: str) -> int:
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
    print_table(lines, options.json)
    return EXIT_FINE
