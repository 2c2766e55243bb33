"""The worker of one version: it times that version's kernels, a sample at a time, as it is asked.

``python -m crossover.bench.gate.worker`` in a source tree; see :mod:`.protocol`. Where an operand
lies in memory is worth a percent to a kernel, so each round places all of them anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from crossover.bench import machine
from crossover.bench.gate import preset
from crossover.bench.gate.preset import Cell
from crossover.bench.gate.protocol import PROTOCOL
from crossover.bench.timing import Competitor, HostClock, calibrate, sample
from crossover.bench.worker import end_with
from crossover.kernels import discover
from crossover.kernels.base import Array, Kernel, Weight
from crossover.kernels.oracle import Oracle
from crossover.kernels.processor import aligned, aligned_empty

# Each placement is shifted by up to so many bytes: 64 pages.
_MOST_SHIFT = 1 << 18


class Placed:
    """A cell with operands somewhere in memory."""

    def __init__(self, cell: Cell, kernel: Kernel) -> None:
        self.cell, self.kernel = cell, kernel
        self.weight, self.x, self.dy, self.oracle = _drawn(cell.problem)
        self.prepare_s = 0.0
        self._room: Any = None

    @property
    def somewhere(self) -> bool:
        """Return whether it was placed yet."""
        return self._room is not None

    def place(self, seed: int) -> None:
        """Convert W anew, and copy X, dY and the room for the result, to places of their own.

        What was there before is freed only afterwards, so that it cannot be the same place.
        """
        shift = int(np.random.default_rng(seed).integers(_MOST_SHIFT))
        room = np.empty(shift, np.uint8)
        room[:: 1 << 12] = 0
        begin = time.perf_counter()
        operand = self.kernel.prepare(self.weight)
        self.prepare_s = time.perf_counter() - begin
        x, dy = (self.kernel.put(aligned(each)) for each in (self.x, self.dy))
        shape = self.kernel.output_shape(
            operand, self.cell.pass_, self.weight.shape, self.cell.batch
        )
        host = aligned_empty(shape, np.float32)
        host.fill(np.nan)
        out = self.kernel.put(host)
        self.operand, self._room = operand, room

        def call() -> Any:
            return self.kernel.run(self.cell.pass_, operand, x, dy, out)

        self.competitor = Competitor(call, HostClock(), self._doubt)

    def seconds_to_result(self, seed: int) -> float:
        """Return the seconds of a conversion and a call, placed anew."""
        self.place(seed)
        begin = time.perf_counter()
        self.competitor.call()
        return self.prepare_s + time.perf_counter() - begin

    def dense_result(self) -> Any:
        """Return the result of a call on the host, a gradient as (m, k)."""
        result = self.competitor.call()
        if self.cell.pass_ == "backward_weight":
            return self.kernel.dense_gradient(self.operand, result)
        return self.kernel.fetch(result)

    def _doubt(self, result: Any) -> str | None:
        total = float(self.kernel.local(result).sum())
        return None if np.isfinite(total) else "a result had a NaN or infinity while it was timed"


class Bench:
    """What the requests do, one method each; an answer is a dictionary."""

    def __init__(self) -> None:
        self.kernels = discover()
        self._placed: dict[str, Placed] = {}

    def hello(self) -> dict[str, Any]:
        """Return who this is, and its cells and crossovers by name."""
        return {
            "protocol": PROTOCOL,
            "preset": preset.CI,
            "versions": machine.versions(),
            "threads": machine.available_cores(),
            "cells": [asdict(each) for each in preset.cells(self.kernels)],
            "crossovers": [asdict(each) for each in preset.crossings(self.kernels)],
        }

    def check(self, cell: dict[str, Any], path: str) -> dict[str, Any]:
        """Check a cell by this version's own oracle; the result goes to ``path``, as .npy.

        ``compile_s`` is what the first conversion and call took longer than the second.
        """
        placed = self._drawn(cell)
        first_s, again_s = placed.seconds_to_result(0), placed.seconds_to_result(1)
        result = placed.dense_result()
        np.save(Path(path), np.asarray(result), allow_pickle=False)
        arithmetic = placed.kernel.arithmetic["float32"]
        verdict = placed.oracle.check(placed.cell.pass_, result, arithmetic)
        return {
            "problem": verdict.problem,
            "compile_s": max(0.0, first_s - again_s),
            "nbytes": int(placed.operand.nbytes),
            "inputs": _digest(placed.weight.values, placed.x, placed.dy),
        }

    def calibrate(self, cell: dict[str, Any]) -> dict[str, Any]:
        """Return how many calls a sample has."""
        placed = self._drawn(cell)
        placed.place(0)
        calibrate(placed.competitor)
        return {"loops": placed.competitor.loops}

    def turn(self, cell: dict[str, Any], loops: int, place: int | None) -> dict[str, Any]:
        """Return the seconds per call of a sample; ``place`` is a seed where places are new."""
        placed = self._drawn(cell)
        if place is not None or not placed.somewhere:
            placed.place(place or 0)
        placed.competitor.loops = loops
        sample(placed.competitor)
        return {
            "seconds": placed.competitor.samples[-1],
            "prepare_s": placed.prepare_s,
            "problem": placed.competitor.failure,
        }

    def _drawn(self, definition: dict[str, Any]) -> Placed:
        """Return the cell with its operands, drawn once."""
        key = json.dumps(definition, sort_keys=True)
        if key not in self._placed:
            cell = Cell(**definition)
            self._placed[key] = Placed(cell, self.kernels[cell.kernel])
        return self._placed[key]


@cache
def _drawn(problem: Cell) -> tuple[Weight, Array, Array, Oracle]:
    """Return the operands of a problem and their reference, which many cells share."""
    operands = problem.operands()
    return *operands, Oracle(*operands)


def _digest(*arrays: Any) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def main() -> int:
    """Answer requests until there are no more."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    bench = Bench()
    requests: dict[str, Callable[..., dict[str, Any]]] = {
        "hello": bench.hello,
        "check": bench.check,
        "calibrate": bench.calibrate,
        "turn": bench.turn,
    }
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = requests[request.pop("do")](**request)
        except Exception as error:  # whatever a kernel raises is an answer, too
            answer = {"error": f"raised {type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
