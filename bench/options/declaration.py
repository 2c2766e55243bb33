"""Options from one declaration: a field of a frozen dataclass is also its option.

A study's spec says each of its fields once, with the option's name, how its text is read, and its
help; the parser and the instance follow from that::

    @dataclass(frozen=True)
    class SweepSpec:
        sparsities: tuple[float, ...] = option(
            (0.8, 0.9), "--sparsity", metavar="S", convert=share, help="as 0.9 or 90%%"
        )

    add_options(parser, SweepSpec)
    spec = from_options(SweepSpec, parser.parse_args())
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, cast, overload

from crossover.bench.errors import InputError
from crossover.bench.options.values import typed

T = TypeVar("T")
_KEY = "option"


@dataclass(frozen=True)
class _Option:
    names: tuple[str, ...]
    help: str
    metavar: str | None
    convert: Callable[[str], Any]
    choices: tuple[Any, ...]
    none: bool
    shown: str | None

    def read(self, text: str) -> Any:
        """Return the value that ``text`` stands for."""
        if not self.choices:
            return self.convert(text)
        for choice in self.choices:
            if str(choice) == text:
                return choice
        raise InputError(f"{text!r} is unknown: choose from {', '.join(map(str, self.choices))}")

    @property
    def shown_value(self) -> str | None:
        """Return what stands for the value in ``--help``; None for the field's name."""
        listed = f"{{{','.join(map(str, self.choices))}}}" if self.choices else None
        return self.metavar or listed

    def described(self, default: Any) -> str:
        """Return the help text, with the default as one would type it."""
        values = default if isinstance(default, tuple) else (default,)
        shown = self.shown or " ".join(typed(self.convert, value) for value in values)
        if not shown:
            return self.help
        shown = f"default: {shown.replace('%', '%%')}"
        return f"{self.help} ({shown})" if self.help else shown


@overload
def option(
    default: tuple[T, ...],
    *names: str,
    help: str = ...,
    metavar: str | None = ...,
    convert: Callable[[str], T] = ...,
    choices: Sequence[T] = ...,
    none: bool = ...,
    shown: str | None = ...,
) -> tuple[T, ...]: ...


@overload
def option(
    default: T,
    *names: str,
    help: str = ...,
    metavar: str | None = ...,
    convert: Callable[[str], T] = ...,
    choices: Sequence[T] = ...,
    shown: str | None = ...,
) -> T: ...


def option(
    default: Any,
    *names: str,
    help: str = "",  # noqa: A002 (as in argparse)
    metavar: str | None = None,
    convert: Callable[[str], Any] = str,
    choices: Sequence[Any] = (),
    none: bool = False,
    shown: str | None = None,
) -> Any:
    """Return a dataclass field that is also the option ``names`` of the command line.

    A default that is a tuple takes several values, with spaces or commas between them or by
    repeating the option; one that is a bool takes no value, and the option inverts it.

    Args:
        default: the field's default; ``--help`` shows it as one would type it.
        names: of the option, each with its dashes.
        help: what the option is for, a percent sign in it doubled, as argparse wants it.
        metavar: what stands for the value in ``--help``.
        convert: reads one value, and raises InputError with the value, the rule and the fix.
        choices: the only values there are, instead of ``convert``.
        none: whether the word ``none`` means no value at all, where several are taken.
        shown: what ``--help`` shows as the default where the field's own says little: "all".
    """
    given = _Option(names, help, metavar, convert, tuple(choices), none, shown)
    return field(default=default, metadata={_KEY: given})


def add_options(parser: argparse.ArgumentParser, spec: type[Any]) -> None:
    """Add the options of the dataclass ``spec`` to ``parser``, in the order of its fields."""
    for each in fields(spec):
        declared: _Option | None = each.metadata.get(_KEY)
        if declared is None:
            continue
        options: dict[str, Any] = {"action": _Converted, "option": declared}
        if isinstance(each.default, bool):
            options = {"action": "store_const", "const": not each.default, "help": declared.help}
        else:
            options["nargs"] = "+" if isinstance(each.default, tuple) else None
            options["metavar"] = declared.shown_value
            options["help"] = declared.described(each.default)
        parser.add_argument(*declared.names, dest=each.name, default=each.default, **options)


def from_options(spec: type[T], namespace: argparse.Namespace, **extra: Any) -> T:
    """Return the instance of ``spec`` that was asked for; ``extra`` are its other fields."""
    named = [each.name for each in fields(cast(Any, spec)) if _KEY in each.metadata]
    return spec(**{name: getattr(namespace, name) for name in named}, **extra)


class _Converted(argparse.Action):
    """Reads each value, and names the option where one is refused."""

    def __init__(self, *arguments: Any, option: _Option, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.option = option

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        try:
            if self.nargs is None:
                value = self.option.read(values)
            else:
                value = self._several(getattr(namespace, self.dest), values)
        except InputError as error:
            raise InputError(f"{option} {error}") from None
        setattr(namespace, self.dest, value)

    def _several(self, before: tuple[Any, ...], texts: Sequence[str]) -> tuple[Any, ...]:
        parts = [part for text in texts for part in text.split(",") if part]
        if not parts:
            raise InputError("has no value: give one or more")
        if self.option.none and parts == ["none"]:
            return ()
        # Given again, it adds to what was given, never to the default.
        kept = () if before is self.default else before
        return tuple(dict.fromkeys((*kept, *map(self.option.read, parts))))
