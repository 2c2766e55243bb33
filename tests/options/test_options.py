"""Options: a field's declaration is what the parser takes, what help shows, what is refused."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pytest

from crossover.bench.errors import InputError
from crossover.bench.options import values as options
from crossover.bench.options.declaration import add_options, from_options, option
from crossover.bench.options.parser import Parser
from crossover.bench.workloads.problem import Caches
from crossover.kernels.base import PASSES, Pass

Mode = Literal["gradual", "one-shot"]


@dataclass(frozen=True)
class Spec:
    title: str
    models: tuple[str, ...] = option(("lenet-5",), "--model", metavar="NAME", none=True)
    sparsities: tuple[float, ...] = option(
        (0.0, 0.9), "--sparsity", metavar="S", convert=options.share, help="as 0.9 or 90%%"
    )
    shapes: tuple[tuple[int, int], ...] = option(
        ((300, 784), (10, 20)), "--shapes", metavar="MxK", convert=options.shape, help="of W"
    )
    passes: tuple[Pass, ...] = option(PASSES, "--passes", convert=options.one_pass, shown="100%")
    caches: tuple[Caches, ...] = option(("hot",), "--caches", convert=options.caches)
    zeros: tuple[float | None, ...] = option((None, 0.0, 0.5), "--zeros", convert=options.zeros)
    modes: tuple[Mode, ...] = option((), "--modes", choices=("gradual", "one-shot"), help="how")
    mode: Mode = option("gradual", "--prune", choices=("gradual", "one-shot"), help="how")
    against: str | None = option(None, "--against", "-a", metavar="NAME", help="a kernel")
    data: Path | None = option(None, "--data", metavar="DIR", convert=Path, help="a folder")
    threads: int = option(0, "--threads", convert=options.non_negative_int, shown="all cores")
    batch: int = option(64, "--batch", convert=options.positive_int)
    width: float = option(0.02, "--width", convert=options.number, help="of a range")
    budget_s: float = option(75.0, "--budget", metavar="TIME", convert=options.duration)
    blocks: bool = option(False, "--blocks", help="in blocks")
    separate: bool = option(True, "--this-environment", help="run both here")
    internal: int = 7


def parser() -> Parser:
    root = Parser(prog="crossover")
    commands = root.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser("run", epilog="example: crossover run --model lenet-5")
    add_options(run, Spec)
    return root


def given(*arguments: str, **extra: Any) -> Spec:
    return from_options(Spec, parser().parse_args(["run", *arguments]), title="", **extra)


def refused(*arguments: str) -> str:
    with pytest.raises(InputError) as raised:
        parser().parse_args(arguments)
    (line,) = str(raised.value).splitlines()
    return line


def help_of_run(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["run", "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_nothing_given_is_the_spec_of_python() -> None:
    assert given() == Spec("")
    with pytest.raises(FrozenInstanceError):
        given().batch = 1  # type: ignore[misc]


def test_a_field_without_an_option_is_no_option() -> None:
    assert given(internal=8) == Spec("", internal=8)
    assert "'--internal'" in refused("run", "--internal", "8")


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        ("--sparsity 0.8 0.9", "sparsities", (0.8, 0.9)),
        ("--sparsity 0.8,0.9", "sparsities", (0.8, 0.9)),
        ("--sparsity 0.8, 90% 80%", "sparsities", (0.8, 0.9)),
        ("--sparsity 0.8 --sparsity=0.7", "sparsities", (0.8, 0.7)),
        ("--model a --model b", "models", ("a", "b")),
        ("--model none", "models", ()),
        ("--shapes 3x4 5X6 7×8", "shapes", ((3, 4), (5, 6), (7, 8))),
        ("--passes forward", "passes", ("forward",)),
        ("--caches hot,cold", "caches", ("hot", "cold")),
        ("--zeros real dense 90%", "zeros", (None, 0.0, 0.9)),
        ("--modes one-shot gradual", "modes", ("one-shot", "gradual")),
        ("--prune one-shot", "mode", "one-shot"),
        ("-a csr", "against", "csr"),
        ("--data a,b", "data", Path("a,b")),
        ("--threads 0", "threads", 0),
        ("--batch 1 --batch 2", "batch", 2),
        ("--width -0.5", "width", -0.5),
        ("--width -.5", "width", -0.5),
        ("--budget 90", "budget_s", 90.0),
        ("--budget 90s", "budget_s", 90.0),
        ("--budget 1.5m", "budget_s", 90.0),
        ("--budget 2h", "budget_s", 7200.0),
        ("--blocks", "blocks", True),
        ("--this-environment", "separate", False),
    ],
)
def test_what_is_given_is_in_the_spec(arguments: str, field: str, value: Any) -> None:
    assert given(*arguments.split()) == Spec("", **{field: value})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--sparsity 1.5", "--sparsity '1.5' is outside [0, 1): give the share of zeros, as 0.9 "
         "or 90%"),
        ("--sparsity 100%", "--sparsity '100%' is outside [0, 1)"),
        ("--sparsity nan", "--sparsity 'nan' is outside [0, 1)"),
        ("--sparsity -0.5 0.9", "--sparsity '-0.5' is outside [0, 1)"),
        ("--sparsity 0.9 much", "--sparsity 'much' is not a number: give 0.9 or 90%"),
        ("--sparsity", "--sparsity has no value: give one (see 'crossover run --help')"),
        ("--sparsity ,", "--sparsity has no value: give one or more"),
        ("--sparsity none", "--sparsity 'none' is not a number"),
        ("--budget -5s", "--budget '-5s' is not a duration above 0: give 90s, 5m or 1h"),
        ("--budget=-5s", "--budget '-5s' is not a duration above 0: give 90s, 5m or 1h"),
        ("--budget soon", "--budget 'soon' is not a duration above 0: give 90s, 5m or 1h"),
        ("--budget 0", "--budget '0' is not a duration above 0"),
        ("--budget -inf", "--budget '-inf' is not a duration above 0"),
        ("--budget 1e999h", "--budget '1e999h' is not a duration above 0"),
        ("--budget=", "--budget '' is not a duration above 0"),
        ("--budget s", "--budget 's' is not a duration above 0"),
        ("--budget", "--budget has no value: give one (see 'crossover run --help')"),
        ("--shapes 300", "--shapes '300' is not a shape: give outputs x inputs, as 300x784"),
        ("--shapes 0x5", "--shapes '0x5' is not a shape"),
        ("--shapes -3x5", "--shapes '-3x5' is not a shape"),
        ("--shapes 1x2x3", "--shapes '1x2x3' is not a shape"),
        ("--shapes 99999x99999", "--shapes '99999x99999' has more than 268,435,456 weights: give "
         "a smaller shape"),
        (f"--shapes {'9' * 5000}x1", "is not a shape"),
        ("--passes sideways", "--passes 'sideways' is not a pass: choose from forward, "),
        ("--caches both", "--caches 'both' is not a state of the caches: give hot, cold, or hot "
         "cold for both"),
        ("--zeros some", "--zeros 'some' is not a number: give 0.9 or 90%, or real, or dense"),
        ("--modes gradual magic", "--modes 'magic' is unknown: choose from gradual, one-shot"),
        ("--prune magic", "--prune 'magic' is unknown: choose from gradual, one-shot"),
        ("--threads -1", "--threads '-1' is not a whole number of at least 0: give 0, say"),
        ("--batch 0", "--batch '0' is not a whole number of at least 1: give 1, say"),
        ("--batch 1.5", "--batch '1.5' is not a whole number of at least 1"),
        (f"--batch {'9' * 5000}", "is not a whole number of at least 1"),
        ("--width wide", "--width 'wide' is not a finite number: give 0.95, say"),
        ("--width inf", "--width 'inf' is not a finite number"),
        ("--blocks=yes", "--blocks takes no value: leave out 'yes' (see 'crossover run --help')"),
        ("--sparsty 0.9", "unknown option '--sparsty': did you mean --sparsity? (see 'crossover "
         "run --help')"),
        ("--spars=0.9", "unknown option '--spars': did you mean --sparsity?"),
        ("-sparsity 0.9", "unknown option '-sparsity': did you mean --sparsity?"),
        ("--nothing-like-it", "unknown option '--nothing-like-it' (see 'crossover run --help')"),
        ("stray", "unexpected argument 'stray': put its option before it (see 'crossover run "
         "--help')"),
        ("--batch 1 2", "unexpected argument '2': put its option before it"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_with_value_rule_and_fix(arguments: str, says: str) -> None:
    assert says in refused("run", *arguments.split())


def test_a_line_break_in_what_was_typed_stays_in_the_line() -> None:
    for arguments in (["--budget", "1\n2"], ["--a\nb"], ["a\nb"], ["--prune", "a\nb"]):
        assert r"\n" in refused("run", *arguments)


def test_commands_are_refused_as_options_are() -> None:
    assert re.fullmatch(
        r"unknown command 'rum': choose from '?run'? \(see 'crossover --help'\)", refused("rum")
    )
    assert refused() == "missing: COMMAND (see 'crossover --help')"


@pytest.mark.parametrize("columns", ["80", "90", "300"])
def test_help_is_readable(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = help_of_run(capsys)
    assert max(map(len, text.splitlines())) <= min(100, int(columns))
    assert "\x1b" not in text
    words = " ".join(text.split())
    for says in (
        "as 0.9 or 90% (default: 0 0.9)",
        "of W (default: 300x784 10x20)",
        "default: 100%",
        "default: real dense 0.5",
        "{gradual,one-shot} how (default: gradual)",
        "a kernel --data DIR a folder --threads",
        "default: all cores",
        "of a range (default: 0.02)",
        "--budget TIME default: 75s",
        "in blocks --this-environment run both here example: crossover run --model lenet-5",
    ):
        assert says in words
    assert "internal" not in text


@pytest.mark.parametrize(
    ("seconds", "typed"),
    [(75.0, "75s"), (60.0, "1m"), (600.0, "10m"), (7200.0, "2h"), (0.5, "0.5s")],
)
def test_a_duration_is_shown_as_it_is_typed(seconds: float, typed: str) -> None:
    @dataclass(frozen=True)
    class Timed:
        budget_s: float = option(seconds, "--budget", convert=options.duration)

    one = Parser(prog="timed")
    add_options(one, Timed)
    assert f"default: {typed}\n" in one.format_help()
    assert options.duration(typed) == seconds


def test_the_defaults_help_shows_can_be_typed() -> None:
    # "all" and the like stand for a default that is typed by leaving the option out.
    for each in fields(Spec):
        declared = each.metadata.get("option")
        if declared is None or declared.shown or isinstance(each.default, bool):
            continue
        help_text = declared.described(each.default).replace("%%", "%")
        shown = re.search(r"default: ([^)]*)", help_text)
        if shown is None:
            assert each.default in ((), None)
            continue
        typed = shown[1].split()
        assert getattr(given(declared.names[0], *typed), each.name) == each.default
    assert MISSING not in [each.default for each in fields(Spec)[1:]]


def test_any_parser_takes_the_options() -> None:
    plain = argparse.ArgumentParser(prog="plain")
    add_options(plain, Spec)
    assert from_options(Spec, plain.parse_args(["--batch", "3"]), title="") == Spec("", batch=3)


@pytest.mark.parametrize(
    "convert",
    [options.share, options.shape, options.number, options.duration, options.positive_int,
     options.non_negative_int, options.one_pass, options.caches, options.zeros],
)  # fmt: skip
@pytest.mark.parametrize("text", ["", " ", "-", "%", "x", "--", "1_", "nan%", "0x", "é", "\udc80"])
def test_a_converter_refuses_with_the_value_and_never_otherwise(
    convert: Callable[[str], Any], text: str
) -> None:
    with pytest.raises(InputError) as raised:
        convert(text)
    assert repr(text) in str(raised.value)
