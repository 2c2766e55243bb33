"""What ends a command early: bad input, in a line and with exit code 2, and the user."""

from __future__ import annotations

from typing import Any


class InputError(Exception):
    """Raised for bad usage or input; the message names the value, the rule and the fix."""


class Interrupted(KeyboardInterrupt):
    """Raised when the user stops a measurement that had something to show: what was ``found``."""

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found = found
