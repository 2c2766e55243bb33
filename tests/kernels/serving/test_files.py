"""Planned networks in files: back to the last bit, or refused in a line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

import crossover
from crossover.kernels.serving import Choice, Plan, files
from crossover.kernels.serving.plan import one_way
from tests.kernels.serving.test_network import made

ROOT = Path(__file__).parents[3]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    plans, layers = made((30, 20, 10))
    plan = one_way("net", plans, "compiled", ["numba-tiled"] * 2)
    path = tmp_path / "net.plan.safetensors"
    path.write_bytes(files.written(plan, layers))
    return path


def parts(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata())  # noqa: SIM118


def test_what_was_written_comes_back(written: Path) -> None:
    plans, layers = made((30, 20, 10))
    plan, found = files.read(written)
    assert list(plan.layers) == plans
    for one, other in zip(layers, found, strict=True):
        assert one.weight.values.tobytes() == other.weight.values.tobytes()
        assert np.array_equal(one.weight.pattern, other.weight.pattern)
        assert one.bias.tobytes() == other.bias.tobytes()
    network = crossover.load(written)
    assert (network.inputs, network.outputs) == (30, 10)


def test_a_dense_layer_is_stored_dense(tmp_path: Path) -> None:
    plans, layers = made((8, 4), density=1.0)
    content = files.written(one_way("net", plans, "dense"), layers)
    (tmp_path / "net.safetensors").write_bytes(content)
    assert "0.weight" in parts(tmp_path / "net.safetensors")[0]
    _, (layer,) = files.read(tmp_path / "net.safetensors")
    assert layer.weight.values.tobytes() == layers[0].weight.values.tobytes()


def tensor(name: str, change: Callable[[Any], Any]) -> Callable[[Any, Any], None]:
    def changed(tensors: dict[str, Any], _: dict[str, Any]) -> None:
        tensors[name] = change(tensors[name])

    return changed


def plan_of(change: Callable[[Any], Any]) -> Callable[[Any, Any], None]:
    def changed(_: dict[str, Any], metadata: dict[str, Any]) -> None:
        plan = json.loads(metadata[files.KEY])
        change(plan)
        metadata[files.KEY] = json.dumps(plan)

    return changed


def first(array: Any, value: Any) -> Any:
    array = array.copy()
    array.flat[0] = value
    return array


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (tensor("0.values", lambda a: first(a, np.nan)), "not finite"),
        (tensor("0.columns", lambda a: first(a, 99)), "not all in 0 to 29"),
        (tensor("0.columns", lambda a: first(a, -1)), "not all in 0 to 29"),
        (tensor("0.pointers", lambda a: first(a, 5)), "do not rise"),
        (tensor("0.pointers", lambda a: a[::-1].copy()), "do not rise"),
        (tensor("0.columns", lambda a: np.full_like(a, 3)), "twice in a row"),
        (tensor("0.bias", lambda a: a[:-1].copy()), "0.bias is float32"),
        (tensor("0.values", lambda a: a.astype(np.float64)), "float64"),
        (plan_of(lambda p: p.update(version=9)), "version 9"),
        (plan_of(lambda p: p.pop("layers")), "it is no plan"),
        (plan_of(lambda p: p.update(choices=[])), "from 1 on"),
        (plan_of(lambda p: p["choices"][0].update(least=2)), "from 1 on"),
        (plan_of(lambda p: p["choices"][0].update(way="magic")), "magic"),
        (plan_of(lambda p: p["choices"][0].update(kernels=[])), "0 kernels for 2 layers"),
        (plan_of(lambda p: p["layers"][0].update(shape=[0, 30])), "shape 0 x 30"),
        (plan_of(lambda p: p["layers"][1].update(shape=[10, 21])), "must chain"),
        (plan_of(lambda p: p["layers"][0].update(shape=[1 << 30, 1 << 30])), "chain"),
        (plan_of(lambda p: p.update(choices=3)), "it is no plan"),
        (lambda _, m: m.pop(files.KEY), "it holds no plan"),
        (lambda _, m: m.update({files.KEY: "[" * 3000}), "no planned network"),
        (lambda t, _: t.pop("1.columns"), "1.columns"),
    ],
)
def test_a_file_that_lies_is_refused_in_a_line(
    written: Path, change: Callable[[Any, Any], Any], said: str
) -> None:
    tensors, metadata = parts(written)
    change(tensors, metadata)
    written.write_bytes(save(tensors, metadata))
    with pytest.raises(ValueError, match=r"is no planned network") as caught:
        crossover.load(written)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_kernel_of_another_version_is_named(written: Path) -> None:
    tensors, metadata = parts(written)
    plan_of(lambda p: p["choices"][0].update(kernels=["numba-new"] * 2))(tensors, metadata)
    written.write_bytes(save(tensors, metadata))
    with pytest.raises(ValueError, match="'numba-new', which this version does not have"):
        crossover.load(written)


def test_what_is_no_file_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nothing")
    for path in (tmp_path / "x", tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="no planned network"):
            crossover.load(path)


def test_serving_imports_nothing_of_the_harness(written: Path) -> None:
    code = (
        "import sys, numpy, crossover\n"
        f"network = crossover.load({str(written)!r})\n"
        "print(network(numpy.ones((3, 30), numpy.float32)).shape)\n"
        "found = [m for m in sys.modules if m.startswith(('crossover.bench', 'crossover.reports',"
        " 'pandas', 'matplotlib'))]\n"
        "assert not found, found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["(3,", "10)"], done.stderr


def test_choices_are_found_by_batch() -> None:
    plans, _ = made((4, 3))
    choices = Choice(1, "dense"), Choice(8, "kernels", ("numba-tiled",))
    plan = Plan("net", tuple(plans), choices)
    assert [plan.choice(n).least for n in (1, 7, 8, 1000)] == [1, 1, 8, 8]
    assert Plan.from_json(json.loads(json.dumps(plan.as_json()))) == plan
