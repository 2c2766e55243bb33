"""What the commands share of their arguments, each checked as it is parsed."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from crossover.bench.cells import TEMPERATURES
from crossover.bench.errors import InputError
from crossover.bench.workloads.models import PRUNINGS, Recipe
from crossover.kernels.base import PASSES

# A dense weight of so many entries, its mask and a copy take 4 GB.
_MOST_WEIGHTS = 1 << 28


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # What looks like a negative number is a value: -5s is refused as a time, not as an option.
        self._negative_number_matcher = re.compile(r"-\d")

    def error(self, message: str) -> NoReturn:
        """Raise ``message`` as an :class:`InputError`."""
        raise InputError(f"{message} (see '{self.prog} --help')")


def add_group(commands: Any, name: str, text: str) -> Any:
    """Return the sub-commands of a new command ``name``, for their parsers to be added to."""
    group = commands.add_parser(name, help=text)
    return group.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add how a network is trained and pruned."""
    parser.add_argument(
        "--prune", choices=PRUNINGS, default="gradual", help="how to prune (default: %(default)s)"
    )
    parser.add_argument(
        "--scope",
        choices=("global", "layer"),
        default="global",
        help="over all layers, or each alone (default: %(default)s)",
    )
    add_seed(parser)
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="IDX files of MNIST's form (default: the embedded MNIST)",
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add the seed of all that is drawn."""
    parser.add_argument("--seed", type=whole, default=0, help="default: %(default)s")


def add_budget(parser: argparse.ArgumentParser, default_s: float, text: str) -> None:
    """Add the time that measuring may take."""
    parser.add_argument("--budget", type=duration, default=default_s, metavar="TIME", help=text)


def add_kernel_module(parser: argparse.ArgumentParser) -> None:
    """Add where to find kernels of the user's own."""
    parser.add_argument(
        "--kernel-module",
        action="append",
        default=[],
        metavar="MODULE",
        help="an importable module with kernels of your own",
    )


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add where results are kept, and how their report is shown."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder of the results (default: %(default)s)",
    )
    add_output(parser, json="print the report as JSON")


def add_output(
    parser: argparse.ArgumentParser,
    json: str = "print JSON",
    quiet: str = "no progress, no remarks",
) -> None:
    """Add how much is printed, and in which form; the texts say what that means here."""
    parser.add_argument("--json", action="store_true", help=json)
    parser.add_argument("--quiet", action="store_true", help=quiet)


def add_several(
    parser: argparse.ArgumentParser,
    name: str,
    metavar: str,
    default: Sequence[Any],
    text: str,
    convert: Callable[[str], Any] = str,
    **options: Any,
) -> None:
    """Add an option that takes one value or several, each converted and checked."""
    text = text.replace("%(default)s", " ".join(map(str, default)).replace("%", "%%"))
    parser.add_argument(
        name,
        nargs="+",
        action=_Flat,
        convert=convert,
        default=default,
        metavar=metavar,
        help=text,
        **options,
    )


def add_batch(parser: argparse.ArgumentParser, default: Sequence[int]) -> None:
    """Add how many images a layer gets at a time."""
    text = "images at a time (default: %(default)s)"
    add_several(parser, "--batch", "N", default, text, whole)


def add_passes(parser: argparse.ArgumentParser, default: Sequence[str], shown: str) -> None:
    """Add the passes to compute; ``shown`` says what the default is."""
    text = f"of {', '.join(PASSES)} (default: {shown})"
    add_several(parser, "--passes", "PASS", default, text, one_pass)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add the numbers of threads to measure with."""
    text = "threads of every library (default: all cores)"
    add_several(parser, "--threads", "T", (), text, whole)


class _Flat(argparse.Action):
    """Takes values with spaces or commas between them, converts each, and checks it."""

    def __init__(
        self, *arguments: Any, convert: Any = str, none: bool = False, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.convert = convert
        #: Whether the word ``none`` means no value at all.
        self.none = none

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        parts = [part for value in values for part in str(value).split(",") if part]
        if not parts:
            raise InputError(f"{option} has no value: give one or more")
        kept = [] if self.none and parts == ["none"] else parts
        setattr(namespace, self.dest, tuple(dict.fromkeys(self.convert(part) for part in kept)))


def share(text: str) -> float:
    """Return a share given as 0.9 or 90%."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise InputError(f"sparsity {text!r} is not a number: give 0.9 or 90%") from None
    Recipe("", "", value)
    return value


def shape(text: str) -> tuple[int, int]:
    """Return (m, k) of a shape given as 300x784."""
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise InputError(f"shape {text!r} is not of the form 300x784: outputs x inputs")
    m, k = (int(side) for side in sides)
    if m * k > _MOST_WEIGHTS:
        raise InputError(f"shape {text!r} has more than {_MOST_WEIGHTS:,} weights: give a smaller")
    return m, k


def zeros(text: str) -> float | None:
    """Return a share of zeros, or None for the real ones."""
    return {"real": None, "dense": 0.0}[text] if text in ("real", "dense") else share(text)


def whole(text: str) -> int:
    """Return a whole number of at least 0."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise InputError(f"{text!r} is not a whole number of at least 0")
    return value


def one_pass(text: str) -> str:
    """Return the name of a pass."""
    if text not in PASSES:
        raise InputError(f"unknown pass {text!r}: choose from {', '.join(PASSES)}")
    return text


def temperature(text: str) -> str:
    """Return the state of the caches: hot or cold."""
    if text not in TEMPERATURES:
        raise InputError(f"unknown state of the caches {text!r}: hot, cold, or both")
    return text


def number(text: str) -> float:
    """Return a number."""
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{text!r} is not a number: give 0.95, say") from None


def duration(text: str) -> float:
    """Return the seconds of 90, 90s, 5m or 1h."""
    factor = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:], 0.0)
    try:
        value = float(text[:-1]) * factor if factor else float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise InputError(f"time {text!r} is not a duration above 0: give 90s, 5m or 1h")
    return value
