"""The one exception that ends in a line for the user and exit code 2."""

from __future__ import annotations


class InputError(Exception):
    """Raised for bad usage or input; the message names the value, the rule and the fix."""
