"""Shape parameters: what a model of the machine predicts, corrected by a short measurement.

A measurement is made once per machine and number of threads, in ``prepare``, and kept beside
Numba's compiled code. ``CROSSOVER_TUNING=model`` leaves the predictions as they are, for results
that must not depend on a measurement.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import llvmlite.binding as llvm
import numba
import numpy as np

from ..processor import cache_sizes

# A measured choice must be so much better than the predicted one: less is noise.
_LEAST_GAIN = 0.05
# What a shortest time is taken of, at least. Beside a busy process a thread may wait for
# milliseconds; of more calls one more likely finds all cores free.
_REPEATS, _REPEATED_S = 15, 0.05
_ROUNDS = 41
# The percentile of a candidate's times that others on the machine disturb least.
_QUIET = 25


@cache
def chosen(name: str, predicted: int, measure: Callable[[int], int], threads: int) -> int:
    """Return the parameter ``name``: as ``measure(threads)`` found it on this machine, ever.

    ``predicted`` is what the model says: it stays where nothing is to be measured.
    """
    if os.environ.get("CROSSOVER_TUNING") == "model":
        return predicted
    path = _path(threads)
    kept = _read(path)
    if name not in kept:
        value = measure(threads)
        # Read again: another process may have measured something else in the meantime.
        kept = _read(path) | {name: value}
        _write(path, kept)
    return kept[name]


def fastest(candidates: Sequence[int], run: Callable[[int], object]) -> int:
    """Return the candidate whose ``run`` is fastest; the first one unless clearly beaten.

    All of them run in turns, so that a machine that changes its pace favours none.
    """
    seconds = np.empty((_ROUNDS, len(candidates)))
    for candidate in candidates:
        run(candidate)
    for round_ in seconds:
        for place, candidate in enumerate(candidates):
            start = time.perf_counter()
            run(candidate)
            round_[place] = time.perf_counter() - start
    usual = np.percentile(seconds, _QUIET, axis=0)
    best = int(usual.argmin())
    return candidates[best if usual[best] < (1 - _LEAST_GAIN) * usual[0] else 0]


def shortest_s(run: Callable[[], object]) -> float:
    """Return the shortest time of several calls, in seconds: what others take is left out."""
    run()
    best, calls, begin = float("inf"), 0, time.perf_counter()
    while calls < _REPEATS or time.perf_counter() - begin < _REPEATED_S:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
        calls += 1
    return best


def _path(threads: int) -> Path | None:
    """Return the file of this machine's parameters; None where nothing can be kept."""
    folder = numba.config.CACHE_DIR
    if not folder:
        return None
    machine = llvm.get_host_cpu_name(), sorted(cache_sizes().items()), threads
    digest = hashlib.sha256(repr(machine).encode()).hexdigest()[:12]
    return Path(folder) / f"tuning-{digest}.json"


def _read(path: Path | None) -> dict[str, int]:
    try:
        kept = json.loads(path.read_text()) if path else {}
    except (OSError, ValueError):
        return {}
    whole = isinstance(kept, dict) and all(isinstance(value, int) for value in kept.values())
    return kept if whole else {}


def _write(path: Path | None, kept: dict[str, int]) -> None:
    if path is None:
        return
    try:
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(kept))
        part.replace(path)
    except OSError:
        return  # measured again by the next process
