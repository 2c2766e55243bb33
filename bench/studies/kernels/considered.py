"""A quick look at what a kernel might have chosen instead, for ``kernels explain``.

It takes a second, in this process; ``regret`` measures the same with all the care of a study.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from crossover.kernels import variants
from crossover.kernels.base import Array, Kernel, Pass, Problem, Weight
from crossover.kernels.processor import aligned, aligned_empty

_ROUNDS = 41
# The percentile of a call's times that others on the machine disturb least.
_QUIET = 25


@dataclass(frozen=True)
class Alternative:
    """Another choice, and its time over that of the kernel's own."""

    title: str
    over_own: float


def considered(kernel: Kernel, weight: Weight, pass_: Pass, n: int) -> list[Alternative]:
    """Return every choice that the kernel has, the quickest first; none on a GPU.

    All run in turns, in another order each time, for what ran before leaves its traces in the
    caches.
    """
    problem = Problem(pass_, *weight.shape, n, weight.nnz)
    others = [
        each
        for each in variants.of(kernel).values()
        if kernel.device == "cpu" and not each.unsupported(problem)
    ]
    # Of all calls the same: where an array lies decides as much as what is done with it.
    x, dy, out = _arrays(weight, pass_, n)
    calls = [
        partial(each.run, pass_, each.prepare_for(weight, (pass_,), n), x, dy, out)
        for each in (kernel, *others)
    ]
    for call in calls:
        call()
    rng, seconds = np.random.default_rng(0), np.empty((_ROUNDS, len(calls)))
    for round_ in seconds:
        for place in rng.permutation(len(calls)):
            round_[place] = _timed(calls[place])
    usual = np.percentile(seconds, _QUIET, axis=0)
    found = zip(others, (usual[1:] / usual[0]).tolist(), strict=True)
    return sorted(
        (Alternative(each.title, ratio) for each, ratio in found), key=lambda each: each.over_own
    )


def _arrays(weight: Weight, pass_: Pass, n: int) -> tuple[Array, Array, Array]:
    """Return X, dY and room for a result."""
    m, k = weight.shape
    rng = np.random.default_rng(0)
    x, dy = (aligned(rng.standard_normal((rows, n), np.float32)) for rows in (k, m))
    shape = {"forward": (m, n), "backward_input": (k, n), "backward_weight": (weight.nnz,)}
    return x, dy, aligned_empty(shape[pass_], np.float32)


def _timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
