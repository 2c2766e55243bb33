"""The study of a kernel's own choices: what is raced, and what there is to choose."""

from __future__ import annotations

import pytest

from crossover.bench.errors import InputError
from crossover.bench.studies.kernels.considered import considered
from crossover.bench.studies.kernels.regret import Regret, RegretSpec
from crossover.bench.studies.study import ignore
from crossover.bench.workloads.matrices import RandomMatrix
from crossover.kernels import discover, variants
from crossover.kernels.base import PASSES, Kernel, Pass, Problem
from crossover.kernels.cpu.numba_tiled import NumbaTiled

pytestmark = pytest.mark.usefixtures("planted")
KERNEL = discover()["numba-tiled"]


def tiled(kernel: Kernel) -> NumbaTiled:
    assert isinstance(kernel, NumbaTiled)
    return kernel


def test_each_problem_is_visited_three_times_by_all_that_it_has_a_choice_of() -> None:
    study = Regret(
        RegretSpec(shapes=((12, 80), (100, 12)), sparsities=(0.5,), batches=(4,), passes=PASSES[:2])
    )
    study.begin(ignore)
    raced: dict[str, set[tuple[str, ...]]] = {}
    for each in study.planned:
        raced.setdefault(each.problem.title, set()).add(each.kernels)
    assert len(study.planned) == 3 * len(raced) == 12
    assert all(len(kernels) == 1 for kernels in raced.values())
    columns = {title: [n for n in names if "-64-" in n] for title, (names,) in raced.items()}
    # Blocks go along X's rows: of Wᵀ dY these are W's.
    wide = {"12x80": "forward", "100x12": "backward_input"}
    for title, found in columns.items():
        assert bool(found) == any(a in title and b in title for a, b in wide.items()), title
    assert all(names[0] == "numba-tiled" for (names,) in raced.values())


def test_a_kernel_without_variants_is_refused() -> None:
    with pytest.raises(InputError, match="give numba-tiled"):
        Regret(RegretSpec(kernel="numpy-dense"))


def test_variants_have_what_they_are_named_for() -> None:
    weight = RandomMatrix("", 200, 200, 0.5).weight()
    blocks = {
        name: tiled(kernel).prepare(weight).main.groups.block
        for name, kernel in variants.of(KERNEL).items()
        if "columns" in name
    }
    assert blocks["numba-tiled-64-columns"] == 67  # three blocks of equal size
    assert blocks["numba-tiled-all-columns"] == 200
    packed = tiled(variants.of(KERNEL)["numba-tiled-64-columns-packed"])
    assert packed.prepare(weight).main.packing_pays
    assert "packs batches beyond 64" in str(
        packed.unsupported(Problem("forward", 200, 200, 64, 20_000))
    )
    assert packed.unsupported(Problem("forward", 200, 200, 65, 20_000)) is None


@pytest.mark.parametrize("pass_", PASSES)
def test_what_else_was_considered_comes_quickest_first(pass_: Pass) -> None:
    weight = RandomMatrix("", 40, 90, 0.5).weight()
    found = considered(KERNEL, weight, pass_, 8)
    assert [each.over_own for each in found] == sorted(each.over_own for each in found)
    assert "Numba CSR in registers, blocks of all columns" in [each.title for each in found]
    assert considered(discover()["numpy-dense"], weight, "forward", 8) == []
