"""The simulator's stand-ins for what ``vectors`` makes of intrinsics.

A place is an offset into a NumPy array, bounds and alignment are checked, and the threads of a
subwarp, which are Python's here, meet at a barrier to show each other their values.
"""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np

#: A simulated thread that waits longer for the others of its subwarp has lost them.
_PATIENCE_S = 30.0


def operations() -> SimpleNamespace:
    """Return what ``vectors.operations`` describes, in Python."""
    return SimpleNamespace(
        at=lambda _, offset: int(offset),
        ahead=lambda place, index, stride: place + int(index) * int(stride),
        load1=_simulated_load(1),
        load4=_simulated_load(4),
        store1=_simulated_store(1),
        store4=_simulated_store(4),
        exchange=_simulated_exchange,
        quotient=lambda dividend, divisor: dividend // divisor,
        multiply_blocks=_simulated_multiply_blocks,
    )


def _simulated_load(count: int) -> Any:
    def load(into: Any, start: int, array: Any, place: int, step: int) -> None:
        flat = _flat(array, place + step, count)
        for lane in range(count):
            into[start + lane] = flat[place + step + lane]

    return load


def _simulated_store(count: int) -> Any:
    def store(array: Any, place: int, step: int, source: Any, start: int) -> None:
        flat = _flat(array, place + step, count)
        for lane in range(count):
            flat[place + step + lane] = source[start + lane]

    return store


def _flat(array: Any, offset: int, count: int) -> Any:
    """Return ``array`` as one row, if ``count`` elements at ``offset`` lie in it, aligned."""
    flat = array.reshape(-1)
    if offset % count or not 0 <= offset <= flat.size - count:
        raise IndexError(f"{count} elements at {offset} of {flat.size}: outside, or not aligned")
    return flat


class _Meeting:
    """Where the threads of one simulated subwarp show each other their values."""

    def __init__(self, width: int) -> None:
        self._barrier = threading.Barrier(width, timeout=_PATIENCE_S)
        self._turns = [0] * width
        # Two in turn: who shows the next value has not waited for all to see this one.
        self._shown: tuple[list[Any], list[Any]] = [None] * width, [None] * width

    def shown(self, value: Any, lane: int) -> list[Any]:
        """Return what all threads show in this turn."""
        shown = self._shown[self._turns[lane]]
        self._turns[lane] ^= 1
        shown[lane] = value
        self._barrier.wait()
        return shown


_meetings_lock = threading.Lock()


def _meet(value: Any, width: int) -> tuple[list[Any], int]:
    """Return what the threads of this one's subwarp show, and its number there."""
    thread: Any = threading.current_thread()
    with _meetings_lock:
        meetings = thread._manager.__dict__.setdefault("meetings", {})
        key = thread.thread_id // width, width
        meeting = meetings.get(key) or meetings.setdefault(key, _Meeting(width))
    lane = thread.thread_id % width
    return meeting.shown(value, lane), lane


def _simulated_exchange(value: Any, distance: int, width: int) -> Any:
    shown, lane = _meet(value, width)
    return shown[lane ^ distance]


def _simulated_multiply_blocks(
    totals: Any, start: int, a: Any, b: Any, first: int, second: int
) -> None:
    """Multiply in fp32: what the simulator checks is who holds what, not TF32's rounding."""
    parts, lane = _meet((*(a[i] for i in range(4)), b[first], b[second]), 32)
    group, within = divmod(lane, 4)
    for i in range(4):
        row, column = group + 8 * (i // 2), 2 * within + i % 2
        for depth in range(8):
            of_a = parts[row % 8 * 4 + depth % 4][2 * (depth // 4) + row // 8]
            of_b = parts[column * 4 + depth % 4][4 + depth // 4]
            with np.errstate(invalid="ignore", over="ignore"):  # silent, as on a GPU
                totals[start + i] += of_a * of_b
