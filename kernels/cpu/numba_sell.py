"""Sliced ELLPACK for one image at a time: a vector holds one entry of each of its lanes' rows.

Technique: SELL-C-σ (Kreutzer et al. 2014), sliced along the columns as well. The columns of W are
cut into groups small enough for their part of x to lie in two vector registers, where AVX-512
looks 16 factors up at once; a load each, which bounds CSR, is not needed. Rows are sorted by their
length, so that neighbours need about as many steps. A step that too few lanes would fill is not
taken: its entries are left over, and added one by one, in an order that keeps a row's apart.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ..base import ONLY_FP32, Array, Choice, ForwardOnly, Look, Pass, Problem, Weight
from ..processor import LINE, aligned_empty
from ..sparse import SparseKernel, StoredValues
from .simd.slices import COLUMNS, PLACES, add_entries, add_group
from .simd.vectors import LANES, address, number_at
from .threads import check_layout, serial_loads, splits

# Lanes that make a step worth its cycles: a step costs about what three entries left over cost.
_LEAST_LANES = max(1, LANES // 4)
_STEP_LOADS = 3
_MOST_COLUMNS = 1 << 16


@dataclass
class SellOperand(StoredValues):
    """W in slices of rows by groups of columns, and the entries left over.

    ``values`` are those of all steps, (steps, lanes), then of the entries left over.
    """

    #: (steps, lanes): the place in its group of each value's column.
    places: NDArray[np.uint8]
    #: For each thread in turn (groups, its slices): how many steps.
    steps: NDArray[np.uint8]
    #: Rows, in the order of their length, and columns of the entries left over.
    left_rows: NDArray[np.uint16]
    left_columns: NDArray[np.uint16]
    #: (rows,) where each row's result belongs.
    rows: NDArray[np.int32]
    #: (3, threads + 1) slices, steps and entries left over at which each thread begins.
    starts: NDArray[np.int64]
    #: (nnz,) where each nonzero of W, row after row, lies in ``values``; for conversions only.
    entries: NDArray[np.int64]

    def __post_init__(self) -> None:
        left = self.values.ctypes.data + 4 * self.places.size
        # Addresses of arrays that this operand owns, and that are never replaced: an array costs
        # a call more than an address.
        self.plan = (*(part.ctypes.data for part in self._parts()), left, self.rows.size)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the arrays that were unpickled: they lie elsewhere."""
        self.__dict__.update(state)
        self.__post_init__()

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self._parts())

    def _parts(self) -> tuple[Array, ...]:
        left = self.left_rows, self.left_columns
        return self.values, self.places, self.steps, *left, self.rows


class NumbaSell(ForwardOnly, SparseKernel):
    """For serving one image."""

    name = "numba-sell"
    title = "Numba sliced ELLPACK, one image"
    device = "cpu"
    format = "sell"
    arithmetic = ONLY_FP32
    source = "SELL-C-sigma: Kreutzer et al. 2014; lookups in registers by AVX-512, through numba"
    look = Look("#4ba45d", "D", "-")

    def unsupported(self, problem: Problem) -> str | None:
        if problem.n != 1:
            return f"{self.name} is for a batch of 1, not {problem.n}."
        if max(problem.m, problem.k) > _MOST_COLUMNS:
            return f"{self.name} has 16-bit indices: at most {_MOST_COLUMNS:,} rows and columns."
        return super().unsupported(problem)

    def prepare(self, weight: Weight) -> SellOperand:
        m, k = weight.shape
        order = np.argsort(-np.count_nonzero(weight.pattern, axis=1), kind="stable")
        place_of = np.empty(m, np.int64)
        place_of[order] = np.arange(m)
        rows, columns = np.nonzero(weight.pattern)
        sliced = _Sliced(place_of[rows], columns, (m, k))
        values = aligned_empty((sliced.room + sliced.left.size,), weight.values.dtype)
        values[...] = 0
        values[sliced.entries] = weight.values[rows, columns]
        places = aligned_empty((sliced.room,), np.uint8)
        places[...] = PLACES - 1
        inside = sliced.entries < sliced.room
        places[sliced.entries[inside]] = columns[inside] % COLUMNS
        return SellOperand(
            weight.shape,
            values,
            rows * k + columns,
            places,
            sliced.steps,
            place_of[rows[sliced.left]].astype(np.uint16),
            columns[sliced.left].astype(np.uint16),
            order.astype(np.int32),
            sliced.starts,
            sliced.entries,
        )

    def explain(self, operand: SellOperand, pass_: Pass, n: int) -> list[Choice]:
        steps, left = operand.places.size // LANES, operand.left_rows.size
        kept = operand.entries.size - left
        full = kept / max(1, steps * LANES)
        threads = operand.starts.shape[1] - 1
        loads = _STEP_LOADS * steps + left
        return [
            Choice("rows per slice", f"{LANES}", "a lane of a vector each"),
            Choice("columns per group", f"{COLUMNS}", "two registers, and a zero in the last lane"),
            Choice(
                "steps",
                f"{steps:,}",
                f"taken where at least {_LEAST_LANES} lanes have an entry; {full:.0%} of them have",
            ),
            Choice("entries left over", f"{left:,}", f"of {operand.entries.size:,}: too few lanes"),
            Choice(
                "threads",
                f"{threads}",
                f"about {loads:,} loads; a second thread pays from {serial_loads():,}",
            ),
        ]

    def forward(self, operand: SellOperand, x: Any, out: Any) -> Any:
        check_layout(x, out)
        if operand.starts.shape[1] == 2:
            multiply_part(operand.plan, operand.starts, 0, x, out)
        else:
            _multiply_on_threads(operand.plan, operand.starts, x, out)
        return out

    def update(self, operand: SellOperand, step: Any, rate: float) -> None:
        # The step (nnz,) is in W's order.
        operand.values[operand.entries] -= np.float32(rate) * step

    def gradient_shape(self, operand: SellOperand) -> tuple[int, ...]:
        return (operand.entries.size,)

    def dense_weight(self, operand: SellOperand) -> Array:
        return self.dense_gradient(operand, operand.values[operand.entries])


