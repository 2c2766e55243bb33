"""Every kernel on the contract: all passes, hard shapes, all dtypes, against the oracle.

Kernels for an NVIDIA GPU run on one; without one, Numba's run in its simulator, where small shapes
alone are affordable, and the others say that they did not run. ``--kernel-module MODULE`` tests
kernels of your own beside these, ``-k NAME`` one kernel.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colors, lines

from crossover.kernels import discover
from crossover.kernels.base import (
    PASSES,
    Array,
    Device,
    Kernel,
    Pass,
    Problem,
    Role,
    Runtime,
    Weight,
)
from crossover.kernels.cuda.numba.arrays import OnNumbaCuda, simulated
from crossover.kernels.oracle import Oracle
from crossover.kernels.verdicts import check_update
from tests.conftest import HAS_GPU
from tests.kernels.problems import LARGE_SHAPES, QUICK, SHAPES, Drawn, Shape, draw

OWN = discover()
KERNELS = discover(os.environ.get("CROSSOVER_KERNEL_MODULES", "").split())
SMALL = Shape("small", 19, 23, 6, 0.3)
#: Multiplies the zeros of its own padding (seen on an H200): what should be infinite may be NaN.
_MULTIPLIES_PADDING = "cusparse-csr-alg3"
#: Of a large weight, rows of a result that are checked after an update.
_CHECKED_ROWS = 128


def marked(names: Iterable[str]) -> list[Any]:
    """The names as parameters; those of kernels that need a real GPU are marked."""
    on_gpu = {
        name
        for name in names
        if KERNELS[name].device == "cuda" and (HAS_GPU or KERNELS[name].unavailable())
    }
    return [pytest.param(n, marks=pytest.mark.gpu if n in on_gpu else ()) for n in names]


RUNNING = marked([name for name, kernel in KERNELS.items() if not kernel.unavailable()])


@pytest.fixture(params=RUNNING)
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """Each kernel that runs on this machine."""
    return KERNELS[request.param]


@pytest.mark.parametrize("name", marked(KERNELS))
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
    return on_host(
        kernel, operand, pass_, kernel.run(pass_, operand, kernel.put(x), kernel.put(dy), out)
    )


def on_host(kernel: Kernel, operand: Any, pass_: Pass, result: Any) -> Array:
    """Return the result of a pass on the host; a gradient as (m, k)."""
    if pass_ == "backward_weight":
        return kernel.dense_gradient(operand, result)
    return kernel.fetch(result)


def prepare(kernel: Kernel, weight: Weight) -> Any:
    """Return the operand; skips a test whose weight the kernel says it cannot hold."""
    if reason := kernel.unfit(weight):
        pytest.skip(f"{kernel.name}: {reason}")
    return kernel.prepare(weight)


def in_simulator(kernel: Kernel) -> bool:
    """Whether the kernel's threads are simulated."""
    return isinstance(kernel, OnNumbaCuda) and simulated()


def too_slow_in_the_simulator(kernel: Kernel, shape: Shape, pass_: Pass) -> bool:
    """A simulated thread is a real one: 70,001 rows of output take half an hour."""
    return in_simulator(kernel) and shape.k > 1000 and pass_ == "backward_input"


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
    if reason := kernel.unfit(drawn.weight):
        pytest.skip(f"{kernel.name}: {reason}")
    operand = kernel.prepare_for(drawn.weight, (pass_,), shape.n)
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
    if kernel.name == _MULTIPLIES_PADDING and np.isinf(value):
        pytest.skip(f"not run: {kernel.name} multiplies padding by infinity")
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


def check_updated(kernel: Kernel, operand: Any, drawn: Drawn, gradient: Any, rows: int = 0) -> None:
    """Update by ``gradient``: W itself must be right, and every pass must see it."""
    step = kernel.dense_gradient(operand, gradient)
    kernel.update(operand, gradient, 0.5)
    after, pattern = kernel.dense_weight(operand), drawn.weight.pattern
    verdict = check_update(drawn.weight, step, 0.5, after, kernel)
    assert verdict.right, f"update: {verdict.problem}"
    # Every pass must see the new values, through whatever copies of W the operand holds.
    updated = Weight(after, pattern if kernel.keeps_zeros else np.ones_like(pattern))
    oracle = Oracle(updated, drawn.x, drawn.dy, rows)
    for pass_ in kernel.passes:
        if pass_ != "backward_weight":
            result = compute(kernel, operand, pass_, drawn.x, drawn.dy, updated)
            verdict = oracle.check(pass_, result, kernel.arithmetic["float32"])
            assert verdict.right, f"{pass_} after an update: {verdict.problem}"


