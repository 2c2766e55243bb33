"""Sliced ELLPACK for one image at a time: a vector holds one entry of each of its lanes' rows.

Technique: SELL-C-σ (Kreutzer et al. 2014), sliced along the columns as well. The columns of W are
cut into groups small enough for their part of x to lie in two vector registers, where AVX-512
looks 16 factors up at once; a load each, which bounds CSR, is not needed. Rows are sorted by their
length, so that neighbours need about as many steps. A step that too few lanes would fill is not
taken: its entries are left over, in CSR.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from kernels.base import FP32, Array, Kernel, Pass, Problem, Weight
from kernels.layout import check_layout, serial, splits
from kernels.processor import LINE, aligned_empty
from kernels.simd.entries import gathered_dot
from kernels.simd.slices import COLUMNS, PLACES, add_group
from kernels.simd.vectors import LANES, address

# Lanes that make a step worth its cycles: a step costs about what three entries left over cost.
_LEAST_LANES = max(1, LANES // 4)
_STEP_LOADS = 3
_MOST_COLUMNS = 1 << 16


@dataclass
class SellOperand:
    """W in slices of rows by groups of columns, and the entries left over, row after row."""

    shape: tuple[int, int]
    #: Of all steps, (steps, lanes), then of the entries left over.
    values: Array
    #: (steps, lanes): the place in its group of each value's column.
    places: NDArray[np.uint8]
    #: For each thread in turn (groups, its slices): how many steps.
    steps: NDArray[np.uint8]
    #: (rows + 1,) into the entries left over.
    pointers: NDArray[np.int32]
    #: Columns of the entries left over.
    columns: NDArray[np.uint16]
    #: (rows,) where each row's result belongs.
    rows: NDArray[np.int32]
    #: (threads + 1,) slices and (threads + 1,) steps at which each thread begins.
    splits: NDArray[np.int64]
    starts: NDArray[np.int64]
    #: (nnz,) where each nonzero of W, row after row, lies in ``values``; for conversions only.
    entries: NDArray[np.int64]
    #: (nnz,) where each nonzero lies in W, flattened; for conversions only.
    positions: NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        """Return the bytes that the product reads."""
        parts = self.values, self.places, self.steps, self.pointers, self.columns, self.rows
        return sum(part.nbytes for part in parts)


class NumbaSell(Kernel):
    """For serving one image; it has the forward pass alone."""

    name = "numba-sell"
    title = "Numba sliced ELLPACK, one image"
    device = "cpu"
    format = "sell"
    arithmetic = {"float32": FP32}  # noqa: RUF012 - declared so by the contract
    passes: tuple[Pass, ...] = ("forward",)  # type: ignore[misc]
    source = "SELL-C-sigma: Kreutzer et al. 2014; lookups in registers by AVX-512, through numba"

    def unsupported(self, problem: Problem) -> str | None:
        """Return why ``problem`` cannot be done: it is for one image and 16-bit columns."""
        if problem.n != 1:
            return f"{self.name} is for a batch of 1, not {problem.n}."
        if problem.k > _MOST_COLUMNS:
            return f"{self.name} has 16-bit indices: at most {_MOST_COLUMNS:,} columns."
        return super().unsupported(problem)

    def prepare(self, weight: Weight) -> SellOperand:
        """Return W in slices, the longest rows first."""
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
            places,
            sliced.steps,
            sliced.pointers,
            columns[sliced.left].astype(np.uint16),
            order.astype(np.int32),
            sliced.splits,
            sliced.starts,
            sliced.entries,
            rows * k + columns,
        )

    def forward(self, operand: SellOperand, x: Any, out: Any) -> Any:
        """Return ``W x`` (m, 1)."""
        check_layout(x, out)
        o = operand
        given = (o.values, o.places, o.steps, o.pointers, o.columns, o.rows, o.splits, o.starts)
        if serial(_STEP_LOADS * int(o.starts[-1]) + o.columns.size, o.splits.size - 1):
            _multiply_on_one(*given, x, out)
        else:
            _multiply_on_threads(*given, x, out)
        return out

    def backward_input(self, operand: SellOperand, dy: Any, out: Any) -> Any:
        """Refuse: the slices are of rows."""
        raise NotImplementedError(f"{self.name} has no backward_input pass")

    def backward_weight(self, operand: SellOperand, dy: Any, x: Any, out: Any) -> Any:
        """Refuse: it is for serving."""
        raise NotImplementedError(f"{self.name} has no backward_weight pass")

    def update(self, operand: SellOperand, step: Any, rate: float) -> None:
        """Subtract ``rate * step`` (nnz,), in W's order, from the values."""
        operand.values[operand.entries] -= np.float32(rate) * step

    def gradient_shape(self, operand: SellOperand) -> tuple[int, ...]:
        """Return (nnz,)."""
        return (operand.entries.size,)

    def dense_weight(self, operand: SellOperand) -> Array:
        """Return W, scattered."""
        return self.dense_gradient(operand, operand.values[operand.entries])

    def dense_gradient(self, operand: SellOperand, gradient: Any) -> Array:
        """Return the gradient, scattered."""
        dense = np.zeros(operand.shape[0] * operand.shape[1], gradient.dtype)
        dense[operand.positions] = gradient
        return dense.reshape(operand.shape)


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
        work = _STEP_LOADS * steps.sum(axis=0)
        #: As in :class:`SellOperand`.
        self.splits = splits(work)
        parts = [steps[:, a:b] for a, b in zip(self.splits, self.splits[1:], strict=False)]
        self.steps = np.concatenate([part.ravel() for part in parts]).astype(np.uint8)
        self.starts = np.append(0, np.cumsum([part.sum() for part in parts])).astype(np.int64)
        #: Values that the steps have room for.
        self.room = int(self.starts[-1]) * LANES
        first = np.empty_like(steps)
        for part, start, (a, b) in zip(
            parts, self.starts, zip(self.splits, self.splits[1:], strict=False), strict=False
        ):
            ends = np.cumsum(part.ravel())
            first[:, a:b] = start + (ends - part.ravel()).reshape(part.shape)
        rank = _rank_within(group * counts.shape[1] + rows)
        inside = rank < steps[group, rows // LANES]
        #: The nonzeros left over, row after row.
        self.left = np.flatnonzero(~inside)[np.argsort(rows[~inside], kind="stable")]
        self.pointers = np.zeros(shape[0] + 1, np.int32)
        np.cumsum(np.bincount(rows[self.left], minlength=shape[0]), out=self.pointers[1:])
        self.entries = (first[group, rows // LANES] + rank) * LANES + lane
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
def _multiply(  # type: ignore[no-untyped-def]
    values, places, steps, pointers, columns, rows, begin, end, start, x, out
):
    """Write the results of slices ``begin`` to ``end``, whose first step is ``start``."""
    slices = end - begin
    room = np.zeros((slices + 1) * LANES, np.float32)
    sums = (address(room) + LINE - 1) // LINE * LINE
    groups = (x.shape[0] + COLUMNS - 1) // COLUMNS
    at = start
    for group in range(groups):
        at += add_group(
            address(values) + 4 * LANES * at,
            address(places) + LANES * at,
            address(steps) + begin * groups + group * slices,
            slices,
            address(x) + 4 * COLUMNS * group,
            x.shape[0] - COLUMNS * group,
            sums,
        )
    first = (sums - address(room)) // 4 - begin * LANES
    left = address(values) + 4 * places.size
    for row in range(begin * LANES, min(end * LANES, rows.size)):
        total = room[first + row]
        if pointers[row] < pointers[row + 1]:
            total += gathered_dot(
                left, 0, address(columns), pointers[row], pointers[row + 1], address(x)
            )
        out[rows[row], 0] = total


@numba.njit(cache=True)
def _multiply_on_one(  # type: ignore[no-untyped-def]
    values, places, steps, pointers, columns, rows, splits, starts, x, out
):
    for part in range(splits.size - 1):
        _multiply(
            values, places, steps, pointers, columns, rows,
            splits[part], splits[part + 1], starts[part], x, out,
        )  # fmt: skip


@numba.njit(parallel=True, cache=True)
def _multiply_on_threads(  # type: ignore[no-untyped-def]
    values, places, steps, pointers, columns, rows, splits, starts, x, out
):
    for part in numba.prange(splits.size - 1):
        _multiply(
            values, places, steps, pointers, columns, rows,
            splits[part], splits[part + 1], starts[part], x, out,
        )  # fmt: skip
