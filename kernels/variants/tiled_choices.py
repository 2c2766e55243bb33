"""What ``numba-tiled`` chooses by itself, fixed one way each: blocks, packing, groups, threads.

``crossover regret`` races them against its choice, and ``kernels explain`` times them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numba

from ..base import Problem
from ..cpu.numba_tiled import NumbaTiled
from ..cpu.simd.vectors import FOUR_VECTORS, LANES
from ..cpu.tiled_layouts import PACKED_COLUMNS, Choices

#: Columns of a block; 0 for all.
_COLUMNS = 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 0


class ChoiceVariant(NumbaTiled):
    """``numba-tiled`` with one choice made."""

    variants = ""
    columns: ClassVar[int | None] = None
    packed: ClassVar[bool | None] = None
    fours: ClassVar[bool | None] = None
    #: Loads from which on threads are woken.
    serial_loads: ClassVar[int | None] = None

    def choices(self) -> Choices:
        usual = super().choices()
        loads = usual.serial_loads if self.serial_loads is None else self.serial_loads
        fixed = replace(usual, serial_loads=loads, fours=self.fours)
        if self.columns is not None:
            fixed = replace(fixed, columns=self.columns, packed=self.packed)
        return fixed

    def unsupported(self, problem: Problem) -> str | None:
        across = problem.m if problem.pass_ == "backward_input" else problem.k
        if self.columns and self.columns >= across:
            return f"{self.name} cuts more than {self.columns} columns into blocks, not {across}."
        if self.packed and problem.n <= PACKED_COLUMNS:
            return f"{self.name} packs batches beyond {PACKED_COLUMNS}, not {problem.n}."
        if self.fours is not None and (problem.n <= 2 * LANES or not FOUR_VECTORS):
            return f"{self.name} puts rows together for wide batches, on AVX-512."
        if self.fours is not None and problem.pass_ == "backward_weight":
            return f"{self.name} is for products: the weight gradient takes pairs."
        if self.serial_loads == 0 and numba.get_num_threads() == 1:
            return f"{self.name} wakes threads, and there is one."
        return super().unsupported(problem)


def _variants() -> Iterator[type[ChoiceVariant]]:
    """Yield the kernels."""
    for columns in _COLUMNS:
        for packed in (False, True):
            name = f"{columns or 'all'}-columns{'-packed' if packed else ''}"
            says = f"blocks of {columns or 'all'} columns{', packed' if packed else ''}"
            yield _variant(name, says, columns=columns, packed=packed)
    yield _variant("pairs", "rows in pairs", fours=False)
    yield _variant("fours", "rows in fours", fours=True)
    yield _variant("one-thread", "on one thread", serial_loads=sys.maxsize)
    yield _variant("all-threads", "on all threads", serial_loads=0)


def _variant(name: str, says: str, **fixed: object) -> type[ChoiceVariant]:
    declared = {"name": f"numba-tiled-{name}", "title": f"Numba CSR in registers, {says}", **fixed}
    return type("ChoiceVariant", (ChoiceVariant,), declared | {"__module__": __name__})


globals().update({each.name: each for each in _variants()})
