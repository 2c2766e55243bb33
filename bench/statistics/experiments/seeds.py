"""Figures over seeds: networks that differ in their seed alone are one network, seen again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from crossover.bench.records.rows import Visit
from crossover.bench.statistics.intervals import CONFIDENCE, NOTHING, Interval


@dataclass(frozen=True)
class Spread:
    """A figure over seeds: its mean, the least and the most."""

    mean: float
    low: float
    high: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of ``values``, a value a seed.

        Raises:
            ValueError: if there is none.
        """
        if not values:
            raise ValueError("no seed has a value: need at least one")
        return cls(float(np.mean(values)), min(values), max(values), tuple(values))


def difference(first: Spread, second: Spread) -> Interval:
    """Return by how much the first mean is above the second, with Welch's interval.

    Of fewer than two seeds the interval's ends are not known. Seeds that agree to every digit have
    no spread that could be told: their interval is its middle.

    Source: Welch 1947, "The generalization of Student's problem when several different population
    variances are involved".
    """
    middle = first.mean - second.mean
    sizes = np.array([len(first.values), len(second.values)])
    if sizes.min() < 2:
        return replace(NOTHING, median=middle)
    errors = np.array([np.var(each.values, ddof=1) for each in (first, second)]) / sizes
    error = float(errors.sum())
    if error == 0:
        return Interval(middle, middle, middle)
    freedom = error**2 / float((errors**2 / (sizes - 1)).sum())
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(error)
    return Interval(middle - half, middle, middle + half)


def pooled_over_seeds(visits: Iterable[Visit]) -> list[Visit]:
    """Return visits as if their problems had no seed: those that differ in it alone are pooled."""
    found = []
    for visit in visits:
        recipe = without_seeds(visit.problem.recipe)
        content = json.dumps([recipe, visit.problem.threads], sort_keys=True)
        name = hashlib.sha256(content.encode()).hexdigest()[:16]
        found.append(replace(visit, problem=replace(visit.problem, problem_id=name)))
    return found


def without_seeds(recipe: Any) -> Any:
    """Return a recipe, as JSON knows it, without the seeds that it names."""
    if isinstance(recipe, dict):
        return {name: without_seeds(each) for name, each in recipe.items() if name != "seed"}
    if isinstance(recipe, list):
        return [without_seeds(each) for each in recipe]
    return recipe
