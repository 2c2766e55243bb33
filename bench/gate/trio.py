"""Three workers: two of base, whose difference is the A/A control, and one of head.

All three live for a *generation*; only one of them computes at a time, for the gate asks one and
waits. A round is a palindrome of turns (base, head, control, control, head, base, say), each of the
six orders as often as the others, so that a drift of the machine falls on all alike.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crossover.bench.gate.preset import Cell
from crossover.bench.gate.protocol import WorkerError, WorkerProcess
from crossover.bench.worker import thread_environment

Role = Literal["base", "control", "head"]
ROLES: tuple[Role, ...] = ("base", "control", "head")
_ORDERS = list(permutations(range(3)))


@dataclass(frozen=True)
class Version:
    """A version of the code: where its source is, and the Python that runs it."""

    #: As the user named it, and the commit.
    title: str
    commit: str
    source: Path
    python: Path
    #: Numba keeps what it compiles of this version here.
    compiled: Path
    #: When it was committed, ISO 8601.
    committed_at: str = ""


class TurnError(Exception):
    """Raised when the worker of a role could not measure a cell; ``wrong`` where its result is."""

    def __init__(self, role: Role, reason: str) -> None:
        super().__init__(reason)
        self.role: Role = role


class Trio:
    """The workers of one generation; a context manager that starts and ends them."""

    def __init__(
        self, base: Version, head: Version, threads: int, rng: np.random.Generator
    ) -> None:
        self._versions: Mapping[Role, Version] = {"base": base, "control": base, "head": head}
        self._threads = threads
        self._rng = rng
        self._orders: list[tuple[int, ...]] = []
        self._workers: dict[Role, WorkerProcess] = {}

    def __enter__(self) -> Trio:
        try:
            for role in ROLES:
                self._start(role)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers.values():
            worker.close()

    def hello(self) -> dict[Role, dict[str, Any]]:
        """Return what each worker is; all have loaded their kernels then.

        Raises:
            TurnError: if one does not answer.
        """
        return {role: self._ask(role, lambda worker: worker.hello()) for role in ROLES}

    def ask(self, role: Role, do: str, cell: Cell, **request: Any) -> dict[str, Any]:
        """Return what the worker of ``role`` answers on ``cell``.

        Raises:
            TurnError: if it cannot, or its result is wrong; a worker that was lost is replaced.
        """
        answer = self._ask(role, lambda worker: worker.ask(do, cell=asdict(cell), **request))
        if problem := answer.get("problem"):
            raise TurnError(role, problem)
        return answer

    def time(self, cell: Cell, loops: int) -> tuple[list[float], list[float]]:
        """Return each role's log of seconds per call, and of seconds of a conversion: a round.

        Raises:
            TurnError: if a worker could not.
        """
        order = self._order()
        seconds: list[list[float]] = [[], [], []]
        prepare = [0.0, 0.0, 0.0]
        for position, index in enumerate((*order, *reversed(order))):
            place = self._seed() if position < len(order) else None
            answer = self.ask(ROLES[index], "turn", cell, loops=loops, place=place)
            seconds[index].append(answer["seconds"])
            prepare[index] = answer["prepare_s"]
        return [float(np.mean(np.log(each))) for each in seconds], list(np.log(prepare))

    def speedups(
        self, cells: Sequence[Cell], dense: Cell, loops: Callable[[Cell], int]
    ) -> list[list[float]]:
        """Return each role's log of the speedup of each of ``cells`` over ``dense``: a round.

        Each role's turns follow each other, the dense one first and last; every second round has
        them backwards.
        """
        found: list[list[float]] = [[], [], []]
        for index in self._order():
            log: dict[Cell, list[float]] = {}
            turns = (dense, *cells, dense)
            for cell in turns[:: int(self._rng.choice((-1, 1)))]:
                place = None if cell in log else self._seed()
                answer = self.ask(ROLES[index], "turn", cell, loops=loops(cell), place=place)
                log.setdefault(cell, []).append(float(np.log(answer["seconds"])))
            against = float(np.mean(log[dense]))
            found[index] = [against - log[cell][0] for cell in cells]
        return found

    def _order(self) -> tuple[int, ...]:
        if not self._orders:
            self._orders = [_ORDERS[i] for i in self._rng.permutation(len(_ORDERS))]
        return self._orders.pop()

    def _seed(self) -> int:
        return int(self._rng.integers(1 << 31))

    def _ask(
        self, role: Role, question: Callable[[WorkerProcess], dict[str, Any]]
    ) -> dict[str, Any]:
        try:
            return question(self._workers[role])
        except WorkerError as error:
            if not self._workers[role].alive:
                self._workers[role].close()
                self._start(role)
            raise TurnError(role, str(error)) from error

    def _start(self, role: Role) -> None:
        version = self._versions[role]
        environment = {
            **os.environ,
            **thread_environment(self._threads),
            # Both versions with the shapes that a model predicts, not one with a lucky choice.
            "CROSSOVER_TUNING": "model",
            "NUMBA_CACHE_DIR": str(version.compiled),
        }
        self._workers[role] = WorkerProcess(version.python, version.source, environment)
