"""All commands: finds the one that is meant, and turns what goes wrong into a line and a code."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import cast

from crossover.bench.commands import (
    compare,
    experiment,
    gate,
    history,
    kernels,
    machine,
    networks,
    peers,
    plan,
    regret,
    report,
    run,
    scaling,
    search,
    selfcheck,
    serve_check,
    step,
    store,
)
from crossover.bench.commands.output import EXIT_INTERRUPTED, EXIT_USAGE
from crossover.bench.errors import InputError
from crossover.bench.options.parser import Parser
from crossover.reports.foreign import terminal_text

#: In the order of ``--help``.
COMMANDS = (
    run, search, plan, serve_check, peers, step, scaling, regret, selfcheck, gate, history, report,
    compare, experiment, machine, kernels, networks, store,
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    options = argparse.Namespace()
    try:
        options = parser().parse_args(given or ["run"])
        return cast(int, options.run(options, shlex.join(["crossover", *given])))
    except (InputError, OSError) as error:
        print(f"crossover: {terminal_text(str(error))}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        # Set by the commands that keep what they measured.
        kept = getattr(options, "kept", "nothing was kept")
        print(f"crossover: stopped; {kept}", file=sys.stderr)
        return EXIT_INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; ``run`` of what it parses is the command's function."""
    root = Parser(
        prog="crossover",
        description="From which sparsity does a sparse kernel beat the dense one on this machine?",
        epilog="Without a command: run. Exit codes: 0 fine, 1 a confirmed regression, 2 bad usage "
        "or input, nothing measured or a failed self-check, 3 a kernel computed a wrong result, "
        "130 stopped by Ctrl-C.",
    )
    commands = root.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for module in COMMANDS:
        module.add(commands)
    return root
