"""Visits of each experiment, three seeds each, with planted times and accuracies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from crossover.bench.records.rows import HELD_OUT, ProblemRecord, Row, Visit
from tests.reports import made

SEEDS = range(3)
WIDE, SMALL = "784-500-500-10", "784-38-38-10"
#: Of each engine the seconds for 64 inputs; sparse ones by sparsity.
_DENSE_S = {"numpy-network": 3e-4, "numba-network": 1e-4}


def training_recipe(
    network: str, sparsity: float, method: str, seed: int, scope: str = "global", rate: float = 1.0
) -> dict[str, Any]:
    """Return a recipe as a store has it."""
    return {
        "is": "TrainingRecipe", "network": network, "sparsity": sparsity, "pattern": method,
        "scope": scope, "seed": seed, "images": 0, "length": 1.0, "rate": rate,
        "kernel": "csr",
    }  # fmt: skip


def about(
    network: str, sparsity: float, method: str, seed: int, computes: str, batch: int = 128,
    scope: str = "global", rate: float = 1.0, **fields: Any,
) -> ProblemRecord:  # fmt: skip
    """Return a problem of a network that was trained for a question."""
    recipe = {
        "weights": {"training": training_recipe(network, sparsity, method, seed, scope, rate)},
        "computes": computes, "batch": batch, "optimizer": fields.pop("optimizer", "adam"),
    }  # fmt: skip
    place = f"{network} {sparsity} {method} {scope} {seed} {rate}"
    name = f"{place} {computes} {batch} {recipe['optimizer']}"
    pattern = method if sparsity else "dense"
    problem = made.problem(
        sparsity, network=network, pattern=fields.pop("pattern", pattern), computes=computes,
        batch=batch, layer=fields.pop("layer", "all layers"), workload_id=name, recipe=recipe,
        accuracy=None, **{"m": 500, "k": 784} | fields,
    )  # fmt: skip
    return replace(problem, scope=scope)


def trained(
    series: str, network: str, sparsity: float, method: str, accuracy: float,
    batches: Sequence[int] = (1, 64), sparse_s: float | None = None, scope: str = "global",
    rate: float = 1.0, held_out: float = 0.9,
) -> Iterator[Visit]:  # fmt: skip
    """Yield a training and its races for each seed; accuracies are 0.001 apart."""
    for seed in SEEDS:
        row = Row("csr", "measured", samples=[2.0], loops=1, accuracies=[accuracy + 0.001 * seed],
                  facts={"train s": 2.0, "fc1 overlap": 0.3, "fc1 empty rows": 0.0,
                         "fc1 empty columns": 0.1, HELD_OUT: held_out},
                  stored_entries=100, nbytes=1000, busy_s=2.0)  # fmt: skip
        place = network, sparsity, method, seed
        yield made.visit(
            series, about(*place, "training", scope=scope, rate=rate), {"csr": row}, seed
        )
        for batch in batches:
            times: Mapping[str, float | Row] = _DENSE_S | {
                "tiled-network": sparse_s or 2e-4 * (1.05 - sparsity)
            }
            problem = about(*place, "network", batch, scope=scope)
            yield made.visit(series, problem, times, seed)


def learning_rates() -> Iterator[Visit]:
    """Yield a network that does best with four times the usual rate, and one with the usual."""
    for method, rate, accuracy, held_out in (
        ("gradual", 1.0, 0.96, 0.95), ("gradual", 4.0, 0.97, 0.94),
        ("rigl", 1.0, 0.9, 0.91), ("rigl", 4.0, 0.93, 0.92),
    ):  # fmt: skip
        yield from trained(
            "learning-rates", WIDE, 0.95, method, accuracy, (), rate=rate, held_out=held_out
        )


def random_vs_pruned() -> Iterator[Visit]:
    """Yield networks of which the pruned one is the best, and regrown ones are next."""
    name = "random-vs-pruned"
    for method, accuracy, rate in (
        ("gradual", 0.95, 1.0), ("random", 0.9, 4.0), ("random", 0.8, 1.0),
        ("erdos-renyi", 0.91, 4.0), ("rigl", 0.93, 4.0),
        ("pruned-mask-original", 0.9505, 4.0),
    ):  # fmt: skip
        yield from trained(name, WIDE, 0.95, method, accuracy, (), rate=rate)
    yield from trained(name, SMALL, 0.0, "gradual", 0.92, ())
    yield from trained(name, SMALL, 0.95, "gradual", 0.85, ())


def prune_until_it_pays() -> Iterator[Visit]:
    """Yield a network that is faster sparse from between 50 and 80 %, as accurate up to 90 %."""
    for sparsity, accuracy in ((0.0, 0.97), (0.5, 0.97), (0.8, 0.972), (0.9, 0.97), (0.95, 0.9)):
        method = "gradual"
        yield from trained("prune-until-it-pays", "wide", sparsity, method, accuracy)


def headline() -> Iterator[Visit]:
    """Yield a narrow dense network, and a wide one that is as accurate at 80 %, not at 95 %."""
    yield from trained("headline", SMALL, 0.0, "gradual", 0.95)
    yield from trained("headline", WIDE, 0.8, "gradual", 0.96)
    yield from trained("headline", WIDE, 0.95, "gradual", 0.9)


def pruning_ways() -> Iterator[Visit]:
    """Yield ways of which gradual errs the least, and blocks are the fastest."""
    name = "pruning-ways"
    yield from trained(name, "wide", 0.0, "gradual", 0.97)
    yield from trained(name, "wide", 0.95, "gradual", 0.97)
    yield from trained(name, "wide", 0.95, "gradual", 0.9695, scope="layer")
    yield from trained(name, "wide", 0.95, "block", 0.93, sparse_s=1e-5)


def structure() -> Iterator[Visit]:
    """Yield a pruned network whose layer is 1.2 times as fast as with entries elsewhere."""
    yield from trained("structure", "lenet-300-100", 0.9, "gradual", 0.98, ())
    for seed in SEEDS:
        for arrangement, seconds in (("as pruned", 1.0e-5), ("random", 1.2e-5)):
            problem = about("lenet-300-100", 0.9, "gradual", seed, "forward", 64, layer="fc1",
                            pattern=arrangement)  # fmt: skip
            name = f"{problem.workload_id} {arrangement}"
            problem = replace(problem, problem_id=name, workload_id=name)
            yield made.visit("structure", problem, {"csr": seconds, "numba-tiled": seconds}, seed)


def cpu_vs_gpu(gpu: bool = True) -> Iterator[Visit]:
    """Yield a network that the GPU runs slower for one input, and faster for 64; or not at all."""
    for visit in trained("cpu-vs-gpu", "lenet-300-100", 0.9, "gradual", 0.98):
        if visit.problem.computes == "network":
            row = Row("cupy-network", "skipped", "No GPU is here.")
            if gpu:
                row = made.row("cupy-network", 5e-5 if visit.problem.batch == 1 else 1e-5)
            visit = replace(visit, rows={**visit.rows, "cupy-network": row})
        yield visit


def same_results() -> Iterator[Visit]:
    """Yield two kernels that train alike, and one whose weights are wrong."""
    for seed in SEEDS:
        for optimizer, last in (("sgd", 1e-6), ("adam", 1e-3)):
            problem = about("lenet-300-100", 0.9, "erdos-renyi", seed, "first steps",
                            optimizer=optimizer)  # fmt: skip
            rows = {
                name: made.row(name, 1e-3, 8, seed, differences=[1e-7, 2e-7, last * (1 + seed)])
                for name in ("csr", "masked")
            }
            rows["blocks"] = Row("blocks", "wrong", "after 4 steps its weights differ.")
            yield made.visit("same-results", problem, rows, seed)
        problem = about("lenet-300-100", 0.9, "erdos-renyi", seed, "epoch")
        rows = {
            name: made.row(name, 1.0, 2, seed, accuracies=[0.9, accuracy + 0.002 * seed])
            for name, accuracy in (("csr", 0.95), ("masked", 0.9501))
        }
        yield made.visit("same-results", problem, rows, seed)


def training_step() -> Iterator[Visit]:
    """Yield steps that are faster from between 50 and 80 %, and Nerva's at two sparsities."""
    for seed in SEEDS:
        for network, sparsity, seconds in (
            ("wide", 0.5, 6e-3), ("wide", 0.8, 2e-3), ("wide", 0.95, 1e-3),
            ("cifar-10-mlp", 0.5, 9e-3), ("cifar-10-mlp", 0.9, 2e-3),
        ):  # fmt: skip
            problem = about(network, sparsity, "gradual", seed, "step", 100, pattern="random",
                            optimizer="sgd")  # fmt: skip
            rows = {
                name: made.row(
                    name,
                    time,
                    seed=seed,
                    inside_samples=[0.8 * time] * 12,
                    part_samples={"forward": [0.4 * time] * 12, "update": [update] * 12},
                )
                for name, time, update in (("masked", 4e-3, 1e-4), ("csr", seconds, 2e-4))
            }
            yield made.visit("training-step", problem, rows, seed)


def epoch() -> Iterator[Visit]:
    """Yield epochs of which the sparse one takes a fifth, at the same accuracy."""
    for seed in SEEDS:
        problem = about("wide", 0.9, "erdos-renyi-scaled", seed, "epoch")
        rows = {
            name: made.row(name, seconds, 2, seed, accuracies=[0.9, 0.95 + 0.001 * seed])
            for name, seconds in (("masked", 10.0), ("csr", 2.0))
        }
        yield made.visit("epoch", problem, rows, seed)


EXPERIMENTS = {
    "same-results": same_results, "training-step": training_step, "epoch": epoch,
    "learning-rates": learning_rates, "random-vs-pruned": random_vs_pruned,
    "prune-until-it-pays": prune_until_it_pays,
    "headline": headline, "pruning-ways": pruning_ways, "structure": structure,
    "cpu-vs-gpu": cpu_vs_gpu,
}  # fmt: skip


def visits() -> list[Visit]:
    """Return the visits of every experiment."""
    return [visit for each in EXPERIMENTS.values() for visit in each()]
