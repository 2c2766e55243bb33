"""The GPU kernels that call libraries, on a fake CUDA: the calls and their arguments, no GPU.

The contract tests run again over these kernels. What the libraries compute is for a machine with a
GPU: ``pytest -m gpu``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from crossover.kernels import discover
from crossover.kernels.base import FP16, TF32, Kernel, Pass, Weight
from crossover.kernels.cuda import cublas, cusparse_plans
from crossover.kernels.cuda.cupy_dense import FusedUpdate
from crossover.kernels.cuda.cusparse import CusparseKernel
from crossover.kernels.oracle import Oracle
from tests.kernels.fake_cuda import FakeCuda, cut_to_tf32, installed
from tests.kernels.problems import SHAPES, Shape, draw
from tests.kernels.test_contract import (  # noqa: F401 - they run here over this module's kernels
    check_replay,
    compute,
    test_conversions_are_exact,
    test_explicit_zeros_are_stored_and_trained,
    test_nonfinite_values_pass_through,
    test_operand_counts_its_bytes_and_entries,
    test_operand_owns_its_memory,
    test_pass_is_within_its_bound,
    test_update_is_in_place_and_keeps_the_pattern,
)

CUSPARSE = [n for n, kernel in discover().items() if isinstance(kernel, CusparseKernel)]
NAMES = [n for n, kernel in discover().items() if isinstance(kernel, FusedUpdate)] + CUSPARSE
BLOCKS = next(shape for shape in SHAPES if shape.name == "blocks")
PASS_NAMES: tuple[Pass, ...] = ("forward", "backward_input", "backward_weight")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    with installed(monkeypatch) as cuda:
        yield cuda


@pytest.fixture(params=NAMES)
def kernel(request: pytest.FixtureRequest, fake: FakeCuda) -> Kernel:
    """Each kernel that calls a library, on the fake CUDA."""
    found = discover()[request.param]
    assert found.unavailable() is None
    return found


def test_all_of_the_library_kernels_are_here() -> None:
    assert {"cupy-dense", "cupy-dense-tf32", "cupy-dense-fp16", "cupy-masked-fused"} <= set(NAMES)
    assert len(CUSPARSE) == 5


def operands(kernel: Kernel, shape: Shape) -> tuple[Weight, Any, Any, Any]:
    drawn = draw(shape, salt=kernel.name)
    return drawn.weight, kernel.prepare(drawn.weight), kernel.put(drawn.x), kernel.put(drawn.dy)


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("pass_", PASS_NAMES)
def test_a_call_allocates_nothing(kernel: Kernel, fake: FakeCuda, pass_: Pass, n: int) -> None:
    shape = Shape("blocks", 32, 48, n, 0.5, "blocks")
    weight, operand, x, dy = operands(kernel, shape)
    out = kernel.put(np.zeros(kernel.output_shape(operand, pass_, weight.shape, n), np.float32))
    assert kernel.run(pass_, operand, x, dy, out) is out
    before = fake.allocations
    for _ in range(3):
        kernel.run(pass_, operand, x, dy, out)
    assert fake.allocations == before


@pytest.mark.parametrize("pass_", PASS_NAMES)
def test_a_replayed_graph_is_right(kernel: Kernel, pass_: Pass) -> None:
    check_replay(kernel, pass_)


def test_an_update_of_blocks_reaches_every_pass(kernel: Kernel) -> None:
    weight, operand, x, dy = operands(kernel, BLOCKS)
    pattern = weight.pattern.copy()
    pattern[np.argwhere(pattern)[1][0], np.argwhere(pattern)[1][1]] = False  # a hole in a block
    weight = Weight(np.where(pattern, weight.values, 0).astype(np.float32), pattern)
    operand = kernel.prepare(weight)
    out = kernel.put(np.zeros(kernel.gradient_shape(operand), np.float32))
    gradient = kernel.backward_weight(operand, dy, x, out)
    kernel.update(operand, gradient, 0.25)
    after = kernel.dense_weight(operand)
    assert not (kernel.keeps_zeros and after[~pattern].any())
    held = Weight(after, pattern if kernel.keeps_zeros else np.ones_like(pattern))
    oracle = Oracle(held, np.array(x), np.array(dy))
    for pass_ in PASS_NAMES[:2]:
        result = compute(kernel, operand, pass_, np.array(x), np.array(dy), held)
        verdict = oracle.check(pass_, result, kernel.arithmetic["float32"])
        assert verdict.right, f"{pass_}: {verdict.problem}"


@pytest.mark.parametrize("name", CUSPARSE)
def test_a_plan_is_made_once_and_follows_its_arrays(name: str, fake: FakeCuda) -> None:
    kernel = discover()[name]
    weight, operand, x, dy = operands(kernel, BLOCKS)
    for _ in range(2):
        for pass_ in PASS_NAMES:
            shape = kernel.output_shape(operand, pass_, weight.shape, BLOCKS.n)
            out = kernel.put(np.full(shape, np.nan, np.float32))
            moved_x, moved_dy = kernel.put(np.array(x)), kernel.put(np.array(dy))
            result = kernel.run(pass_, operand, moved_x, moved_dy, out)
            assert np.isfinite(np.array(result)).all()
            fake.stream += 1  # the next call must follow to another stream
    assert len(fake.named("sp_mm_preprocess")) == 2
    assert len(fake.named("sddmm_preprocess")) == 1
    assert len(fake.named("sp_mm")) == 4
    chosen = {given[9] for given in fake.named("sp_mm")}
    assert [each.name for each in chosen] == [kernel.algorithm]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", CUSPARSE)
def test_a_single_image_is_a_vector(name: str, fake: FakeCuda) -> None:
    kernel = discover()[name]
    _, operand, x, _ = operands(kernel, Shape("blocks", 32, 48, 1, 0.5, "blocks"))
    out = kernel.put(np.zeros((32, 1), np.float32))
    kernel.forward(operand, x, out)
    assert len(fake.named("sp_mv")) == 1
    assert not fake.named("sp_mm")


def test_descriptors_are_destroyed_with_their_operand(fake: FakeCuda) -> None:
    kernel = discover()["cusparse-csr"]
    for n in (1, 4):
        weight, operand, x, dy = operands(kernel, Shape("any", 9, 14, n, 0.3))
        for pass_ in PASS_NAMES:
            shape = kernel.output_shape(operand, pass_, weight.shape, n)
            kernel.run(pass_, operand, x, dy, kernel.put(np.zeros(shape, np.float32)))
        assert fake.descriptors
        del operand
    assert not fake.descriptors


def test_a_driver_without_its_libraries_is_a_sentence(
    fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: Any, **__: Any) -> Any:
        raise RuntimeError("libcublas.so.12: cannot open shared object file\nmore")

    monkeypatch.setattr(sys.modules["cupy"], "matmul", lacking)
    for name in NAMES:
        reason = discover()[name].unavailable()
        assert reason == (
            "CuPy cannot compute here (libcublas.so.12: cannot open shared object file): "
            "install the extra cuda12 or cuda13."
        )


def test_without_the_binding_cusparse_says_so(
    fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> Any:
        raise ImportError("No module named 'nvmath'")

    monkeypatch.setattr(cusparse_plans, "_binding", absent)
    reason = discover()["cusparse-csr"].unavailable()
    assert reason is not None
    assert "No module named 'nvmath'" in reason
    assert reason.endswith("install the extra cuda12 or cuda13.")


def test_blocks_are_asked_for_where_there_are_none(fake: FakeCuda) -> None:
    kernel = discover()["cusparse-bsr"]
    assert "no blocks" in str(kernel.unfit(draw(Shape("any", 16, 16, 4, 0.3)).weight))
    assert kernel.unfit(draw(BLOCKS).weight) is None


def test_fp16_refuses_what_it_cannot_hold(fake: FakeCuda) -> None:
    kernel = discover()["cupy-dense-fp16"]
    assert kernel.unfit(Weight.from_dense(np.array([[65504.0, np.inf]], np.float32))) is None
    assert "beyond fp16" in str(
        kernel.unfit(Weight.from_dense(np.array([[65536.0, 1.0]], np.float32)))
    )


def test_fp16_overflow_of_x_is_wrong_not_excused(fake: FakeCuda) -> None:
    kernel = discover()["cupy-dense-fp16"]
    weight = Weight.from_dense(np.array([[1.0, 2.0]], np.float32))
    x, dy = np.array([[1e5], [1.0]], np.float32), np.array([[1.0]], np.float32)
    with np.errstate(over="ignore"):
        result = compute(kernel, kernel.prepare(weight), "forward", x, dy, weight)
    assert not Oracle(weight, x, dy).check("forward", result, FP16).right


def test_fp16_subnormal_operands_are_within_their_bound_and_no_other(fake: FakeCuda) -> None:
    rng = np.random.default_rng(1)
    weight = Weight.from_dense((1e-6 * rng.standard_normal((8, 12))).astype(np.float32))
    x = rng.standard_normal((12, 5)).astype(np.float32)
    dy = np.ones((8, 5), np.float32)
    kernel = discover()["cupy-dense-fp16"]
    result = compute(kernel, kernel.prepare(weight), "forward", x, dy, weight)
    oracle = Oracle(weight, x, dy)
    assert oracle.check("forward", result, FP16).right
    assert not oracle.check("forward", result, TF32).right  # finer than that it is not
    assert not oracle.check("forward", result * np.float32(1.2), FP16).right


def test_tf32_is_told_from_fp32(fake: FakeCuda) -> None:
    drawn = draw(Shape("any", 20, 30, 9, 1.0))
    kernel = discover()["cupy-dense-tf32"]
    operand = kernel.prepare(drawn.weight)
    result = compute(kernel, operand, "forward", drawn.x, drawn.dy, drawn.weight)
    oracle = Oracle(drawn.weight, drawn.x, drawn.dy)
    assert oracle.check("forward", result, TF32).right
    assert not oracle.check("forward", result, kernel.arithmetic["float32"].__class__(
        "fp32", 0.0, 2.0**-24
    )).right  # fmt: skip
    assert (cut_to_tf32(drawn.x) != drawn.x).any()


def test_a_strided_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="contiguous in one order"):
        cublas.layout(np.zeros((6, 8))[::2, ::2])