def a_gradient(kernel: Kernel, operand: Any, drawn: Drawn) -> Any:
    """A gradient of the kernel's own, or where it has none numbers laid out like one."""
    shape = kernel.gradient_shape(operand)
    if "backward_weight" not in kernel.passes:
        return kernel.put(np.linspace(1, 2, int(np.prod(shape)), dtype=np.float32).reshape(shape))
    out = kernel.put(np.full(shape, np.nan, np.float32))
    return kernel.run("backward_weight", operand, kernel.put(drawn.x), kernel.put(drawn.dy), out)


def test_update_is_in_place_and_keeps_the_pattern(kernel: Kernel) -> None:
    drawn = draw(small(kernel), salt=kernel.name)
    operand = prepare(kernel, drawn.weight)
    check_updated(kernel, operand, drawn, a_gradient(kernel, operand, drawn))


def test_operand_owns_its_memory(kernel: Kernel) -> None:
    drawn = draw(small(kernel), salt=kernel.name)
    source = Weight(drawn.weight.values.copy(), drawn.weight.pattern.copy())
    operand = prepare(kernel, source)
    source.values[:] = 7
    source.pattern[:] = True
    np.testing.assert_array_equal(kernel.dense_weight(operand), drawn.weight.values)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_operand_counts_its_bytes_and_entries(kernel: Kernel, shape: Shape) -> None:
    drawn = draw(shape)
    operand = prepare(kernel, drawn.weight)
    assert operand.nbytes >= 4 * drawn.weight.nnz
    assert operand.stored_entries >= drawn.weight.nnz
    if kernel.stores_zeros:
        assert operand.stored_entries == shape.m * shape.k


def check_conversions(kernel: Kernel, operand: Any, drawn: Drawn) -> None:
    """Nothing is computed with: not a bit is lost to the device and back, and to the format."""
    for array in (drawn.x, drawn.dy):
        assert kernel.fetch(kernel.put(array)).tobytes() == array.tobytes()
    assert kernel.dense_weight(operand).tobytes() == drawn.weight.values.tobytes()


def test_conversions_are_exact(kernel: Kernel) -> None:
    drawn = draw(small(kernel), salt=kernel.name)
    check_conversions(kernel, prepare(kernel, drawn.weight), drawn)


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
    most = 5 if in_simulator(kernel) else 12
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


@lru_cache(maxsize=1)
def drawn_once(shape: Shape) -> tuple[Drawn, Oracle]:
    """Operands and reference of a large shape, for all kernels; fresh in each process."""
    drawn = draw(shape, salt=os.urandom(8).hex())
    return drawn, Oracle(drawn.weight, drawn.x, drawn.dy)


def at_real_size() -> list[Any]:
    """Each large shape with each kernel that can afford it."""
    return [
        pytest.param(shape, name, marks=parameter.marks, id=f"{shape.name}-{name}")
        for shape in LARGE_SHAPES
        for parameter in RUNNING
        for name in parameter.values
        if (shape.m * shape.k * shape.n <= QUICK or KERNELS[name].device == "cuda")
        and not in_simulator(KERNELS[name])
    ]


@pytest.mark.parametrize(("shape", "name"), at_real_size())
def test_real_sizes_before_and_after_an_update(shape: Shape, name: str) -> None:
    kernel, (m, k, n) = KERNELS[name], (shape.m, shape.k, shape.n)
    if reason := kernel.unsupported(Problem("forward", m, k, n, m * k)):
        pytest.skip(f"{name} not run: {reason}")
    drawn, oracle = drawn_once(shape)
    operand = prepare(kernel, drawn.weight)
    check_conversions(kernel, operand, drawn)
    for pass_ in kernel.passes:
        result = compute(kernel, operand, pass_, drawn.x, drawn.dy, drawn.weight)
        verdict = oracle.check(pass_, result, kernel.arithmetic["float32"])
        assert verdict.right, f"{pass_}: {verdict.problem}"
    gradient = a_gradient(kernel, operand, drawn)
    check_updated(kernel, operand, drawn, gradient, _CHECKED_ROWS if m * k > 1 << 20 else 0)


