"""Text that others wrote (exceptions, names, titles), made plain for each kind of output.

What a kernel raises or calls itself must not be able to end a cell, a line or an element, to make
a link or call somebody, to move a cursor, or to give a CI a command.
"""

from __future__ import annotations

import re

from crossover.bench.errors import printable

# GitHub's runner takes a line for a command whose first word begins with two colons, wherever a
# table breaks it, and one with "##[" anywhere in it.
_COMMANDS = (("::", ": :"), ("##[", "## ["))
# Characters that Markdown gives a meaning within a line; an underscore has one beside a word only.
_MEANT = re.compile(r"[\\`*~$|]|(?<!\w)_|_(?!\w)|(?<=\])\(")
# What GitHub makes a link or a mention of, whatever is escaped: nothing is left but to part it.
_LINKED = re.compile(r"(?<=@)(?=\w)|(?<=#)(?=\d)|(?<=:)(?=//)|(?<=www)(?=\.)", re.IGNORECASE)
_NO_SPACE = "\u200b"


def markdown_text(text: str) -> str:
    """Return ``text`` as a line of GitHub's Markdown that shows it, in a cell or outside."""
    plain = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LINKED.sub(_NO_SPACE, _MEANT.sub(r"\\\g<0>", plain))


def terminal_text(text: str) -> str:
    """Return ``text`` as a line for a terminal, or for the log of a CI."""
    line = printable(text)
    for command, harmless in _COMMANDS:
        line = line.replace(command, harmless)
    return line
