"""What ends a command early: bad input, in a line and with exit code 2."""

import re

_MOST_CHARACTERS = 400
# Controls (escape sequences of terminals begin with one), what turns the direction of writing
# around or cannot be seen, and halves of characters, which no file can hold.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufffe\uffff]+"
)


class InputError(Exception):
    """Raised for bad usage or input; the message names the value, the rule and the fix."""


def printable(text: str) -> str:
    """Return a foreign text, as that of an exception, as one line that every output can hold."""
    return " ".join(_UNPRINTABLE.sub(" ", text).split())


def one_line(text: str) -> str:
    """Return a foreign text as one printable line that somebody may still read."""
    line = printable(text)
    return line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 1]}…"