def replayed(kernel: Kernel, call: Callable[[], Any]) -> Any:
    """What a CUDA graph of ``call`` computes, its result overwritten before."""
    cuda = importlib.import_module("cupy").cuda
    cuda.get_current_stream().synchronize()
    stream = cuda.Stream(non_blocking=True)
    with cuda.using_allocator(cuda.MemoryPool().malloc), stream:
        call()  # what is allocated once is there before the capture
        stream.synchronize()
        stream.begin_capture()
        try:
            result = call()
        finally:
            graph = stream.end_capture()
        kernel.local(result).fill(np.nan)
        stream.synchronize()
        graph.launch(stream)
        stream.synchronize()
    return result


@pytest.mark.parametrize("name", [p for p in RUNNING if p.marks])
@pytest.mark.parametrize("pass_", PASSES)
def test_a_replayed_graph_is_right_on_a_gpu(name: str, pass_: Pass) -> None:
    check_replay(KERNELS[name], pass_)


def check_replay(kernel: Kernel, pass_: Pass) -> None:
    """A CUDA graph of a pass must compute what the pass does, if the library can be captured."""
    if pass_ not in kernel.passes:
        pytest.skip(f"{kernel.name} has no {pass_} pass.")
    drawn = draw(replace(LARGE_SHAPES[0], n=small(kernel).n), salt=kernel.name + pass_)
    operand = prepare(kernel, drawn.weight)
    shape = kernel.output_shape(operand, pass_, drawn.weight.shape, drawn.x.shape[1])
    x, dy, out = (kernel.put(a) for a in (drawn.x, drawn.dy, np.full(shape, np.nan, np.float32)))
    try:
        result = replayed(kernel, lambda: kernel.run(pass_, operand, x, dy, out))
    except Exception as error:  # a library may refuse to be captured, each in its own way
        pytest.skip(f"{kernel.name} cannot be captured: {error}")
    host = (
        kernel.dense_gradient(operand, result)
        if pass_ == "backward_weight"
        else kernel.fetch(result)
    )
    verdict = Oracle(drawn.weight, drawn.x, drawn.dy).check(
        pass_, host, kernel.arithmetic["float32"]
    )
    assert verdict.right, verdict.problem


@pytest.mark.parametrize("name", KERNELS)
def test_declaration_is_complete(name: str) -> None:
    kernel = KERNELS[name]
    assert kernel.name == name
    assert kernel.title
    assert kernel.source
    assert kernel.device in get_args(Device)
    assert kernel.format in ("dense", "masked dense", "csr", "csc", "bsr", "sell", "2:4")
    assert set(kernel.passes) <= set(PASSES)
    assert kernel.role in get_args(Role)
    assert kernel.runtime in get_args(Runtime)
    assert (kernel.runtime == "cuda") == (kernel.device == "cuda")
    assert kernel.stores_zeros == (kernel.role in ("dense", "masked dense"))
    assert kernel.role != "dense" or not kernel.keeps_zeros
    assert colors.is_color_like(kernel.look.colour)
    assert kernel.look.marker in lines.Line2D.markers
    assert kernel.look.dash in ("-", "--", ":", "-.")
    reason = kernel.unavailable()
    assert reason is None or reason.endswith(".")


@pytest.mark.parametrize("device", get_args(Device))
def test_looks_are_told_apart_without_colours(device: Device) -> None:
    looks = [kernel.look for kernel in OWN.values() if kernel.device == device]
    assert len({(look.marker, look.dash) for look in looks}) == len(looks)
    assert Kernel.look not in looks


def test_unsupported_problems_are_refused_with_a_reason() -> None:
    kernel = KERNELS["numpy-dense"]
    assert "float16" in str(kernel.unsupported(Problem("forward", 2, 2, 2, 4, "float16")))
    assert kernel.unsupported(Problem("forward", 2, 2, 2, 4)) is None
