"""The contest of tiles: what it prints and refuses; timing itself needs a GPU."""

from __future__ import annotations

from typing import Any

import pytest

from crossover.bench import cell_trial, cuda_tiles, trial
from crossover.kernels.base import Kernel
from crossover.kernels.cuda.device import cupy_unavailable
from crossover.kernels.cuda.numba.tiles import choose


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--shape", "0", "4"], "--shape 0 is below 1"),
        (["--batch", "8", "-1"], "--batch -1 is below 1"),
        (["--sparsity", "1"], "--sparsity 1 is outside"),
        (["--budget", "nan"], "--budget nan is no time"),
        (["--passes", "sideways"], "invalid choice: 'sideways'"),
    ],
)
def test_bad_input_is_one_line(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cuda_tiles.main(given) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out


@pytest.mark.skipif(cupy_unavailable() is None, reason="not run: there is a GPU")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert cuda_tiles.main([]) == 2
    assert "no tile can be timed here: CuPy" in capsys.readouterr().err


def test_tiles_are_sorted_and_compared_with_the_chosen_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measure(task: cell_trial.Task, kernels: dict[str, Kernel], take_turn: Any) -> Any:
        names = list(kernels)
        found = {name: trial.Outcome("measured", samples=[2e-6, 2e-6]) for name in names}
        found[names[1]].samples = [1e-6, 1e-6]
        found[names[2]] = trial.Outcome("failed", "raised X")
        return found

    monkeypatch.setattr(trial, "measure", measure)
    lines = cuda_tiles.contest("forward", (64, 64), 0.9, 64, 1.0)
    assert lines[0]["over chosen"] == pytest.approx(2)
    assert lines[0]["µs"] == 1
    assert lines[-1]["status"] == "failed"
    (chosen,) = (line for line in lines if line["chosen"])
    nnz = chosen["nnz"]
    assert chosen["tile"] == choose("forward", 64, nnz, 64).name
    assert chosen["GFLOP/s"] == pytest.approx(2 * nnz * 64 / 2e-6 / 1e9, abs=0.1)
