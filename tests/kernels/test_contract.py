"""Every kernel on the contract: all passes, hard shapes, all dtypes, against the oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossover.kernels import discover
from crossover.kernels.base import PASSES, Array, Kernel, Pass, Problem, Weight
from crossover.kernels.cuda.numba.arrays import simulated
from crossover.kernels.oracle import Oracle
from tests.kernels.problems import SHAPES, Drawn, Shape, draw

KERNELS = discover()
SMALL = Shape("small", 19, 23, 6, 0.3)


RUNNING = [name for name, kernel in KERNELS.items() if not kernel.unavailable()]


@pytest.fixture(params=RUNNING)
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """Each kernel that runs on this machine."""
    return KERNELS[request.param]


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_that_did_not_run_is_reported(name: str) -> None:
    if reason := KERNELS[name].unavailable():
        pytest.skip(f"{name} not run: {reason}")


def small(kernel: Kernel) -> Shape:
    """Return a small shape that ``kernel`` computes: some are for one image only."""
    problem = Problem("forward", SMALL.m, SMALL.k, SMALL.n, 1)
    return replace(SMALL, n=1) if kernel.unsupported(problem) else SMALL


def compute(
    kernel: Kernel, operand: Any, pass_: Pass, x: Array, dy: Array, weight: Weight
) -> Array:
    """Return the result of a pass on the host, its output poisoned before."""
    shape = kernel.output_shape(operand, pass_, weight.shape, x.shape[1])
    out = kernel.put(np.full(shape, np.nan, x.dtype))
    result = kernel.run(pass_, operand, kernel.put(x), kernel.put(dy), out)
    if pass_ == "backward_weight":
        return kernel.dense_gradient(operand, result)
    return kernel.fetch(result)


def prepare(kernel: Kernel, weight: Weight) -> Any:
    """Return the operand; skips a test whose weight the kernel says it cannot hold."""
    if reason := kernel.unfit(weight):
        pytest.skip(f"{kernel.name}: {reason}")
    return kernel.prepare(weight)


def too_slow_in_the_simulator(kernel: Kernel, shape: Shape, pass_: Pass) -> bool:
    """A simulated thread is a real one: 70,001 rows of output take half an hour."""
    slow = kernel.name.startswith("numba-cuda") and simulated()
    return slow and shape.k > 1000 and pass_ == "backward_input"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("pass_", PASSES)
def test_pass_is_within_its_bound(kernel: Kernel, pass_: Pass, shape: Shape, dtype: str) -> None:
    drawn = draw(shape, np.dtype(dtype), kernel.name + pass_)
    problem = Problem(pass_, shape.m, shape.k, shape.n, drawn.weight.nnz, dtype)
    if reason := kernel.unsupported(problem):
        pytest.skip(reason)
    if too_slow_in_the_simulator(kernel, shape, pass_):
        pytest.skip("not run: too many threads for the simulator")
    operand = prepare(kernel, drawn.weight)
    result = compute(kernel, operand, pass_, drawn.x, drawn.dy, drawn.weight)
    verdict = Oracle(drawn.weight, drawn.x, drawn.dy).check(pass_, result, kernel.arithmetic[dtype])
    assert verdict.right, verdict.problem


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["weight", "x", "dy"])
@pytest.mark.parametrize("pass_", PASSES)
def test_nonfinite_values_pass_through(
    kernel: Kernel, pass_: Pass, place: str, value: float
) -> None:
    if pass_ not in kernel.passes:
        pytest.skip(f"{kernel.name} has no {pass_} pass.")
    drawn = draw(small(kernel), salt=kernel.name + pass_ + place)
    values, x, dy = drawn.weight.values.copy(), drawn.x.copy(), drawn.dy.copy()
    row, column = np.argwhere(drawn.weight.pattern)[3]
    if place == "weight":
        values[row, column] = value
    elif place == "x":
        x[column, -1] = value
    else:
        dy[row, -1] = value
    weight = Weight(values, drawn.weight.pattern)
    with np.errstate(invalid="ignore"):  # infinity minus infinity is expected here
        result = compute(kernel, prepare(kernel, weight), pass_, x, dy, weight)
    verdict = Oracle(weight, x, dy).check(pass_, result, kernel.arithmetic["float32"])
    assert verdict.right, verdict.problem
    reached = {"weight": pass_ != "backward_weight", "x": pass_ != "backward_input",
               "dy": pass_ != "forward"}[place]  # fmt: skip
    compared = result[drawn.weight.pattern] if pass_ == "backward_weight" else result
    assert np.isfinite(compared).all() != reached


def test_update_is_in_place_and_keeps_the_pattern(kernel: Kernel) -> None:
    drawn = draw(small(kernel), salt=kernel.name)
    operand = prepare(kernel, drawn.weight)
    shape = kernel.gradient_shape(operand)
    gradient = kernel.put(np.linspace(1, 2, int(np.prod(shape)), dtype=np.float32).reshape(shape))
    if "backward_weight" in kernel.passes:
        out = kernel.put(np.full(shape, np.nan, np.float32))
        gradient = kernel.backward_weight(operand, kernel.put(drawn.dy), kernel.put(drawn.x), out)
    step = kernel.dense_gradient(operand, gradient)
    kernel.update(operand, gradient, 0.5)
    pattern = drawn.weight.pattern
    expected = drawn.weight.values - np.float32(0.5) * step
    after = kernel.dense_weight(operand)
    np.testing.assert_allclose(after[pattern], expected[pattern], rtol=1e-5, atol=1e-6)
    if kernel.keeps_zeros:
        assert not after[~pattern].any()
    # Every pass must see the new values, through whatever copies of W the operand holds.
    updated = Weight(after, pattern if kernel.keeps_zeros else np.ones_like(pattern))
    oracle = Oracle(updated, drawn.x, drawn.dy)
    for pass_ in kernel.passes:
        result = compute(kernel, operand, pass_, drawn.x, drawn.dy, updated)
        verdict = oracle.check(pass_, result, kernel.arithmetic["float32"])
        if pass_ != "backward_weight":
            assert verdict.right, f"{pass_}: {verdict.problem}"


def test_operand_owns_its_memory(kernel: Kernel) -> None:
    drawn = draw(small(kernel), salt=kernel.name)
    source = Weight(drawn.weight.values.copy(), drawn.weight.pattern.copy())
    operand = prepare(kernel, source)
    source.values[:] = 7
    source.pattern[:] = True
    np.testing.assert_array_equal(kernel.dense_weight(operand), drawn.weight.values)


def test_operand_counts_its_bytes(kernel: Kernel) -> None:
    drawn = draw(small(kernel))
    operand = prepare(kernel, drawn.weight)
    assert operand.nbytes >= 4 * drawn.weight.nnz


def test_explicit_zeros_are_stored_and_trained(kernel: Kernel) -> None:
    if "backward_weight" not in kernel.passes:
        pytest.skip(f"{kernel.name} has no backward_weight pass.")
    drawn = draw(SMALL, salt=kernel.name)
    values = drawn.weight.values.copy()
    place = tuple(np.argwhere(drawn.weight.pattern)[5])
    values[place] = 0
    weight = Weight(values, drawn.weight.pattern)
    operand = prepare(kernel, weight)
    gradient = compute(kernel, operand, "backward_weight", drawn.x, drawn.dy, weight)
    verdict = Oracle(weight, drawn.x, drawn.dy).check(
        "backward_weight", gradient, kernel.arithmetic["float32"]
    )
    assert verdict.right, verdict.problem
    assert gradient[place] != 0


@settings(max_examples=15, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", RUNNING)
def test_forward_is_linear_and_rows_permute(name: str, data: st.DataObject) -> None:
    kernel = KERNELS[name]
    most = 5 if kernel.device == "cuda" and simulated() else 12  # a thread of it is a real one
    m, k, n = (data.draw(st.integers(1, most)) for _ in range(3))
    n = min(n, small(kernel).n)
    density = data.draw(st.floats(0, 1))
    drawn = draw(Shape("drawn", m, k, n, density), salt=str(data.draw(st.integers(0, 999))))
    a, b = (np.float32(data.draw(st.integers(-4, 4))) for _ in range(2))
    other = draw(Shape("other", m, k, n, density)).x
    operand = prepare(kernel, drawn.weight)

    def forward(x: Array, operand: Any = operand) -> Array:
        return compute(kernel, operand, "forward", x, drawn.dy, drawn.weight)

    together = forward(a * drawn.x + b * other)
    apart = a * forward(drawn.x) + b * forward(other)
    rounded = kernel.arithmetic["float32"].operand_roundoff
    sides = abs(a) * abs(drawn.x) + abs(b) * abs(other)
    lost = 4 * rounded * float((abs(drawn.weight.values) @ sides).max())
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-3 + lost)
    order = np.random.default_rng(m).permutation(m)
    permuted = Weight(drawn.weight.values[order].copy(), drawn.weight.pattern[order].copy())
    shuffled = forward(drawn.x, prepare(kernel, permuted))
    np.testing.assert_allclose(shuffled, forward(drawn.x)[order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", KERNELS)
def test_declaration_is_complete(name: str) -> None:
    kernel = KERNELS[name]
    assert kernel.name == name
    assert kernel.title
    assert kernel.source
    assert kernel.device in ("cpu", "cuda")
    assert kernel.format in ("dense", "masked dense", "csr", "csc", "bsr", "sell", "2:4")
    assert set(kernel.passes) <= set(PASSES)
    reason = kernel.unavailable()
    assert reason is None or reason.endswith(".")


def test_unsupported_problems_are_refused_with_a_reason() -> None:
    kernel = KERNELS["numpy-dense"]
    assert "float16" in str(kernel.unsupported(Problem("forward", 2, 2, 2, 4, "float16")))
    assert kernel.unsupported(Problem("forward", 2, 2, 2, 4)) is None


@pytest.mark.parametrize("fault", ["dropped", "unwritten", "shifted"])
def test_a_planted_fault_is_caught(fault: str) -> None:
    drawn: Drawn = draw(SMALL, salt=fault)
    right = drawn.weight.values @ drawn.x
    oracle = Oracle(drawn.weight, drawn.x, drawn.dy)
    fp32 = KERNELS["numpy-dense"].arithmetic["float32"]
    assert oracle.check("forward", right, fp32).right
    wrong = right.copy()
    row, column = np.argwhere(drawn.weight.pattern)[0]
    if fault == "dropped":
        wrong[row] -= drawn.weight.values[row, column] * drawn.x[column]
    elif fault == "unwritten":
        wrong[row, 0] = np.nan
    else:
        wrong = np.roll(wrong, 1, axis=1)
    verdict = oracle.check("forward", wrong, fp32)
    assert not verdict.right
    assert verdict.problem


@pytest.mark.parametrize("pass_", PASSES)
def test_an_oracle_of_some_rows_finds_faults_in_them_and_nan_anywhere(pass_: Pass) -> None:
    drawn = draw(Shape("any", 40, 60, 9, 0.4), salt=pass_)
    kernel = KERNELS["numpy-dense"]
    operand = kernel.prepare(drawn.weight)
    right = compute(kernel, operand, pass_, drawn.x, drawn.dy, drawn.weight)
    fp32 = kernel.arithmetic["float32"]
    oracle = Oracle(drawn.weight, drawn.x, drawn.dy, rows=12)
    assert oracle.check(pass_, right, fp32).right
    assert not oracle.check(pass_, right * np.float32(1.001), fp32).right
    assert not oracle.check(pass_, right[:-1], fp32).right
    found = 0
    for row in range(len(right)):
        shifted = right.copy()
        shifted[row] += 1
        found += not oracle.check(pass_, shifted, fp32).right
        shifted[row] = np.nan
        assert not oracle.check(pass_, shifted, fp32).right
    assert found == 12
