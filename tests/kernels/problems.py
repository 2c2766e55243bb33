"""Hard problems for the contract tests, drawn fresh for each test."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossover.kernels.base import Array, Weight


@dataclass(frozen=True)
class Shape:
    """A problem that has broken somebody's kernel."""

    name: str
    m: int
    k: int
    n: int
    density: float
    kind: Literal["random", "empty", "blocks", "2:4", "skewed", "last column"] = "random"


#: For all kernels, those in the simulator too.
SHAPES = (
    Shape("one-by-one", 1, 1, 1, 1.0),
    Shape("one-row", 1, 40, 9, 0.3),
    Shape("one-column", 40, 1, 9, 0.3),
    Shape("single-image", 30, 50, 1, 0.2),
    Shape("odd", 7, 13, 5, 0.4),
    Shape("off-every-tile", 33, 67, 35, 0.15),
    Shape("fully-dense", 16, 24, 8, 1.0),
    Shape("all-zero", 12, 20, 6, 0.0),
    Shape("nearly-empty", 48, 64, 10, 0.005),
    Shape("empty-rows-and-columns", 24, 36, 7, 0.3, "empty"),
    Shape("blocks", 32, 48, 16, 0.5, "blocks"),
    Shape("index-beyond-16-bits", 3, 70_001, 2, 0.001, "last column"),
)
#: Real sizes: for a GPU, and for a CPU up to ``QUICK`` multiply-adds of the dense product.
LARGE_SHAPES = (
    Shape("LeNet-fc1", 300, 784, 64, 0.1),
    Shape("LeNet-fc1-single-image", 300, 784, 1, 0.1),
    Shape("LeNet-fc3", 10, 100, 256, 0.3),
    Shape("batch-of-33", 100, 300, 33, 0.2),
    Shape("nothing-a-multiple-of-4", 1023, 1025, 67, 0.1),
    Shape("many-empty-rows", 512, 768, 64, 0.2, "empty"),
    Shape("large-fully-dense", 256, 320, 96, 1.0),
    Shape("large-all-zero", 128, 192, 32, 0.0),
    Shape("wide", 64, 70_001, 40, 0.01, "last column"),
    Shape("blocks-of-8", 1024, 1024, 128, 0.2, "blocks"),
    Shape("2-of-4", 512, 512, 128, 0.5, "2:4"),
    Shape("skewed-rows", 2048, 2048, 257, 0.05, "skewed"),
    Shape("LeNet-5-conv2", 50, 500, 8192, 0.1),
    Shape("4096-batch-1030", 4096, 4096, 1030, 0.1),
    Shape("4096-single-image", 4096, 4096, 1, 0.1),
    Shape("4096-99-percent", 4096, 4096, 128, 0.01),
)
QUICK = 1 << 25


@dataclass(frozen=True)
class Drawn:
    """A weight, X (k, n) and dY (m, n)."""

    weight: Weight
    x: Array
    dy: Array


def draw(shape: Shape, dtype: Any = np.float32, salt: str = "") -> Drawn:
    """Return a weight with its pattern, and operands, that no two tests share."""
    rng = np.random.default_rng(zlib.crc32(f"{shape.name} {dtype} {salt}".encode()))
    pattern = pattern_of(shape, rng)
    values = np.where(pattern, rng.standard_normal(pattern.shape), 0).astype(dtype)
    x = rng.standard_normal((shape.k, shape.n)).astype(dtype)
    dy = rng.standard_normal((shape.m, shape.n)).astype(dtype)
    return Drawn(Weight(values, pattern), x, dy)


def pattern_of(shape: Shape, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which entries (m, k) are stored."""
    m, k = shape.m, shape.k
    if shape.kind == "blocks":
        side = 8 if m % 8 == k % 8 == 0 and m >= 64 else 4
        return np.kron(
            rng.random((m // side, k // side)) < shape.density, np.ones((side, side), bool)
        )
    if shape.kind == "2:4":
        return rng.random((m, k // 4, 4)).argsort(axis=2).reshape(m, k) < 2
    density = shape.density * (rng.lognormal(0, 1, (m, 1)) if shape.kind == "skewed" else 1)
    pattern = np.asarray(rng.random((m, k)) < density)
    if shape.kind == "empty":
        pattern[::7] = pattern[-1] = False
        pattern[:, ::5] = pattern[:, -1:] = False
    if shape.kind == "last column":
        pattern[:, -1] = True
    return pattern
