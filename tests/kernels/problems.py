"""Hard problems for the contract tests, drawn fresh for each test."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossover.kernels.base import Array, Weight


@dataclass(frozen=True)
class Shape:
    name: str
    m: int
    k: int
    n: int
    density: float


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
    Shape("empty-rows-and-columns", 24, 36, 7, -0.3),
    Shape("blocks", 32, 48, 16, -0.5),
    Shape("index-beyond-16-bits", 3, 70_001, 2, 0.001),
)


@dataclass(frozen=True)
class Drawn:
    weight: Weight
    x: Array
    dy: Array


def draw(shape: Shape, dtype: Any = np.float32, salt: str = "") -> Drawn:
    """Return a weight with its pattern, and operands, that no two tests share."""
    rng = np.random.default_rng(zlib.crc32(f"{shape.name} {dtype} {salt}".encode()))
    pattern = rng.random((shape.m, shape.k)) < abs(shape.density)
    if shape.name == "empty-rows-and-columns":
        pattern[[0, 5, -1]] = False
        pattern[:, [0, 7, -1]] = False
    if shape.name == "blocks":
        kept = rng.random((shape.m // 4, shape.k // 4)) < abs(shape.density)
        pattern = np.kron(kept, np.ones((4, 4), bool))
    if shape.name == "index-beyond-16-bits":
        pattern[:, -1] = True
    values = np.where(pattern, rng.standard_normal(pattern.shape), 0).astype(dtype)
    x = rng.standard_normal((shape.k, shape.n)).astype(dtype)
    dy = rng.standard_normal((shape.m, shape.n)).astype(dtype)
    return Drawn(Weight(values, pattern), x, dy)
