"""Names beside points, where they cover neither another name nor another point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from matplotlib.axes import Axes

from crossover.reports.plots.figure import INK, SOFT

# Points of type: of a letter across (on average) and up, of half a marker, and from where on a name
# is tied to its point by a line.
_SIZE, _ACROSS, _UP, _MARKER, _FAR = 7.5, 0.56, 1.2, 4.0, 12.0
_BESIDE, _HEIGHTS = 5.0, (3.0, -11.0, 13.0, -21.0, 23.0, -31.0, 33.0, -41.0)
#: Left, bottom, right and top, in points of type.
_Box = tuple[float, float, float, float]


def annotate(axis: Axes, names: Sequence[tuple[str, float, float]]) -> None:
    """Write each (name, x, y) beside its point; scales and limits of ``axis`` must be final."""
    inches = axis.figure.dpi_scale_trans.inverted()
    points = [
        tuple(72 * each for each in inches.transform(axis.transData.transform((x, y))))
        for _, x, y in names
    ]
    frame = axis.get_window_extent().transformed(inches)
    inside = 72 * frame.x0, 72 * frame.y0, 72 * frame.x1, 72 * frame.y1
    taken: list[_Box] = [(x - _MARKER, y - _MARKER, x + _MARKER, y + _MARKER) for x, y in points]
    for (name, x, y), at in zip(names, points, strict=True):
        right, height, box = min(
            _candidates(name, at), key=lambda each: _cost(each[2], taken, inside)
        )
        taken.append(box)
        line = {"arrowstyle": "-", "color": SOFT, "linewidth": 0.5} if abs(height) > _FAR else None
        axis.annotate(
            name, (x, y), xytext=(_BESIDE if right else -_BESIDE, height), color=INK,
            textcoords="offset points", ha="left" if right else "right", fontsize=_SIZE,
            arrowprops=line,
        )  # fmt: skip


def _candidates(name: str, at: Sequence[float]) -> Iterator[tuple[bool, float, _Box]]:
    """Yield whether a name stands right of its point, how high, and its box; the best first."""
    width = _ACROSS * _SIZE * len(name)
    for height, right in product(_HEIGHTS, (True, False)):
        left = at[0] + _BESIDE if right else at[0] - _BESIDE - width
        bottom = at[1] + height
        yield right, height, (left, bottom, left + width, bottom + _UP * _SIZE)


def _cost(box: _Box, taken: Sequence[_Box], inside: _Box) -> float:
    """Return the area that a box shares with others, or has outside."""
    covered = sum(_shared(box, each) for each in taken)
    return covered + (box[2] - box[0]) * (box[3] - box[1]) - _shared(box, inside)


def _shared(one: _Box, other: _Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    up = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, across) * max(0.0, up)
