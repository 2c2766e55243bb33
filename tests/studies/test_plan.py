"""What a plan chooses, and how it tells what it costs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from crossover.bench.errors import InputError
from crossover.bench.statistics.comparison import Contest, contests
from crossover.bench.statistics.intervals import Interval
from crossover.bench.statistics.networks import ONE_CALL, LayerChoice, planned
from crossover.bench.studies.networks import Pruning
from crossover.bench.studies.plan.asking import Asked, PlanSpec
from crossover.bench.studies.plan.choosing import chosen, merged
from crossover.bench.studies.study import ignore
from crossover.kernels.serving import Choice
from tests.examples import kernel, problem, visits
from tests.workloads.readers.examples import WRITERS, chain

KERNELS = {name: kernel(name) for name in ("numba-tiled", "numba-dense", "numba-sell", "other")}


def race(
    layer: str, threads: int, batch: int, **times: float
) -> tuple[tuple[str, int, int], Contest]:
    of = problem(f"{layer}-{threads}-{batch}", layer=layer, threads=threads, batch=batch)
    samples = {name.replace("_", "-"): [time] * 6 for name, time in times.items()}
    (contest,) = contests(visits(of, samples), KERNELS)
    return (layer, threads, batch), contest


def test_the_fastest_of_each_layer_and_batch_is_chosen() -> None:
    measured = dict([
        race("a", 1, 1, numba_tiled=3e-6, numba_sell=2e-6, other=1e-6),
        race("a", 1, 16, numba_tiled=5e-6, numba_dense=9e-6),
        race("b", 1, 1, numba_dense=1e-6, numba_tiled=2e-6),
        race("b", 1, 16, numba_dense=4e-6, numba_tiled=2e-6),
    ])  # fmt: skip
    one, many = chosen(measured, ["a", "b"], [1, 32], 2, "compiled")
    assert one.choice == Choice(1, "compiled", ("numba-sell", "numba-dense"))
    # 32 inputs are 16 for each of two threads.
    assert many.choice == Choice(32, "compiled", ("numba-tiled", "numba-tiled"))
    assert many.time_s == pytest.approx(7e-6)


def test_a_kernel_that_holds_an_operand_already_is_kept_if_it_is_nearly_as_fast() -> None:
    def kernels(tiled: float) -> list[tuple[str, ...]]:
        measured = dict([
            race("a", 1, 1, numba_dense=1e-6, numba_tiled=9e-6),
            race("a", 1, 2, numba_dense=1e-6, numba_tiled=tiled),
        ])  # fmt: skip
        return [each.choice.kernels for each in chosen(measured, ["a"], [1, 2], 1, "compiled")]

    assert kernels(0.98e-6) == [("numba-dense",), ("numba-dense",)]
    assert kernels(0.90e-6) == [("numba-dense",), ("numba-tiled",)]


def test_choices_that_change_nothing_are_merged() -> None:
    tiled, dense = ("numba-tiled",), ("numba-dense",)
    given = [Choice(2, "compiled", dense), Choice(4, "compiled", dense),
             Choice(8, "compiled", tiled), Choice(16, "dense")]  # fmt: skip
    assert merged(given) == (
        Choice(1, "compiled", dense), Choice(8, "compiled", tiled), Choice(16, "dense"),
    )  # fmt: skip


def test_the_prediction_is_the_sum_of_products_without_their_own_calls() -> None:
    plan = {
        "layers": [{"name": "a"}, {"name": "b"}],
        "choices": [{"least": 1, "way": "compiled", "kernels": ["numba-tiled", "numba-dense"]}],
        "about": {"shares": [[256, 64, 2]]},
    }
    asked = problem(network="net", batch=256, threads=2, computes="network")
    races = [
        race("a", 1, 64, numba_tiled=5e-6, numba_dense=9e-6)[1],
        race("b", 1, 64, numba_tiled=6e-6, numba_dense=4e-6)[1],
    ]
    calls = problem("call", network=ONE_CALL, layer="1x1", threads=1, batch=1)
    (call,) = contests(visits(calls, {n: [1e-6] * 6 for n in ("numba-tiled", "numba-dense")}),
                       KERNELS)  # fmt: skip
    network = races[0].problem.network
    asked = problem(network=network, batch=256, threads=2, computes="network")
    found = planned(plan, asked, [*races, call])
    # 256 inputs for two threads, 64 at a time: each layer is run twice by each.
    assert [each.time.median for each in found.layers] == pytest.approx([10e-6, 8e-6])
    assert [each.runner_up for each in found.layers] == ["numba-dense", "numba-tiled"]
    assert found.layers[0].behind == pytest.approx(0.8)
    assert found.layers[0].regret == 0
    assert found.products_s == pytest.approx(18e-6 - 2 * 1e-6)
    assert math.isnan(planned(plan, asked, races[:1]).products_s)


@pytest.mark.parametrize(
    ("given", "batches"),
    [("1-256", (1, 2, 4, 8, 16, 32, 64, 128, 256)), ("64", (64,)), ("3-9", (3, 4, 8, 9))],
)
def test_a_range_of_batches_is_measured_at_powers_of_two(
    given: str, batches: tuple[int, ...]
) -> None:
    assert PlanSpec(batch=given).batches == batches


@pytest.mark.parametrize("given", ["", "0", "9-3", "x", "1-", "-4", "1-9999999", "1.5"])
def test_what_is_no_range_is_one_line(given: str) -> None:
    with pytest.raises(InputError, match="is no range"):
        _ = PlanSpec(batch=given).batches


def test_a_loss_of_accuracy_chooses_the_sparsest_that_keeps_it(tmp_path: Path) -> None:
    WRITERS[".safetensors"](tmp_path / "net.safetensors", chain((40, 30, 10)))
    inputs = np.random.default_rng(0).standard_normal((500, 40), np.float32)
    np.save(tmp_path / "x.npy", inputs)
    spec = PlanSpec(str(tmp_path / "net.safetensors"), inputs=tmp_path / "x.npy")
    labels = np.zeros(500, int)
    np.save(tmp_path / "y.npy", labels)
    spec = PlanSpec(spec.network, inputs=spec.inputs, labels=tmp_path / "y.npy", accuracy_loss=0)
    found = Asked(spec)
    all_ = found.source.at(Pruning(found.sparsities, "gradual", "global", 0), ignore)  # fmt: skip
    accuracies = [layers[0].labels.accuracy or 0.0 for layers in all_]
    choice = found.choose(ignore)
    kept = [i for i, a in enumerate(accuracies) if a >= accuracies[0] - 1e-9]
    wanted = all_[kept[-1]][0].labels.network_sparsity
    assert choice.sparsity == pytest.approx(wanted, abs=0.01)
    generous = Asked(PlanSpec(spec.network, inputs=spec.inputs, labels=spec.labels,
                              accuracy_loss=100)).choose(ignore)  # fmt: skip
    assert generous.sparsity == pytest.approx(0.98, abs=0.01)


def test_what_cannot_be_planned_is_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 4), np.float32))
    np.save(tmp_path / "b.npy", np.ones((3, 4), np.float32))
    for spec, said in (
        (PlanSpec("lenet-5"), "conv1 is a convolution"),
        (PlanSpec(str(tmp_path)), "shapes do not chain"),
        (PlanSpec("30-20", sparsity=0.5, accuracy_loss=1.0), "give one of them"),
        (PlanSpec("30-20", accuracy_loss=-1.0), "is below 0"),
        (PlanSpec("30-20", accuracy_loss=1.0), "give --inputs and --labels"),
    ):
        with pytest.raises(InputError, match=said):
            Asked(spec)


def test_without_an_interval_nothing_is_said_of_regret() -> None:
    time = Interval(math.nan, 1e-6, math.nan)
    assert math.isnan(LayerChoice("a", "csr", time, "blas", 2e-6).regret)
    assert math.isnan(LayerChoice("a", "csr", Interval(1.0, 1.0, 1.0), "", math.nan).regret)
    assert LayerChoice("a", "csr", Interval(1.0, 2.0, 3.0), "blas", 2.5).regret == pytest.approx(
        0.2
    )
    assert LayerChoice("a", "csr", Interval(1.0, 2.0, 3.0), "blas", 4.0).regret == 0
