"""Stores made by hand: visits of each study with planted times, and nothing measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crossover.bench.records.rows import (
    KernelRecord,
    ProblemRecord,
    Row,
    Run,
    StudyRecord,
    Visit,
    VisitRecord,
)
from crossover.bench.records.store import FILE_NAME, Store
from crossover.bench.statistics import checks
from crossover.reports import results as stored
from crossover.reports.results import Results

RUN = Run(
    run_id="r1",
    started="2026-01-02T03:04:05+00:00",
    revision="0123456789abcdef",
    code="c0de",
    machine={"cpu": "A <CPU> | of ours", "cores": 4, "memory_gib": 16, "gpu": ""},
    versions={"python": "3.12.1", "numpy": "2.3.0"},
    ceilings={
        str(threads): {
            "threads": threads, "fma_one_gflops": 50.0, "fma_gflops": 50.0 * threads,
            "blas_gflops": 40.0 * threads,
            "copy_gbs": {"L1": 400.0, "L2": 200.0, "L3": 100.0, "memory": 20.0},
            "cache_bytes": {"L1": 1 << 15, "L2": 1 << 20, "L3": 1 << 24},
            "call_s": 1e-7, "parallel_s": 1e-6, "threading_layer": "omp",
        }
        for threads in (1, 4)
    },
)  # fmt: skip


def kernel(name: str, role: str = "ours", **fields: Any) -> KernelRecord:
    """Return what a kernel of the CPU declares."""
    stores = role in ("dense", "masked dense")
    record = KernelRecord(
        name=name, title=f"{name} titled", device="cpu", format="dense" if stores else "csr",
        role=role, runtime="blas" if stores else "numba", stores_zeros=stores,
        made_for="", arithmetic="fp32", source="", colour="#0072b2", marker="o", dash="-",
    )  # fmt: skip
    return replace(record, **fields)


KERNELS = {
    each.name: each
    for each in (
        kernel("blas", "dense"),
        kernel("other-dense", "dense"),
        kernel("half-dense", "dense", arithmetic="bf16, fp32 sums"),
        kernel("masked", "masked dense", format="masked dense", colour="#8a929b"),
        kernel("csr"),
        kernel("blocks", format="bsr", colour="#d55e00", marker="s", dash="--"),
        kernel("library-csr", "peer", colour="#009e73", made_for="Intel"),
        *(kernel(name) for name in (*checks.TWINS, "numba-csr")),
        *(kernel(n, "dense" if "dense" in n else "peer") for n in ("numpy-dense", "scipy-csr")),
        *(kernel(f"{side}:csr") for side in ("base", "control", "head")),
        *(kernel(name, format="network") for name in ("planned", "glue", "tiled-network")),
        kernel("numba-tiled"),
        kernel("cupy-network", "dense", device="cuda", format="network"),
        *(kernel(name, "dense", format="network") for name in ("numpy-network", "numba-network")),
    )
}


def problem(sparsity: float = 0.9, **fields: Any) -> ProblemRecord:
    """Return a forward problem of fc1 at batch 64, with what ``fields`` has other."""
    m, k = fields.pop("m", 300), fields.pop("k", 784)
    batch = fields.pop("batch", 64)
    n = fields.pop("n", batch)
    nnz = fields.pop("nnz", round((1 - sparsity) * m * k))
    computes, threads = fields.pop("computes", "forward"), fields.pop("threads", 4)
    layer, caches = fields.pop("layer", "fc1"), fields.pop("caches", "hot")
    pattern = fields.pop("pattern", "gradual" if sparsity else "dense")
    network = fields.pop("network", "lenet-300-100")
    parts = network, layer, sparsity, pattern, computes, batch, m, k
    workload = fields.pop("workload_id", "-".join(map(str, parts)))
    record = ProblemRecord(
        problem_id=f"{workload}-{threads}-{caches}", workload_id=workload, network=network,
        network_sparsity=sparsity, pattern=pattern, scope="global", accuracy=0.98, layer=layer,
        layer_index=0, computes=computes, dtype="float32",
        recipe={"weights": {"sparsity": sparsity, "layer": layer}, "computes": computes,
                "batch": batch, "optimizer": "sgd" if computes == "step" else ""},
        threads=threads, caches=caches, idle_threads="rest", m=m, k=k, batch=batch, n=n, nnz=nnz,
        sparsity=1 - nnz / (m * k), zeros_x=0.5, zeros_dy=0.0, useful_flops=2.0 * nnz * n,
        executed_flops=2.0 * m * k * n, side_bytes=4 * (m + k) * n,
        format_bytes={"dense": 4 * m * k, "csr": 8 * nnz + 4 * m},
    )  # fmt: skip
    return replace(record, **fields)


def row(name: str, seconds: float, rounds: int = 12, seed: int = 0, **fields: Any) -> Row:
    """Return a measured row whose samples scatter by 1 % around ``seconds``."""
    rng = np.random.default_rng([seed, len(name)])
    kept = Row(
        kernel=name, status="measured", loops=100000,
        samples=[float(s) for s in seconds * rng.lognormal(0, 0.01, rounds)],
        prepare_s=1e-3, restore_s=2e-3, first_call_s=0.5, compile_s=0.4, nbytes=1000,
        stored_entries=100, relative_error=1e-7, share_of_bound=0.01, busy_s=0.9,
    )  # fmt: skip
    return replace(kept, **fields)


def visit(
    series: str, about: ProblemRecord, kernels: Mapping[str, float | Row], seed: int = 0,
    **fields: Any,
) -> Visit:  # fmt: skip
    """Return a visit in which each kernel took so many seconds a call, or has this row."""
    record = VisitRecord(
        visit_id=0, run_id=RUN.run_id, series=series, problem_id=about.problem_id,
        process=f"p{seed}", seed=[seed], load=0.5, canary={"one core": [1e-4] * 12},
        started="2026-01-02T03:04:06+00:00", wall_s=1.0,
    )  # fmt: skip
    rows = {
        name: what if isinstance(what, Row) else row(name, what, seed=seed)
        for name, what in kernels.items()
    }
    return Visit(replace(record, **fields), about, rows)


def visits(
    series: str, about: ProblemRecord, kernels: Mapping[str, float | Row], **fields: Any
) -> list[Visit]:
    """Return three visits alike, each by a process of its own."""
    return [visit(series, about, kernels, seed, **fields) for seed in range(3)]


def study(name: str, series: str = "", **spec: Any) -> StudyRecord:
    """Return the record of what was asked."""
    return StudyRecord(
        study_id=f"{name}-{series}", run_id=RUN.run_id, study=name, series=series or name,
        spec={"is": name, **spec}, command=f"crossover {name}",
        asked_at="2026-01-02T03:04:05.000000+00:00",
    )  # fmt: skip


def results(
    folder: Path, visits: Iterable[Visit], studies: Iterable[StudyRecord], run: Run = RUN
) -> Results:
    """Return what a store with these visits holds, written to ``folder`` and read again."""
    store = Store(folder / FILE_NAME)
    store.put_run(run)
    store.add_kernels(run.run_id, list(KERNELS.values()))
    for each in studies:
        store.add_study(each)
    for made in visits:
        store.add_visit(made)
    store.close()
    return stored.load(folder)


def sweep() -> list[Visit]:
    """Return three visits to each of five sparsities: csr wins from 80 % on fc1, never on fc3."""
    found = []
    for seed in range(3):
        for layer, m, k, batch in (("fc3", 10, 100, 256), ("fc1", 300, 784, 64),
                                   ("fc1", 300, 784, 256)):  # fmt: skip
            for sparsity in (0.0, 0.5, 0.8, 0.9, 0.95):
                about = problem(sparsity, batch=batch, layer=layer, m=m, k=k)
                dense, slow = 1e-6 * batch, 1 if layer == "fc1" else 9
                times: dict[str, float | Row] = {
                    "blas": dense, "masked": 1.2 * dense,
                    "csr": slow * 4 * dense * (1.02 - sparsity),
                    "blocks": Row("blocks", "skipped", "Blocks need | a multiple of 4."),
                }  # fmt: skip
                found.append(visit("sweep", about, times, seed))
    return found


def search(visits: int = 3) -> list[Visit]:
    """Return visits of a search whose crossover lies at 75 %."""
    return [
        visit(
            "search", problem(sparsity, pattern="trained"),
            {"blas": 1e-4, "other-dense": 1.5e-4, "csr": 4e-4 * (1 - sparsity)}, seed,
        )
        for seed in range(visits)
        for sparsity in (0.0, 0.5, 0.7, 0.8, 0.9, 0.99)
    ]  # fmt: skip


def peers() -> list[Visit]:
    """Return two problems of squares: ours is 6 and 3 times as fast as the peer."""

    def about(side: int) -> ProblemRecord:
        return problem(m=side, k=side, layer=f"{side}x{side}", network="squares", accuracy=None)

    return [
        visit("peers", about(512), {"csr": 1e-5, "library-csr": 6e-5, "blas": 4e-5}),
        visit("peers", about(1024), {"csr": 1e-5, "library-csr": 3e-5, "blas": 1e-4}),
    ]  # fmt: skip


def gate() -> list[Visit]:
    """Return a first look of the gate: head takes 40 % longer."""
    about = problem(network="gate", accuracy=None)
    times = {"base:csr": 1e-5, "control:csr": 1e-5, "head:csr": 1.4e-5}
    return [visit("gate 0-1 first look", about, times, seed) for seed in range(16)]


def gate_study() -> StudyRecord:
    """Return the record of a first look of the gate."""
    sides = {
        name: {"is": "Version", "title": name, "commit": digest * 40, "committed_at": "",
               "digest": digest}
        for name, digest in (("base", "0"), ("head", "1"))
    }  # fmt: skip
    asked = {"look": "first look", "kernels": [], "threads": 4, "seed": 0, "modules": []}
    return study("gate", "gate 0-1 first look", **sides, **asked)


def step() -> list[Visit]:
    """Return three visits to a step: csr takes a third of the masked one, inside a quarter."""
    about = problem(computes="step", layer="all layers", pattern="initial", network="wide")
    return [
        visit("step", about, {
            "masked": row("masked", 3e-3, seed=seed, inside_samples=[2e-3] * 12),
            "csr": row("csr", 1e-3, seed=seed, inside_samples=[5e-4] * 12),
            "blocks": Row("blocks", "failed", "Planted."),
        }, seed)
        for seed in range(3)
    ]  # fmt: skip


def scaling() -> list[Visit]:
    """Return eight visits on one thread and on four: twice as fast at 90 %, as fast at 80 %."""
    return [
        visit(
            "scaling", problem(sparsity, threads=threads, pattern="random"),
            {"csr": 1e-4 / (2 if threads == 4 and sparsity == 0.9 else 1)}, seed,
        )
        for seed in range(8)
        for threads in (1, 4)
        for sparsity in (0.8, 0.9)
    ]  # fmt: skip


def regret() -> list[Visit]:
    """Return two problems: of one the kernel's own choice is the best, of the other 1.2 x it."""
    return [
        each
        for sparsity, own in ((0.5, 1e-5), (0.9, 1.2e-5))
        for each in visits(
            "regret", problem(sparsity, pattern="random"), {"csr": own, "blocks": 1e-5}
        )
    ]


