"""Ours against every peer: who takes part, on what, and in which order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crossover.bench.errors import InputError
from crossover.bench.studies.kernels.peers import Peers, PeersSpec
from crossover.bench.studies.study import ignore
from crossover.bench.workloads.matrices import PatternFile
from tests.small_studies import peers

pytestmark = pytest.mark.usefixtures("planted")
SPEC = PeersSpec(networks=(), squares=(16,), batches=(4,), sparsities=(0.5,))


def test_ours_race_every_peer_and_every_dense_kernel() -> None:
    study = Peers(SPEC)
    roles = {name: study.kernels[name].role for name in study.asked}
    assert set(roles.values()) >= {"ours", "peer", "dense"}
    assert "masked dense" not in roles.values()
    assert {study.kernels[name].device for name in roles} == {"cpu"}
    there = [n for n, k in study.kernels.items() if k.device == "cpu" and not k.unavailable()]
    assert {n for n in there if study.kernels[n].role == "peer"} <= set(roles)
    chosen = peers().asked
    assert chosen[0] == "fake-halving"
    assert "fake-slow" not in chosen  # ours that nobody asked for
    assert {"scipy-csr", "numpy-dense", "fake-steady"} <= set(chosen)


def test_each_problem_is_visited_once_by_matrix_in_random_order() -> None:
    study = Peers(replace(SPEC, squares=(16, 24, 32), batches=(4, 8), passes=("forward",)))
    study.begin(ignore)
    problems = [each.problem for each in study.planned]
    assert len(set(problems)) == len(problems) == 6
    sides = [each.workload.weights.labels.layer for each in problems]
    assert sides[::2] == sides[1::2]  # both batches of a matrix together: it is made once
    orders = set()
    for seed in range(6):
        other = Peers(replace(study.spec, seed=seed))
        other.begin(ignore)
        orders.add(tuple(each.problem.workload.weights.labels.layer for each in other.planned))
    assert len(orders) > 1


def test_networks_files_and_squares_are_all_there(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "layer.smtx").write_text("3, 4, 3\n0 2 2 3\n0 3 1\n")
    study = Peers(replace(SPEC, networks=("tiny",), dlmc=tmp_path, passes=("forward",)))
    study.begin(ignore)
    weights = [each.problem.workload.weights for each in study.planned]
    assert {each.labels.network for each in weights} == {"tiny", "DLMC", "squares"}
    (file,) = [each for each in weights if isinstance(each, PatternFile)]
    assert (file.name, file.shape, file.sparsity) == ("deep/layer.smtx", (3, 4), 0.75)
    blocks = Peers(replace(SPEC, networks=("tiny",), pattern="block"))
    blocks.begin(ignore)
    assert {each.problem.workload.weights.labels.pattern for each in blocks.planned} == {"block"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kernels": ("nothing",)}, "unknown kernel 'nothing'"),
        ({"squares": (0,)}, "outside 1 to 32768"),
        ({"squares": ()}, "nothing to compare on"),
        ({"squares": (64,), "batches": (99_999_999_999,)}, "GiB are free"),
        ({"dlmc": Path("nowhere")}, "nowhere is no folder"),
        ({"networks": ("alexnet",)}, "unknown network 'alexnet'"),
    ],
)
def test_what_is_not_possible_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Peers(replace(SPEC, **changes))  # type: ignore[arg-type]
