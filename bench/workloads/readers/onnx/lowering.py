"""Where a layer's X comes from: activations as they are, or a convolution's windows (im2col)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover.bench.workloads.readers.stored import Floats


@dataclass(frozen=True)
class Window:
    """How a convolution goes over an image: sides, strides and dilations by (height, width)."""

    sides: tuple[int, int]
    strides: Sequence[int]
    dilations: Sequence[int]
    #: Zeros around the image: top, left, bottom, right.
    pads: Sequence[int]

    @property
    def covered(self) -> tuple[int, int]:
        """Return the height and width that a window covers."""
        height, width = (
            (side - 1) * step + 1 for side, step in zip(self.sides, self.dilations, strict=True)
        )
        return height, width

    def positions(self, image: Sequence[int]) -> tuple[int, int]:
        """Return how many outputs there are in height and width of an ``image``."""
        rows, columns = (
            (image[axis] + self.pads[axis] + self.pads[axis + 2] - self.covered[axis])
            // self.strides[axis]
            + 1
            for axis in (0, 1)
        )
        return rows, columns


@dataclass(frozen=True)
class Lowering:
    """How a layer's product is Y = W X: where X is from, and the shape of the stored weight."""

    #: Name of the activations in the graph.
    source: str
    stored: tuple[int, ...]
    #: Whether W is stored as (inputs, outputs).
    turned: bool = False
    #: Columns of X per item of the batch.
    columns: int = 1
    #: Of a convolution.
    window: Window | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Return (m, k) of W."""
        m, k = self.stored[0], math.prod(self.stored[1:])
        return (k, m) if self.turned else (m, k)

    def lower(self, activation: NDArray[np.generic]) -> Floats:
        """Return X (k, columns * n) of activations, the batch in their first axis."""
        if self.window is not None:
            return _windows(np.asarray(activation, np.float32), self.window)
        rows = np.asarray(activation, np.float32).reshape(-1, self.shape[1])
        return np.ascontiguousarray(rows.T)


def lowering_of(
    source: str, stored: tuple[int, ...], image: Sequence[int], window: Window, auto_pad: bytes
) -> Lowering | str:
    """Return the lowering of a convolution of an ``image`` (height, width); or why there is none.

    ``auto_pad`` is ONNX's attribute.
    """
    kind = auto_pad.decode("ascii", "replace") if isinstance(auto_pad, bytes) else str(auto_pad)
    if min((*window.strides, *window.dilations), default=0) < 1 or min(window.pads) < 0:
        return "Conv: strides and dilations must be at least 1, pads at least 0"
    if kind in ("SAME_UPPER", "SAME_LOWER"):
        window = _same(image, window, kind == "SAME_UPPER")
    columns = math.prod(window.positions(image))
    if min(window.positions(image)) < 1:
        return f"Conv: its window is larger than its images of {image[0]} x {image[1]}"
    return Lowering(source, stored, False, columns, window)


def _same(image: Sequence[int], window: Window, upper: bool) -> Window:
    """Return the window with pads such that each stride begins one output."""
    total = [
        max(0, (-(-image[axis] // window.strides[axis]) - 1) * window.strides[axis]
            + window.covered[axis] - image[axis])
        for axis in (0, 1)
    ]  # fmt: skip
    less, more = [each // 2 for each in total], [each - each // 2 for each in total]
    pads = [*less, *more] if upper else [*more, *less]
    return Window(window.sides, window.strides, window.dilations, pads)


def _windows(images: Floats, window: Window) -> Floats:
    """Return (channels * height * width of a window, positions * n) of images (n, c, h, w)."""
    top, left, bottom, right = window.pads
    padded = np.pad(images, ((0, 0), (0, 0), (top, bottom), (left, right)))
    views = np.lib.stride_tricks.sliding_window_view(padded, window.covered, axis=(2, 3))
    picked = views[
        :, :, :: window.strides[0], :: window.strides[1], :: window.dilations[0],
        :: window.dilations[1],
    ]  # fmt: skip
    # (n, c, rows, columns, height, width): an image's positions stay together.
    channels_first = picked.transpose(1, 4, 5, 2, 3, 0)
    k = math.prod(channels_first.shape[:3])
    return np.ascontiguousarray(channels_first.reshape(k, -1))
