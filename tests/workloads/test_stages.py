"""A training that is killed goes on from its last whole epoch, and comes to the same end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossover.bench.records.files import Holder
from crossover.bench.workloads import checkpoints, mnist, networks
from crossover.bench.workloads.networks import Linear, Network
from crossover.bench.workloads.training.recipe import TrainingRecipe
from crossover.kernels import discover

KERNELS = discover()
NETWORK = Network("staged", (Linear("fc1", 784, 24), Linear("fc2", 24, 10)), 6, 3)
EPOCHS = 6
_CONTEXT: Any = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.workloads.test_stages"])
_LIMIT_S = 60.0


@pytest.fixture(autouse=True)
def staged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(networks.NETWORKS, NETWORK.name, NETWORK)
    monkeypatch.setenv("CROSSOVER_CACHE", str(tmp_path))


def recipe_of(data: Path, pattern: Any = "gradual", kernel: str = "") -> TrainingRecipe:
    found = TrainingRecipe(NETWORK.name, mnist.load(data).digest, 0.75, pattern)
    assert found.epochs == EPOCHS
    return replace(found, kernel=kernel) if kernel else found


def obtain(recipe: TrainingRecipe, data: Path, told: Any = None) -> checkpoints.TrainedModel:
    return checkpoints.obtain(recipe, mnist.load(data), told)


def _train(cache: Path, data: Path, recipe: TrainingRecipe, stop: float, slow: bool) -> None:
    """Train, and stand still when a share of it is done; ``slow``: only dawdle from there on."""
    os.environ["CROSSOVER_CACHE"] = str(cache)
    networks.NETWORKS[NETWORK.name] = NETWORK

    def tell(of: TrainingRecipe, done: float) -> None:
        if of == recipe and done >= stop:
            (cache / "stands").touch()
            time.sleep(_LIMIT_S if not slow else 0.2)

    obtain(recipe, data, tell)


def start(cache: Path, data: Path, recipe: TrainingRecipe, stop: float, slow: bool = False) -> Any:
    """Return a process that trains, when it has come so far."""
    process = _CONTEXT.Process(target=_train, args=(cache, data, recipe, stop, slow))
    process.start()
    _wait(lambda: (cache / "stands").exists())
    return process


def _wait(reached: Any) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while not reached():
        assert time.monotonic() < deadline, "the training does not get on"
        time.sleep(0.005)


def kill(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join(_LIMIT_S)


def digest_in(folder: Path, recipe: TrainingRecipe, data: Path, patch: pytest.MonkeyPatch) -> str:
    """Return the digest of a training that nobody interrupts."""
    with patch.context() as changed:
        changed.setenv("CROSSOVER_CACHE", str(folder))
        return obtain(recipe, data).digest


@pytest.mark.parametrize(
    ("pattern", "kernel"),
    [("gradual", ""), ("random", ""), ("block", ""), ("gradual", "numba-csr")],
)
def test_a_killed_training_goes_on_from_its_last_epoch(
    pattern: str, kernel: str, small_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(small_mnist, pattern, kernel)
    expected = digest_in(tmp_path / "whole", recipe, small_mnist, monkeypatch)
    # In the fifth epoch of six: four are kept.
    kill(start(tmp_path, small_mnist, recipe, stop=4.5 / EPOCHS))
    told: list[float] = []
    found = obtain(recipe, small_mnist, lambda _, done: told.append(done))
    assert min(told) > 4 / EPOCHS
    assert found.digest == expected
    assert checkpoints.load(recipe).digest == expected
    assert sorted(each.suffix for each in (tmp_path / "models").iterdir()) == [
        ".safetensors" for _ in (recipe, *recipe.parents)
    ]


def test_a_training_that_is_killed_again_and_again_comes_to_the_same_end(
    small_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(small_mnist)
    expected = digest_in(tmp_path / "whole", recipe, small_mnist, monkeypatch)
    for epoch in range(1, EPOCHS):
        (tmp_path / "stands").unlink(missing_ok=True)
        kill(start(tmp_path, small_mnist, recipe, stop=(epoch + 0.5) / EPOCHS))
    assert obtain(recipe, small_mnist).digest == expected


def test_a_second_training_of_one_network_waits_for_the_first(
    small_mnist: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_of(small_mnist)
    first = start(tmp_path, small_mnist, recipe, stop=0.5, slow=True)
    told: list[TrainingRecipe] = []
    found = obtain(recipe, small_mnist, lambda of, _: told.append(of))
    first.join(_LIMIT_S)
    assert first.exitcode == 0
    assert told == [], "it was trained twice"
    said = capfd.readouterr().err
    assert f"waiting for the training of staged gradual 75 % (process {first.pid} since " in said
    assert checkpoints.load(recipe).digest == found.digest


def test_a_second_training_goes_on_where_the_first_is_killed(
    small_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(small_mnist)
    expected = digest_in(tmp_path / "whole", recipe, small_mnist, monkeypatch)
    first = start(tmp_path, small_mnist, recipe, stop=2.5 / EPOCHS)
    lock = checkpoints.checkpoint_path(recipe).with_suffix(".lock")
    holder = Holder.of(lock)
    assert holder is not None
    assert holder.process == first.pid
    (tmp_path / "stands").unlink()
    second = _CONTEXT.Process(target=_train, args=(tmp_path, small_mnist, recipe, 0.9, True))
    second.start()
    time.sleep(0.3)
    kill(first)
    second.join(_LIMIT_S)
    assert second.exitcode == 0
    assert checkpoints.load(recipe).digest == expected


@pytest.mark.parametrize("harm", ["truncated", "another recipe", "draws", "moments", "empty"])
def test_a_damaged_stage_is_not_gone_on_from(
    harm: str, small_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    recipe = recipe_of(small_mnist)
    expected = digest_in(tmp_path / "whole", recipe, small_mnist, monkeypatch)
    kill(start(tmp_path, small_mnist, recipe, stop=2.5 / EPOCHS))
    stage = checkpoints.checkpoint_path(recipe).with_suffix(".stage")
    content = stage.read_bytes()
    harmed = {
        "truncated": content[:-10],
        "another recipe": content.replace(b"gradual", b"gradUAL"),
        "draws": content.replace(b"PCG64", b"PCG65"),
        "moments": content.replace(b"moment.0.0", b"moment.0.9"),
        "empty": b"",
    }
    stage.write_bytes(harmed[harm])
    (stage.parent / f".{stage.name}-killed").write_bytes(b"half")
    told: list[float] = []
    found = obtain(recipe, small_mnist, lambda _, done: told.append(done))
    assert min(told) < 1 / EPOCHS
    assert found.digest == expected
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{stage} is damaged (")
    assert line.endswith("; training from its beginning")
    assert not [each for each in stage.parent.iterdir() if each.name.startswith(".")]


def test_moments_of_another_layout_are_not_gone_on_from(
    small_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a version of the kernel that laid its gradients out otherwise."""
    recipe = recipe_of(small_mnist, kernel="numba-csr")
    expected = digest_in(tmp_path / "whole", recipe, small_mnist, monkeypatch)
    kill(start(tmp_path, small_mnist, recipe, stop=2.5 / EPOCHS))
    stage = checkpoints.checkpoint_path(recipe).with_suffix(".stage")
    from tests.workloads.test_checkpoints import changed

    longer = {f"moment.0.{order}": np.zeros(7, np.float32) for order in (0, 1)}
    stage.write_bytes(changed(stage.read_bytes(), longer))
    assert obtain(recipe, small_mnist).digest == expected
