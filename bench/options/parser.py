"""The parser: it says in one line what is wrong."""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
from typing import Any, NoReturn

from crossover.bench.errors import InputError

_WIDEST = 100
# argparse's own messages, and what is said instead.
_REWORDED = (
    (r"argument (\S+): expected .+", r"\1 has no value: give one"),
    (r"argument (\S+): ignored explicit argument (.+)", r"\1 takes no value: leave out \2"),
    (r"argument COMMAND: invalid choice: (.+) \((.+)\)", r"unknown command \1: \2"),
    (r"the following arguments are required: (.+)", r"missing: \1"),
)


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and takes no abbreviated option."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # An abbreviation that works today is ambiguous with the next option.
        ours: dict[str, Any] = {"allow_abbrev": False, "formatter_class": _Help}
        super().__init__(*arguments, **ours | options)
        # What looks like a negative number is a value: -5s is refused as a time, not as an option.
        self._negative_number_matcher = re.compile(r"-(\.?\d|inf|nan)")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return what was parsed; here, so that the command itself refuses what it cannot take."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self._refusal(unknown[0]))
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Raise ``message`` as an InputError."""
        for pattern, instead in _REWORDED:
            message = re.sub(f"^{pattern}$", instead, message)
        raise InputError(f"{message} (see '{self.prog} --help')")

    def _refusal(self, text: str) -> str:
        if not text.startswith("-"):
            return f"unexpected argument {text!r}: put its option before it"
        name = text.split("=")[0]
        close = difflib.get_close_matches(name, self._option_string_actions, 1)
        return f"unknown option {name!r}" + (f": did you mean {close[0]}?" if close else "")


class _Help(argparse.HelpFormatter):
    """As wide as the terminal, up to what is still easy to read."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        columns = min(shutil.get_terminal_size().columns, _WIDEST)
        super().__init__(*arguments, **{"width": columns - 2, "max_help_position": 28} | options)


def add_command(commands: Any, name: str, **texts: str) -> argparse.ArgumentParser:
    """Return the parser of a new command; its ``--help`` shows a short usage."""
    parser: argparse.ArgumentParser = commands.add_parser(name, **texts)
    parser.usage = f"{parser.prog} [options]"
    return parser


def add_group(commands: Any, name: str, text: str) -> Any:
    """Return the sub-commands of a new command ``name``, for their parsers to be added to."""
    group = commands.add_parser(name, help=text)
    return group.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
