"""Libraries that may be missing: a kernel that needs one stays listed, with the reason."""

from __future__ import annotations

import importlib
from typing import Any


def missing(module: str, library: str, remedy: str) -> str | None:
    """Import ``module``; return why that fails, as a sentence, or None."""
    try:
        importlib.import_module(module)
    except Exception as error:  # an import can fail in the loader of any of its libraries
        return f"{library} cannot be imported ({first_line(error)}): {remedy}."
    return None


def first_line(error: Exception) -> str:
    """Return the first line of what ``error`` says, without a full stop; or its type."""
    return (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")


def torch() -> Any:
    """Return PyTorch, imported on the first call."""
    return importlib.import_module("torch")
