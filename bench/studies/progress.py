"""What long work tells whoever shows it: how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows: a phase (``train`` or ``measure``), and how much is done."""

    phase: str
    title: str
    done: float
    total: float


Report = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Show nothing."""
