"""The contest with the peers: its files, its table, and the command on small matrices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crossover.bench.__main__ import main, parser
from crossover.bench.ceilings import Ceilings
from crossover.bench.errors import InputError
from crossover.bench.peers import Match
from crossover.bench.workloads import files
from crossover.reports import contest

LIMITS = Ceilings(
    threads=1, fma_one_gflops=100.0, fma_gflops=100.0, blas_gflops=100.0,
    copy_gbs={"memory": 10.0}, cache_bytes={}, call_s=1e-7, parallel_s=1e-6,
)  # fmt: skip


def test_a_pattern_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "layer.smtx"
    path.parent.mkdir()
    path.write_text("3, 4, 3\n0 2 2 3\n0 3 1\n")
    assert files.patterns(tmp_path) == [path]
    weight = files.weight(path, np.random.default_rng(0))
    assert weight.pattern.astype(int).tolist() == [[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert np.count_nonzero(weight.values) == 3


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "three lines of integers"),
        ("3, 4\n0 1\n0\n", "three lines of integers"),
        ("3, 4, x\n0 1\n0\n", "three lines of integers"),
        ("999999999, 4, 3\n0 2 2 3\n0 3 1\n", "pointers and 3 indices"),
        ("3, 4, 9\n0 2 2 3\n0 3 1\n", "9 nonzeros"),
        ("3, 4, 3\n0 2 1 3\n0 3 1\n", "do not rise"),
        ("3, 4, 3\n0 2 2 3\n0 4 1\n", "not all in 0 to 3"),
        ("3, 4, 3\n0 2 2 3\n3 3 1\n", "twice in a row"),
        ("3, 99999999999, 3\n0 2 2 3\n0 3 1\n", "GiB are free"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(
    tmp_path: Path, content: str, problem: str
) -> None:
    path = tmp_path / "bad.smtx"
    path.write_text(content)
    with pytest.raises(InputError, match=problem):
        files.weight(path, np.random.default_rng(0))


def test_the_table_is_of_geometric_means_and_worst_cases() -> None:
    def match(name: str, ours: float, scipy: float, mkl: float) -> Match:
        times = {"numba-tiled": ours, "scipy-csr": scipy, "mkl-csr": mkl, "numpy-dense": 8.0}
        samples = {kernel: [seconds] * 6 for kernel, seconds in times.items()}
        sizes = dict.fromkeys(times, 400)
        return Match("MNIST", name, "forward", 10, 10, 64, 50, samples, sizes, {})

    matches = [match("a", 1.0, 4.0, 3.0), match("b", 1.0, 12.0, 20.0)]
    results = contest.frame(matches, ["numba-tiled"], LIMITS)
    assert list(results["over_peer"]) == [3.0, 12.0]
    (line,) = contest.table(results).to_dict("records")
    assert line["× best sparse peer"] == "6.00"
    assert line["× fastest dense"] == "8.00"
    assert line["worst"] == "3.00 (a; mkl-csr)"


def test_the_command_measures_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "layer.smtx").write_text("3, 4, 3\n0 2 2 3\n0 3 1\n")
    arguments = ["peers", "--model", "none", "--squares", "16", "--sparsity", "0.5", "--dlmc",
                 str(tmp_path), "--batch", "1", "8", "--budget", "20s", "--json"]  # fmt: skip
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    kernels = [row["kernel"] for row in found["matches"]]
    assert found["of"] == kernels.count("numba-tiled") == 2 * 3 * 2
    assert kernels.count("numba-sell") == 2  # forward, one image
    assert {row["group"] for row in found["matches"]} == {"DLMC", "squares"}
    assert all(row["over_peer"] > 0 and row["over_dense"] > 0 for row in found["matches"])


def test_squares_can_be_left_out() -> None:
    options = parser().parse_args(["peers", "--squares", "none", "--model", "none"])
    assert options.squares == options.model == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kernels", "nothing"], "unknown kernel 'nothing'"),
        (["--squares", "0"], "outside 1 to 32768"),
        (["--squares", "big"], "whole number"),
        (["--batch", "0"], "below 1"),
        (["--model", "none", "--squares", "none"], "nothing to compare on"),
        (["--model", "none", "--squares", "64", "--batch", "99999999999"], "GiB are free"),
        (["--dlmc", "nowhere", "--model", "none"], "nowhere is no folder"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["peers", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