def selfcheck() -> list[Visit]:
    """Return visits of the twins, and of the sweep whose overhead is looked at."""
    twins = [
        visit(checks.ITSELF, problem(), {
            name: row(name, 1e-4, rounds=40, seed=seed) for name in checks.TWINS
        }, seed)
        for seed in range(20)
    ]  # fmt: skip
    return [*twins, visit(checks.SWEEP, problem(), {"csr": 1e-4})]


#: What a plan says of batches of 1, 64 and 256 on four threads.
PLAN = {
    "version": 1, "network": "mine", "threads": 4, "machine": "",
    "layers": [{"name": "fc1", "shape": [300, 784], "relu": True},
               {"name": "fc2", "shape": [100, 300], "relu": False}],
    "choices": [{"least": 1, "way": "compiled", "kernels": ["csr", "csr"]},
                {"least": 64, "way": "kernels", "kernels": ["csr", "blas"]},
                {"least": 256, "way": "dense", "kernels": []}],
    "about": {"shares": [[1, 1, 1], [64, 16, 4], [256, 64, 4]]},
}  # fmt: skip


def plan() -> list[Visit]:
    """Return a plan's layers and three visits to it: twice, four times and once as fast."""
    layers = [
        visit("plan layers", problem(network="mine", layer=layer, m=m, k=k, batch=batch,
                                     threads=threads, accuracy=None),
              {"csr": size * 1e-6, "blas": size * 3e-6}, seed)
        for seed in range(3)
        for layer, m, k, size in (("fc1", 300, 784, 3), ("fc2", 100, 300, 1))
        for batch, threads in ((1, 1), (16, 1), (64, 1), (64, 4), (256, 4))
    ]  # fmt: skip
    call = visits(
        "plan layers", problem(0.0, network="one call", m=1, k=1, batch=1, threads=1),
        {"csr": 5e-7, "blas": 5e-7},
    )  # fmt: skip
    recipe = {"weights": {"plan": json.dumps(PLAN), "callers": 1}}
    whole = [
        visit("plan", problem(network="mine", layer="all layers", computes="network", batch=batch,
                              recipe=recipe, accuracy=0.97),
              {"planned": seconds, "glue": 1e-6, "numpy-network": faster * seconds,
               "numba-network": 2 * faster * seconds}, seed)
        for seed in range(3)
        for batch, seconds, faster in ((1, 4e-6, 2.0), (64, 7e-6, 4.0), (256, 1e-4, 1.0))
    ]  # fmt: skip
    return [*layers, *call, *whole]


