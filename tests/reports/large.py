"""A large store of made-up visits: many layers, sparsities, batches, passes and kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from crossover.bench.records.rows import Row, Visit
from crossover.bench.records.store import FILE_NAME, Store
from tests.reports import made

SPARSITIES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
BATCHES = (1, 4, 16, 64, 256, 1024)
PASSES = ("forward", "backward_input", "backward_weight")
KERNELS = 16
ROUNDS, VISITS = 12, 3


def write(folder: Path, layers: int) -> int:
    """Write a store with so many layers to ``folder``, and return its number of rows."""
    looks = "o^svD"
    kernels = [
        made.kernel(
            f"kernel-{n}", "dense" if n < 2 else "masked dense" if n < 4 else "ours",
            marker=looks[n % 5], dash=("-", "--", ":")[n % 3],
        )
        for n in range(KERNELS)
    ]  # fmt: skip
    store = Store(folder / FILE_NAME)
    store.put_run(made.RUN)
    store.add_kernels(made.RUN.run_id, kernels)
    store.add_study(made.study("sweep"))
    names = [each.name for each in kernels]
    store.add_visits(_visits(layers, names))
    store.close()
    return layers * len(SPARSITIES) * len(BATCHES) * len(PASSES) * KERNELS * VISITS


def _visits(layers: int, names: list[str]) -> Iterator[Visit]:
    rng = np.random.default_rng(0)
    asked = product(range(VISITS), range(layers), SPARSITIES, BATCHES, PASSES)
    for seed, layer, sparsity, batch, computes in asked:
        about = made.problem(
            sparsity, layer=f"fc{layer}", layer_index=layer, m=64 + 8 * layer, k=784,
            batch=batch, computes=computes,
        )  # fmt: skip
        times = 1e-6 * batch * np.where(np.arange(KERNELS) < 4, 1.0, 4 * (1.02 - sparsity))
        scatter = rng.lognormal(0, 0.02, (KERNELS, ROUNDS))
        rows = {
            name: replace(_ROW, kernel=name, samples=(times[n] * scatter[n]).tolist())
            for n, name in enumerate(names)
        }
        visit = made.visit("sweep", about, {}, seed)
        yield Visit(visit.record, about, rows)


_ROW = Row(
    "", "measured", samples=[1.0], loops=100, prepare_s=1e-3, restore_s=1e-3, first_call_s=0.1,
    compile_s=0.0, nbytes=4000, stored_entries=100, relative_error=1e-7, share_of_bound=0.1,
    busy_s=0.5,
)  # fmt: skip
