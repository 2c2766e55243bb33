"""Recipes of matrices that belong to no network: drawn ones, and patterns from files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossover.bench.errors import InputError
from crossover.bench.workloads.pruning.masks import block_masks, random_masks, row_skewed_masks
from crossover.bench.workloads.pruning.pruned import BLOCK
from crossover.bench.workloads.readers import smtx
from crossover.bench.workloads.recipes import OUTSIDE_IDENTITY, Labels
from crossover.bench.workloads.training.model import LayerOperands
from crossover.kernels.base import Weight

#: Which entries a drawn matrix keeps: single ones, unevenly many in a row, blocks, 2 of each 4.
MatrixPattern = Literal["random", "row-skewed", "block", "block-32", "2:4"]
_BLOCKS: Mapping[str, tuple[int, int]] = {"block": BLOCK, "block-32": (32, 32)}
_KEPT_SIDES = 8


@dataclass(frozen=True)
class RandomMatrix:
    """W (m, k) of normal random numbers in a drawn pattern; X and dY from a normal.

    Blocks of 32 must divide (m, k), as 4 must divide k for 2:4, whose sparsity is 0.5.
    """

    group: str
    m: int
    k: int
    sparsity: float
    pattern: MatrixPattern = "random"
    seed: int = 0
    #: What a report calls it; empty for its shape.
    name: str = ""

    @property
    def labels(self) -> Labels:
        name = self.name or f"{self.m}x{self.k}"
        return Labels(self.group, name, self.m * self.k, self.sparsity, self.pattern, "layer")

    @property
    def shape(self) -> tuple[int, int]:
        return self.m, self.k

    def columns(self, batch: int) -> int:
        return batch

    def weight(self) -> Weight:
        """Return the weight; a sparser one has a part of the entries of a denser one."""
        return _drawn_weight(self)

    def operands(self, batch: int) -> LayerOperands:
        return drawn_operands(self.shape, batch, self.seed)


@dataclass(frozen=True)
class PatternFile:
    """W with the pattern of a file (``.smtx``) and random values; X and dY from a normal."""

    name: str
    digest: str
    rows: int
    inputs: int
    sparsity: float
    seed: int = 0
    path: Path = field(default=Path(), metadata=OUTSIDE_IDENTITY)

    @property
    def labels(self) -> Labels:
        return Labels("DLMC", self.name, 0, self.sparsity, "file", "layer")

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.inputs

    def columns(self, batch: int) -> int:
        return batch

    def weight(self) -> Weight:
        return _file_weight(self)

    def operands(self, batch: int) -> LayerOperands:
        return drawn_operands(self.shape, batch, self.seed)


def pattern_file(path: Path, folder: Path, seed: int) -> PatternFile:
    """Return the recipe of a ``.smtx`` file; its name is relative to ``folder``.

    Raises:
        InputError: if the file is not a consistent ``.smtx``.
    """
    drawn = smtx.weight(path, np.random.default_rng(seed))
    (m, k), name = drawn.shape, path.relative_to(folder).as_posix()
    return PatternFile(name, smtx.digest(path), m, k, drawn.sparsity, seed, path)


def drawn_operands(shape: tuple[int, int], n: int, seed: int) -> LayerOperands:
    """Return X (k, n) and dY (m, n) from a normal, without zeros."""
    m, k = shape
    return LayerOperands(_normal(k, n, seed), _normal(m, n, seed))


@lru_cache(maxsize=1)
def _drawn_weight(recipe: RandomMatrix) -> Weight:
    rng = np.random.default_rng([recipe.seed, recipe.m, recipe.k])
    values = rng.standard_normal(recipe.shape, np.float32)
    mask = _drawn_pattern(recipe, values, rng)
    return Weight(np.where(mask, values, np.float32(0)), mask)


def _drawn_pattern(
    recipe: RandomMatrix, values: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.bool_]:
    (m, k), sparsity = recipe.shape, recipe.sparsity
    if recipe.pattern == "2:4":
        ranks = rng.random((m, k // 4, 4), np.float32).argsort(axis=2)
        return (ranks < 2).reshape(m, k)
    if recipe.pattern in _BLOCKS:
        # Of numbers without a structure, the blocks of the largest norm are random ones.
        return block_masks([values], sparsity, _BLOCKS[recipe.pattern])[0]
    if recipe.pattern == "row-skewed":
        return row_skewed_masks([recipe.shape], sparsity, rng)[0]
    return random_masks([recipe.shape], sparsity, rng)[0]


@lru_cache(maxsize=1)
def _file_weight(recipe: PatternFile) -> Weight:
    if smtx.digest(recipe.path) != recipe.digest:
        raise InputError(f"{recipe.path} changed while it was measured: leave it as it is")
    return smtx.weight(recipe.path, np.random.default_rng(recipe.seed))


@lru_cache(maxsize=_KEPT_SIDES)
def _normal(rows: int, columns: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng([seed, rows, columns])
    return rng.standard_normal((rows, columns), np.float32)