class _Sliced:
    """Which nonzeros (rows, columns), sorted by neither, go into which step, and which do not."""

    def __init__(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]
    ) -> None:
        groups, slices = -(-shape[1] // COLUMNS), -(-shape[0] // LANES)
        group, lane = columns // COLUMNS, rows % LANES
        counts = np.zeros((groups, slices * LANES), np.int64)
        np.add.at(counts, (group, rows), 1)
        steps = self._steps(counts.reshape(groups, slices, LANES))
        rank = _rank_within(group * counts.shape[1] + rows)
        inside = rank < steps[group, rows // LANES]
        work = _STEP_LOADS * steps.sum(axis=0)
        work += np.bincount(rows[~inside] // LANES, minlength=slices)
        cuts = splits(work, serially=int(work.sum()) < serial_loads())
        parts = [steps[:, a:b] for a, b in itertools.pairwise(cuts)]
        ends = np.cumsum([part.sum() for part in parts])
        #: As in :class:`SellOperand`.
        self.steps = np.concatenate([part.ravel() for part in parts]).astype(np.uint8)
        #: Values that the steps have room for.
        self.room = int(ends[-1]) * LANES
        part_of = np.searchsorted(cuts, rows // LANES, side="right") - 1
        #: The nonzeros left over: for each thread in turn, column after column.
        self.left = np.flatnonzero(~inside)
        self.left = self.left[np.lexsort((columns[self.left], part_of[self.left]))]
        left_ends = np.searchsorted(part_of[self.left], np.arange(len(parts)), side="right")
        #: As in :class:`SellOperand`.
        self.starts = np.stack([cuts, np.append(0, ends), np.append(0, left_ends)])
        # Steps lie part after part, and within a part group after group.
        first = np.cumsum(self.steps, dtype=np.int64) - self.steps
        begins = groups * cuts[part_of] + group * np.diff(cuts)[part_of]
        step = first[begins + rows // LANES - cuts[part_of]] + rank
        #: Where each nonzero lies among the values.
        self.entries = step * LANES + lane
        self.entries[self.left] = self.room + np.arange(self.left.size)

    @staticmethod
    def _steps(counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (groups, slices): the steps that enough lanes of ``counts`` would fill."""
        steps = np.zeros(counts.shape[:2], np.int64)
        for number in range(1, int(counts.max(initial=0)) + 1):
            steps[(counts >= number).sum(axis=2) >= _LEAST_LANES] = number
        return steps


def _rank_within(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many equal keys come before each of ``keys``."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))[: keys.size]
    ranks = np.empty(keys.size, np.int64)
    ranks[order] = np.arange(keys.size) - np.repeat(begins, np.diff(np.append(begins, keys.size)))
    return ranks


@numba.njit(cache=True)
def multiply_part(plan, starts, part, x, out):  # type: ignore[no-untyped-def]
    """Write the results of a thread's ``part`` of the slices."""
    values, places, steps, left_rows, left_columns, rows, left_values, m = plan
    begin, end = starts[0, part], starts[0, part + 1]
    slices, groups = end - begin, (x.shape[0] + COLUMNS - 1) // COLUMNS
    room = np.zeros(slices * LANES + LINE // 4, np.float32)
    sums = (address(room) + LINE - 1) // LINE * LINE
    at = starts[1, part]
    for group in range(groups):
        at += add_group(
            values + 4 * LANES * at,
            places + LANES * at,
            steps + begin * groups + group * slices,
            slices,
            address(x) + 4 * COLUMNS * group,
            x.shape[0] - COLUMNS * group,
            sums,
        )
    left, left_end = starts[2, part], starts[2, part + 1]
    # Of rows that are counted over all parts.
    base = sums - 4 * LANES * begin
    add_entries(left_values, left_rows, left_columns, left, left_end, address(x), base)
    first = (base - address(room)) // 4
    for row in range(begin * LANES, min(end * LANES, m)):
        out[number_at(rows, row), 0] = room[first + row]


@numba.njit(parallel=True, cache=True)
def _multiply_on_threads(plan, starts, x, out):  # type: ignore[no-untyped-def]
    for part in numba.prange(starts.shape[1] - 1):
        multiply_part(plan, starts, part, x, out)
