"""The arguments of the command line, each checked as it is parsed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from bench.cells import TEMPERATURES, TRAINING_KERNEL, Plan
from bench.errors import InputError
from bench.locate import PATTERNS, Inquiry
from bench.peers import Contest
from bench.workloads.models import PRUNINGS, Recipe
from bench.workloads.networks import NETWORKS
from kernels.base import PASSES


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see '{self.prog} --help')")


def parser() -> argparse.ArgumentParser:
    """Return the parser; ``command`` of what it parses names the command, as a user types it."""
    root = _Parser(
        prog="crossover",
        description="From which sparsity does a sparse kernel beat the dense one on this machine?",
        epilog="Without a command: run. Exit codes: 0 fine, 2 bad usage or input or nothing "
        "measured, 3 a kernel computed a wrong result.",
    )
    commands = root.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    _add_run(commands)
    _add_crossover(commands)
    _add_peers(commands)
    report = commands.add_parser("report", help="write the report of what was measured again")
    report.add_argument("--run", dest="run_id", metavar="ID", help="a run (default: the last)")
    _add_output(report)
    report.set_defaults(command="report")
    for name, text in (
        ("machine", "what this machine is, and its measured ceilings"),
        ("doctor", "what makes it a poor place to measure, and how to mend it"),
        ("selfcheck", "whether measurements here can be trusted (six minutes)"),
    ):
        looking = commands.add_parser(name, help=text)
        looking.add_argument("--json", action="store_true", help="print JSON")
        looking.add_argument("--quiet", action="store_true", help="no progress, no remarks")
        looking.set_defaults(command=name)
    _add_kernels(commands)
    _add_models(commands)
    return root


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="measure real layers, and end in a report",
        description="Measure which kernel is fastest for each layer at each sparsity.",
        epilog="example: crossover run --model lenet-5 --sparsity 0.8 0.9 --batch 1 64",
    )
    default = Plan()
    run.add_argument(
        "--model",
        nargs="+",
        action=_Flat,
        default=default.models,
        metavar="NAME",
        help=f"networks: {', '.join(NETWORKS)} (default: %(default)s)",
    )
    run.add_argument(
        "--sparsity",
        nargs="+",
        action=_Flat,
        convert=_share,
        default=default.sparsities,
        metavar="S",
        help="of the whole network, as 0.9 or 90%% (default: %(default)s)",
    )
    run.add_argument(
        "--batch",
        nargs="+",
        action=_Flat,
        convert=_whole,
        default=default.batches,
        metavar="N",
        help="images at a time (default: %(default)s)",
    )
    run.add_argument(
        "--passes",
        nargs="+",
        action=_Flat,
        convert=_pass,
        default=default.passes,
        metavar="PASS",
        help=f"of {', '.join(PASSES)} (default: all)",
    )
    run.add_argument(
        "--kernels",
        nargs="+",
        action=_Flat,
        default=default.kernels,
        metavar="NAME",
        help="see 'kernels list' (default: all)",
    )
    run.add_argument(
        "--threads",
        nargs="+",
        action=_Flat,
        convert=_whole,
        default=(),
        metavar="T",
        help="threads of every library (default: all cores)",
    )
    run.add_argument(
        "--caches",
        nargs="+",
        action=_Flat,
        convert=_temperature,
        default=default.caches,
        metavar="HOW",
        help="hot, cold (emptied before each call), or both (default: hot)",
    )
    run.add_argument(
        "--budget",
        type=_duration,
        default=default.budget_s,
        metavar="TIME",
        help="time for the measuring, as 90s or 5m (default: 75s)",
    )
    run.add_argument(
        "--time-limit",
        type=_duration,
        default=default.time_limit_s,
        metavar="TIME",
        help="after which a kernel counts as hanging (default: 60s)",
    )
    run.add_argument("--again", action="store_true", help="measure again what was measured before")
    _add_recipe(run)
    _add_kernel_module(run)
    _add_output(run)
    run.set_defaults(command="run")


def _add_crossover(commands: Any) -> None:
    locate = commands.add_parser(
        "crossover",
        help="search where a kernel begins to beat the dense one",
        description="Search the sparsity from which a kernel is faster, per layer, batch and pass.",
        epilog="example: crossover crossover --layer fc1 --batch 64 --kernels numba-csr",
    )
    default = Inquiry()
    many: dict[str, Any] = {"nargs": "+", "action": _Flat}
    locate.add_argument(
        "--model",
        default=default.model,
        metavar="NAME",
        help=f"of {', '.join(NETWORKS)} (default: %(default)s)",
    )
    locate.add_argument("--layer", **many, default=(), metavar="NAME", help="default: all")
    locate.add_argument(
        "--batch",
        **many,
        convert=_whole,
        default=default.batches,
        metavar="N",
        help="images at a time (default: %(default)s)",
    )
    locate.add_argument(
        "--passes",
        **many,
        convert=_pass,
        default=default.passes,
        metavar="PASS",
        help=f"of {', '.join(PASSES)} (default: forward)",
    )
    locate.add_argument(
        "--kernels",
        **many,
        default=(),
        metavar="NAME",
        help="default: all sparse ones that run here",
    )
    locate.add_argument(
        "--against",
        default="",
        metavar="NAME",
        help="a kernel (default: the fastest dense one of the same device)",
    )
    locate.add_argument(
        "--threads",
        **many,
        convert=_whole,
        default=(),
        metavar="T",
        help="threads of every library (default: all cores)",
    )
    locate.add_argument(
        "--pattern",
        choices=PATTERNS,
        default=default.pattern,
        help="which weights stay (default: the largest trained ones)",
    )
    locate.add_argument(
        "--activations",
        dest="zeros",
        **many,
        convert=_zeros,
        default=default.zeros,
        metavar="ZEROS",
        help="real, dense, or a share of zeros in X and dY, as 0.9 or 90%% (default: real)",
    )
    locate.add_argument(
        "--confidence",
        type=_number,
        default=default.confidence,
        metavar="P",
        help="of the range (default: %(default)s)",
    )
    locate.add_argument(
        "--width",
        type=_number,
        default=default.width,
        metavar="S",
        help="at which a range is narrow enough (default: %(default)s)",
    )
    locate.add_argument(
        "--budget",
        type=_duration,
        default=default.budget_s,
        metavar="TIME",
        help="time for the measuring, spent where answers are widest (default: 120s)",
    )
    locate.add_argument("--seed", type=_whole, default=0, help="default: %(default)s")
    _add_kernel_module(locate)
    locate.add_argument("--json", action="store_true", help="print JSON, every probe in it")
    locate.add_argument("--quiet", action="store_true", help="no progress bar")
    locate.set_defaults(command="crossover")


def _add_peers(commands: Any) -> None:
    contest = commands.add_parser(
        "peers",
        help="ours against SciPy, MKL and PyTorch",
        description="Measure our CPU kernels against every peer that is installed, interleaved.",
        epilog="example: crossover peers --squares 256 1024 --batch 64 256 --passes forward",
    )
    default = Contest()
    many: dict[str, Any] = {"nargs": "+", "action": _Flat}
    contest.add_argument("--kernels", **many, default=default.kernels, metavar="NAME", help="ours")
    contest.add_argument(
        "--model",
        **many,
        none=True,
        default=default.models,
        metavar="NAME",
        help="networks whose layers, or 'none'",
    )
    contest.add_argument(
        "--sparsity",
        **many,
        convert=_share,
        default=default.sparsities,
        metavar="S",
        help="of them",
    )
    contest.add_argument(
        "--squares",
        **many,
        convert=_whole,
        none=True,
        default=default.squares,
        metavar="SIDE",
        help="sides of square matrices with random patterns, or 'none'",
    )
    contest.add_argument("--dlmc", type=Path, metavar="DIR", help="a folder with .smtx files")
    contest.add_argument(
        "--batch", **many, convert=_whole, default=default.batches, metavar="N", help="columns of X"
    )
    contest.add_argument(
        "--passes", **many, convert=_pass, default=default.passes, metavar="PASS", help="of X"
    )
    contest.add_argument("--threads", type=_whole, default=0, help="default: all cores")
    contest.add_argument(
        "--budget", type=_duration, default=default.budget_s, metavar="TIME", help="default: 10m"
    )
    contest.add_argument("--seed", type=_whole, default=0, help="default: %(default)s")
    contest.add_argument("--json", action="store_true", help="print JSON, every problem in it")
    contest.add_argument("--quiet", action="store_true", help="no progress, no remarks")
    contest.set_defaults(command="peers")


def _add_kernels(commands: Any) -> None:
    kernels = commands.add_parser("kernels", help="the kernels there are")
    listed = kernels.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    lister = listed.add_parser("list", help="name, device, format, passes, availability")
    _add_kernel_module(lister)
    lister.add_argument("--json", action="store_true", help="print JSON")
    lister.set_defaults(command="kernels list")


def _add_models(commands: Any) -> None:
    group = commands.add_parser("models", help="the networks, and training them")
    actions = group.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    lister = actions.add_parser("list", help="the networks and what is trained of them")
    lister.add_argument("--json", action="store_true", help="print JSON")
    lister.set_defaults(command="models list")
    for name, text in (("train", "train and prune it"), ("show", "a trained one's layers")):
        parser = actions.add_parser(
            name, help=text, epilog=f"example: crossover models {name} lenet-5 --sparsity 0.9"
        )
        parser.add_argument("name", metavar="NAME", help=", ".join(NETWORKS))
        parser.add_argument(
            "--sparsity",
            nargs="+",
            action=_Flat,
            convert=_share,
            default=(0.0,),
            metavar="S",
            help="0.9 or 90%% (default: dense)",
        )
        parser.add_argument(
            "--kernel",
            default=TRAINING_KERNEL,
            metavar="NAME",
            help="the kernel to train with (default: %(default)s)",
        )
        _add_recipe(parser)
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument("--quiet", action="store_true", help="no progress bar")
        parser.set_defaults(command=f"models {name}")


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prune", choices=PRUNINGS, default="gradual", help="how to prune (default: %(default)s)"
    )
    parser.add_argument(
        "--scope",
        choices=("global", "layer"),
        default="global",
        help="over all layers, or each alone (default: %(default)s)",
    )
    parser.add_argument("--seed", type=_whole, default=0, help="default: %(default)s")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="IDX files of MNIST's form (default: the embedded MNIST)",
    )


def _add_kernel_module(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kernel-module",
        action="append",
        default=[],
        metavar="MODULE",
        help="an importable module with kernels of your own",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder of the results (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress, no remarks")


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


def _share(text: str) -> float:
    """Return a share given as 0.9 or 90%."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise InputError(f"sparsity {text!r} is not a number: give 0.9 or 90%") from None
    Recipe("", "", value)
    return value


def _zeros(text: str) -> float | None:
    """Return a share of zeros, or None for the real ones."""
    return {"real": None, "dense": 0.0}[text] if text in ("real", "dense") else _share(text)


def _whole(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise InputError(f"{text!r} is not a whole number of at least 0")
    return value


def _pass(text: str) -> str:
    if text not in PASSES:
        raise InputError(f"unknown pass {text!r}: choose from {', '.join(PASSES)}")
    return text


def _temperature(text: str) -> str:
    if text not in TEMPERATURES:
        raise InputError(f"unknown state of the caches {text!r}: hot, cold, or both")
    return text


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{text!r} is not a number: give 0.95, say") from None


def _duration(text: str) -> float:
    """Return the seconds of 90, 90s, 5m or 1h."""
    factor = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:], 0.0)
    try:
        value = float(text[:-1]) * factor if factor else float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise InputError(f"time {text!r} is not a duration above 0: give 90s, 5m or 1h")
    return value
