"""What ends a command early: bad input, in a line and with exit code 2."""


class InputError(Exception):
    """Raised for bad usage or input; the message names the value, the rule and the fix."""
