"""What a check of a GPU found beside the times, kept in a file of its own."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from crossover.bench.whole_files import write_whole

CHECKS_NAME = "checks.json"


@dataclass
class Checks:
    """What was found beside the times; kept in ``checks.json``."""

    run_id: str
    #: Of the operands of the examinations: fresh in each run.
    seed: int
    #: Per kernel, why it cannot run here.
    absent: dict[str, str] = field(default_factory=dict)
    #: By shape, then kernel: status, reason and remarks.
    examined: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    #: By kernel.
    trained: dict[str, dict[str, Any]] = field(default_factory=dict)
    conversions: list[dict[str, Any]] = field(default_factory=list)
    #: What there was no time for: stage or tier, then titles.
    left_out: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def wrong(self) -> list[tuple[str, str, str]]:
        """Return (where, kernel, reason) of what computed a wrong result, or broke."""
        parts = [*self.examined.items(), ("training", self.trained)]
        inexact = [
            ("conversions", each["name"], "the round trip is not exact")
            for each in self.conversions
            if not each["exact"]
        ]
        return inexact + [
            (where, name, found["reason"])
            for where, part in parts
            for name, found in part.items()
            if found["status"] in ("wrong", "failed")
        ]


def resumed(folder: Path, run_id: str) -> Checks:
    """Return the checks in ``folder`` if they are of this run, or new ones."""
    try:
        found = Checks(**json.loads((folder / CHECKS_NAME).read_text()))
        if found.run_id == run_id:
            return found
    except (OSError, ValueError, TypeError):  # none, or half of one, or of another version
        pass
    return Checks(run_id, int.from_bytes(os.urandom(4), "big"))


def save(folder: Path, checks: Checks) -> None:
    """Write ``checks`` into ``folder``, whole or not at all."""
    write_whole(folder / CHECKS_NAME, json.dumps(asdict(checks), indent=1))
