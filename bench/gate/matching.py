"""Which cells two versions share, and whether both compute in them what they should."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crossover.bench.errors import InputError
from crossover.bench.gate.preset import Cell, Crossing
from crossover.bench.gate.protocol import PROTOCOL
from crossover.bench.gate.trio import ROLES, Role, Trio, TurnError
from crossover.bench.gate.verdicts import Finding
from crossover.kernels import discover
from crossover.kernels.base import FP32
from crossover.kernels.oracle import Oracle


@dataclass
class Shared:
    """What both versions can measure, and what only one can."""

    cells: list[Cell]
    #: Only head has these; they are checked, not compared.
    new: list[Cell]
    gone: list[Cell]
    crossings: list[Crossing]
    #: Crossovers that only one version has.
    other_crossings: list[Finding] = field(default_factory=list)


def match(hellos: Mapping[Role, Mapping[str, Any]]) -> Shared:
    """Return which cells can be compared: those whose definitions are the same."""
    base, head = ([Cell(**each) for each in hellos[r]["cells"]] for r in ("base", "head"))
    crossed = [
        [Crossing(Cell(**each["cell"]), each["against"]) for each in hellos[r]["crossovers"]]
        for r in ("base", "head")
    ]
    before, after = crossed
    other = [
        *(Finding("crossover", c.name, c.digest, "new") for c in after if c not in before),
        *(Finding("crossover", c.name, c.digest, "gone") for c in before if c not in after),
    ]
    return Shared(
        cells=[each for each in head if each in base],
        new=[each for each in head if each not in base],
        gone=[each for each in base if each not in head],
        crossings=[each for each in after if each in before],
        other_crossings=other,
    )


def greet(trio: Trio, titles: Mapping[Role, str]) -> dict[Role, dict[str, Any]]:
    """Return what the workers say they are.

    Raises:
        InputError: if a version has no benchmark for the gate, or speaks another protocol.
    """
    try:
        hellos = trio.hello()
    except TurnError as error:
        title = titles[error.role]
        if "No module named" in str(error) and "bench" in str(error):
            raise InputError(f"{title} has no benchmark for the gate: name a newer one") from error
        raise InputError(f"{title} cannot be measured ({error}): name another") from error
    for role, hello in hellos.items():
        if hello.get("protocol") != PROTOCOL:
            raise InputError(
                f"{titles[role]} speaks version {hello.get('protocol')} of the gate's protocol, "
                f"this gate {PROTOCOL}: name a revision with the same"
            )
    return hellos


@dataclass(frozen=True)
class Checked:
    """What a check of one cell on one role found."""

    compile_s: float
    nbytes: int
    inputs: str


class Checker:
    """Checks results on both sides: by their own oracles, and against the gate's own reference."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "result.npy"
        self._oracles: dict[Cell, Oracle] = {}
        self._kernels = discover()

    def check(self, trio: Trio, cell: Cell, roles: Sequence[Role] = ROLES) -> dict[Role, Checked]:
        """Return what each role said of ``cell``, if its result is right.

        A result within the bound of the gate's reference on both sides is within twice that of
        the other side's.

        Raises:
            TurnError: if a result is wrong, or there is none.
        """
        found: dict[Role, Checked] = {}
        for role in roles:
            answer = trio.ask(role, "check", cell, path=str(self._path))
            if problem := self._problem(cell):
                raise TurnError(role, problem)
            found[role] = Checked(answer["compile_s"], answer["nbytes"], answer["inputs"])
        return found

    def _problem(self, cell: Cell) -> str | None:
        """Return what the gate's own oracle says of the result that was written last."""
        if cell.problem not in self._oracles:
            self._oracles[cell.problem] = Oracle(*cell.operands())
        known = self._kernels.get(cell.kernel)
        arithmetic = known.arithmetic.get("float32", FP32) if known else FP32
        result = np.load(self._path, allow_pickle=False)
        return self._oracles[cell.problem].check(cell.pass_, result, arithmetic).problem
