"""Values of options: read from what was typed, and shown as one would type them."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import inf, isfinite
from typing import Any

from crossover.bench.errors import InputError
from crossover.bench.workloads.problem import CACHES, Caches
from crossover.kernels.base import PASSES, Pass

# A dense weight of so many entries, its mask and a copy take 4 GB.
_MOST_WEIGHTS = 1 << 28


def share(text: str) -> float:
    """Return a share given as 0.9 or 90%."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise InputError(f"{text!r} is not a number: give 0.9 or 90%") from None
    if not 0 <= value < 1:
        raise InputError(f"{text!r} is outside [0, 1): give the share of zeros, as 0.9 or 90%")
    return value


def zeros(text: str) -> float | None:
    """Return a share of zeros, or None for the real ones."""
    if text in ("real", "dense"):
        return None if text == "real" else 0.0
    try:
        return share(text)
    except InputError as error:
        raise InputError(f"{error}, or real, or dense") from None


def shape(text: str) -> tuple[int, int]:
    """Return (m, k) of a shape given as 300x784."""
    # Sides of more digits than that are refused with the others, before they are multiplied.
    sides = re.fullmatch(r"([0-9]{1,18})[x×]([0-9]{1,18})", text.lower())
    m, k = (int(sides[1]), int(sides[2])) if sides else (0, 0)
    if not m * k:
        raise InputError(f"{text!r} is not a shape: give outputs x inputs, as 300x784")
    if m * k > _MOST_WEIGHTS:
        raise InputError(f"{text!r} has more than {_MOST_WEIGHTS:,} weights: give a smaller shape")
    return m, k


def non_negative_int(text: str) -> int:
    """Return a whole number of at least 0."""
    return _int(text, 0)


def positive_int(text: str) -> int:
    """Return a whole number of at least 1."""
    return _int(text, 1)


def _int(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < least:
        raise InputError(f"{text!r} is not a whole number of at least {least}: give {least}, say")
    return value


def number(text: str) -> float:
    """Return a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = inf
    if not isfinite(value):
        raise InputError(f"{text!r} is not a finite number: give 0.95, say")
    return value


def duration(text: str) -> float:
    """Return the seconds of 90, 90s, 5m or 1h."""
    factor = _SECONDS.get(text[-1:])
    try:
        value = float(text[:-1]) * factor if factor else float(text)
    except ValueError:
        value = inf
    if not 0 < value < inf:
        raise InputError(f"{text!r} is not a duration above 0: give 90s, 5m or 1h")
    return value


def one_pass(text: str) -> Pass:
    """Return the name of a pass."""
    for name in PASSES:
        if name == text:
            return name
    raise InputError(f"{text!r} is not a pass: choose from {', '.join(PASSES)}")


def caches(text: str) -> Caches:
    """Return the state of the caches: hot or cold."""
    for name in CACHES:
        if name == text:
            return name
    raise InputError(f"{text!r} is not a state of the caches: give hot, cold, or hot cold for both")


_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def _typed_duration(seconds: float) -> str:
    unit = next(unit for unit, each in _SECONDS.items() if each == 1 or seconds % each == 0)
    return f"{seconds / _SECONDS[unit]:.12g}{unit}"


def _typed_plain(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


# How a value is typed, for the defaults of --help, where that is not how Python writes it.
_TYPED: dict[Callable[[str], Any], Callable[[Any], str]] = {
    duration: _typed_duration,
    shape: lambda sides: "{}x{}".format(*sides),
    zeros: lambda value: "real" if value is None else f"{value:.12g}" if value else "dense",
}


def typed(convert: Callable[[str], Any], value: Any) -> str:
    """Return ``value`` as one would type it for ``convert`` to read."""
    return _TYPED.get(convert, _typed_plain)(value)