def serving() -> list[Visit]:
    """Return three visits to a network that four call at a time: twice the throughput."""
    recipe = {"weights": {"plan": json.dumps(PLAN), "callers": 4}}
    about = problem(network="mine", layer="all layers", computes="serving", recipe=recipe)
    return [
        visit("serve-check", about, {
            name: row(name, seconds, seed=seed, p50_samples=[4 * seconds] * 12,
                      p99_samples=[9 * seconds] * 12)
            for name, seconds in (("planned", 1e-5), ("numpy-network", 2e-5))
        }, seed)
        for seed in range(3)
    ]  # fmt: skip


def everything() -> tuple[list[Visit], list[StudyRecord]]:
    """Return visits of every study, and what was asked."""
    from tests.reports import made_experiments  # which is made of what is here

    visits = [*sweep(), *search(), *peers(), *step(), *scaling(), *regret(), *selfcheck(), *gate(),
              *plan(), *serving(), *made_experiments.visits()]  # fmt: skip
    studies = [
        study("sweep"), study("search", confidence=0.95, width=0.02), study("peers"),
        study("step"), study("scaling"), study("regret", kernel="csr"),
        study("selfcheck", checks.ITSELF), study("selfcheck", checks.SWEEP), gate_study(),
        study("plan layers"), study("plan"),
        study("serve-check"), *map(study, made_experiments.EXPERIMENTS),
    ]  # fmt: skip
    return visits, studies
