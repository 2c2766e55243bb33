"""``plan`` and ``serve-check`` from beginning to end, on a network of a file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import crossover
from crossover.bench.__main__ import main
from crossover.bench.commands.output import EXIT_WRONG
from tests.reports.test_page import SCHEMA
from tests.workloads.readers.examples import WRITERS, chain

SIZES = (40, 30, 10)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a planned network, and the inputs that it was planned with."""
    folder = tmp_path_factory.mktemp("plan")
    WRITERS[".safetensors"](folder / "mine.safetensors", chain(SIZES))
    inputs = np.random.default_rng(0).standard_normal((64, SIZES[0]), np.float32)
    np.save(folder / "x.npy", inputs)
    np.save(folder / "y.npy", np.zeros(64, int))
    assert main(["plan", "--network", str(folder / "mine.safetensors"), "--batch", "1-4",
                 "--inputs", str(folder / "x.npy"), "--labels", str(folder / "y.npy"),
                 "--budget", "2s", "--out", str(folder / "out"), "--quiet"]) == 0  # fmt: skip
    return folder


def test_a_plan_is_written_shown_and_served(
    planned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--out", str(planned / "out"), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    jsonschema.validate(content, SCHEMA, cls=jsonschema.Draft202012Validator)
    answers = content["studies"]["plan"]["answers"]
    assert [each["batch"] for each in answers] == [1, 2, 4]
    for each in answers:
        assert each["network"] == "mine.safetensors"
        assert each["time_s"]["median"] > 0
        assert each["against"] in ("numpy-network", "numba-network", "torch-network")
        assert 0 <= each["accuracy"] <= 1
        if each["way"] != "dense":
            assert [layer["layer"] for layer in each["layers"]] == ["fc1", "fc2"]
            assert 0.1 < each["predicted_s"] / each["time_s"]["median"] < 10
    network = crossover.load(planned / "out" / "mine.plan.safetensors")
    x = np.load(planned / "x.npy")
    activation = x.T
    for layer in chain(SIZES):
        activation = layer.weight @ activation + layer.bias[:, None]
        activation = np.maximum(activation, 0) if layer.relu else activation
    for n in (1, 3, 64):
        np.testing.assert_allclose(network(x[:n]), activation.T[:n], rtol=1e-4, atol=1e-4)
    assert not list((planned / "out").glob(".*.safetensors"))


def test_what_computes_something_wrong_is_not_written(
    planned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object) -> int:
        return EXIT_WRONG

    monkeypatch.setattr("crossover.bench.commands.plan.conduct_and_show", wrong)
    assert main(["plan", "--network", str(planned / "mine.safetensors"), "--batch", "1",
                 "--out", str(tmp_path / "out"), "--quiet"]) == EXIT_WRONG  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_the_same_plan_again_measures_nothing(
    planned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["plan", "--network", str(planned / "mine.safetensors"), "--batch", "1-4",
                 "--inputs", str(planned / "x.npy"), "--labels", str(planned / "y.npy"),
                 "--budget", "2s", "--out", str(planned / "out")]  # fmt: skip
    assert main(arguments) == 0
    assert "kept from before" in capsys.readouterr().err


def test_a_planned_network_is_a_network_like_others(
    planned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = planned / "out" / "mine.plan.safetensors"
    assert main(["networks", "show", str(path)]) == 0
    assert "a chain that 'crossover plan' takes" in capsys.readouterr().out
    for ending in (".onnx", ".npz", ".safetensors"):
        to = planned / f"again{ending}"
        assert main(["networks", "export", str(path), "--to", str(to), "--quiet"]) == 0
        assert main(["networks", "show", str(to), "--json"]) == 0
        layers = json.loads(capsys.readouterr().out)["layers"]
        assert [each["layer"] for each in layers] == ["fc1", "fc2"]
    assert main(["networks", "export", str(path), "--to", str(planned / "x.txt")]) == 2


def test_it_is_served_to_several_callers(
    planned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = planned / "out" / "mine.plan.safetensors"
    assert main(["serve-check", "--network", str(path), "--callers", "1", "2", "--batch", "2",
                 "--budget", "1s", "--out", str(tmp_path), "--quiet", "--json"]) == 0  # fmt: skip
    content = json.loads(capsys.readouterr().out)
    jsonschema.validate(content, SCHEMA, cls=jsonschema.Draft202012Validator)
    answers = content["studies"]["serve-check"]["answers"]
    assert {(e["callers"], e["engine"]) for e in answers} >= {
        (1, "planned"), (2, "planned"), (1, "numpy-network"), (2, "numpy-network"),
    }  # fmt: skip
    for each in answers:
        assert each["inputs_per_s"] > 0
        assert (each["p99_s"] is None) == (each["callers"] == 1)


def test_a_network_that_is_not_planned_is_one_line(
    planned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(planned / "mine.safetensors", tmp_path / "mine.safetensors")
    for network, said in (
        (str(tmp_path / "mine.safetensors"), "it holds no plan"),
        (str(tmp_path / "nowhere"), "is no planned network"),
        ("", "give --network FILE"),
    ):
        assert main(["serve-check", "--network", network, "--out", str(tmp_path / "out")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    assert not (tmp_path / "out").exists()
