"""Which tile of ``numba-cuda-tiled`` is fastest: ``python3 -m crossover.bench.cuda_tiles``.

The kernel chooses its tiles by arithmetic (``kernels/numba_cuda_tiles.py``). This times them
against each other, each checked first, in interleaved rounds, to correct that choice.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from crossover.bench import cell_trial, trial
from crossover.bench.errors import InputError
from crossover.bench.intervals import paired_speedup
from crossover.kernels.base import PASSES, Kernel, Pass, Weight
from crossover.kernels.cuda.device import cupy_unavailable
from crossover.kernels.cuda.numba.arrays import cuda_unavailable
from crossover.kernels.cuda.numba.tiled import NumbaCudaTiled
from crossover.kernels.cuda.numba.tiles import candidates

_ROUNDS = 5, 30


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see 'python3 -m crossover.bench.cuda_tiles --help'")


def main(argv: Sequence[str] | None = None) -> int:
    """Time the tiles, print a table or JSON, and return the exit code."""
    try:
        options = _options(argv)
        if reason := cupy_unavailable() or cuda_unavailable():
            raise InputError(f"no tile can be timed here: {reason}")
    except InputError as error:
        print(f"crossover: {error}", file=sys.stderr)
        return 2
    lines = []
    for pass_ in options.passes:
        for n in options.batch:
            print(f"{pass_}, batch {n} ...", file=sys.stderr)
            lines += contest(pass_, options.shape, options.sparsity, n, options.budget)
    if options.json:
        print(json.dumps(lines))
    else:
        for line in lines:
            print("  ".join(f"{value}" for value in line.values()))
    return 3 if any(line["status"] == "wrong" for line in lines) else 0


def contest(
    pass_: Pass, shape: Sequence[int], sparsity: float, n: int, budget_s: float
) -> list[dict[str, Any]]:
    """Return a line per tile, the fastest first; ``over chosen`` is a median of paired ratios.

    W (m, k) = ``shape`` has a random pattern; n is the batch.
    """
    m, k = shape
    rng = np.random.default_rng([m, k, n])
    values = rng.standard_normal((m, k), np.float32)
    values[rng.random((m, k), np.float32) < sparsity] = 0
    weight = Weight.from_dense(values)
    x, dy = (rng.standard_normal((rows, n), np.float32) for rows in (k, m))
    tiles = candidates(pass_, k if pass_ == "backward_input" else m, weight.nnz, n)
    kernels: dict[str, Kernel] = {tile.name: NumbaCudaTiled({pass_: tile}) for tile in tiles}
    task = cell_trial.Task(pass_, weight, x, dy, tuple(kernels), budget_s, n, _ROUNDS)
    outcomes = trial.measure(task, kernels, lambda _: None)
    chosen = outcomes[tiles[0].name]
    lines = [
        _line(pass_, (m, k, n), weight.nnz, name, outcome, chosen)
        for name, outcome in outcomes.items()
    ]
    return sorted(lines, key=lambda line: line["µs"] or np.inf)


def _line(
    pass_: Pass,
    sizes: tuple[int, int, int],
    nnz: int,
    name: str,
    outcome: trial.Outcome,
    chosen: trial.Outcome,
) -> dict[str, Any]:
    m, k, n = sizes
    line = {"pass": pass_, "m": m, "k": k, "n": n, "nnz": nnz, "tile": name}
    line |= {"chosen": outcome is chosen, "status": outcome.status, "reason": outcome.reason}
    if outcome.status != "measured":
        return line | {"µs": None, "GFLOP/s": None, "over chosen": None}
    seconds = float(np.median(outcome.samples))
    ratio = None
    if chosen.status == "measured":
        rounds = min(len(chosen.samples), len(outcome.samples))
        ratio = paired_speedup(chosen.samples[:rounds], outcome.samples[:rounds]).median
    rate = 2 * nnz * n / seconds / 1e9
    return line | {"µs": round(seconds * 1e6, 2), "GFLOP/s": round(rate, 1), "over chosen": ratio}


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python3 -m crossover.bench.cuda_tiles", description=__doc__)
    parser.add_argument("--shape", nargs=2, type=int, default=[4096, 4096], metavar=("M", "K"))
    parser.add_argument("--sparsity", type=float, default=0.9, help="default: %(default)s")
    parser.add_argument("--batch", nargs="+", type=int, default=[128, 1024], metavar="N")
    parser.add_argument("--passes", nargs="+", choices=PASSES, default=["forward"])
    parser.add_argument(
        "--budget", type=float, default=20.0, help="seconds per problem; default: %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    for name, value in (("--shape", min(options.shape)), ("--batch", min(options.batch))):
        if value < 1:
            raise InputError(f"{name} {value} is below 1: give sizes of at least 1")
    if not 0 <= options.sparsity < 1:
        raise InputError(f"--sparsity {options.sparsity:g} is outside [0, 1): give 0.9, say")
    if not 0 < options.budget < float("inf"):
        raise InputError(f"--budget {options.budget:g} is no time above 0: give seconds")
    return options


if __name__ == "__main__":
    sys.exit(main())
