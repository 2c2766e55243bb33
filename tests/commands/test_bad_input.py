"""Bad input: one line with the value, the rule and the fix, exit code 2, nothing written."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from crossover.bench.__main__ import main
from crossover.bench.records.store import FILE_NAME

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--sparsity", "2"], r"--sparsity '2' is outside \[0, 1\)"),
        (["run", "--sparsity", "-0.1"], r"--sparsity '-0.1' is outside"),
        (["run", "--sparsity", "many"], "--sparsity 'many' is not a number"),
        (["run", "--sparsity", "nan"], r"\[0, 1\)"),
        (["run", "--network", "alexnet"], "unknown network 'alexnet': choose from"),
        (["run", "--kernels", "magic"], "unknown kernel 'magic': choose from"),
        (["run", "--batch", "0"], "--batch '0' is not a whole number of at least 1"),
        (["run", "--batch", "10001"], "batch 10001 is outside 1 to 10000"),
        (["run", "--passes", "sideways"], "--passes 'sideways' is not a pass"),
        (["run", "--threads", "4096"], "threads 4096 is outside"),
        (["run", "--caches", "warm"], "--caches 'warm' is not a state of the caches"),
        (["run", "--budget", "-3s"], "'-3s' is not a duration"),
        (["run", "--data", "/nowhere"], "/nowhere/.* is missing"),
        (["run", "--kernel-module", "no.such.module"], "'no.such.module' cannot be used"),
        (["run", "--kernel-module", "tests.examples"], "holds no kernel"),
        (["run", "--frobnicate"], "unknown option '--frobnicate'"),
        (["run", "--pattern", "lottery"], "unknown pruning method 'lottery': choose from gradual"),
        (["run", "--pruning-module", "nowhere"], "cannot be imported"),
        (["networks", "train", "wide", "--pattern", "lottery"], "unknown pruning method 'lottery'"),
        (["run", "--preset", "tpu"], "--preset 'tpu' is unknown: choose from default, gpu"),
        (["dance"], "unknown command 'dance'"),
        (["networks", "show", "lenet-5", "--sparsity", "0.123"], "is not trained yet"),
        (["networks", "train", "nothing"], "unknown network 'nothing'"),
        (["networks", "train", "wide", "--kernel", "magic"], "unknown kernel 'magic'"),
        (["networks", "train", "wide", "--kernel", "numba-sell"], "has no backward"),
        (["search", "--layer", "fc9"], "unknown layer 'fc9': lenet-300-100 has fc1, fc2, fc3"),
        (["search", "--confidence", "1"], "confidence 1 is outside"),
        (["search", "--width", "0"], "width 0 is outside"),
        (["search", "--against", "magic"], "unknown kernel 'magic'"),
        (["search", "--kernels", "numpy-dense"], "'numpy-dense' would be compared with itself"),
        (["search", "--activations", "1"], "'1' is outside"),
        (["kernels", "explain", "magic"], "unknown kernel 'magic'"),
        (["kernels", "explain", "numba-tiled", "--shape", "300"], "--shape '300' is not a shape"),
        (["kernels", "explain", "numba-tiled", "--shape", "99999x99999"], "has more than"),
        (["scaling", "--batch", "99999999999"], "GiB are free: give a smaller --batch"),
        (["regret", "--kernel", "numpy-dense"], "makes no choices that were given variants"),
        (["regret", "--kernel", "numba-tild"], "unknown kernel"),
        (["scaling", "--threads", "1"], "threads 1 against one"),
        (["step", "--kernels", "numba-tiled"], "nothing to compare 'numba-tiled' with"),
        (["experiment", "epoch", "--seeds", "2"], "--seeds 2 shows no spread: give 3 or more"),
        (["experiment", "luck"], "'luck'"),
        (["experiment", "epoch", "--pruning-module", "nowhere"], "cannot be imported"),
        (["step", "--optimizer", "luck"], "--optimizer 'luck' is unknown"),
        (["peers", "--squares", "none", "--network", "none"], "nothing to compare on"),
        (["peers", "--dlmc", "nowhere"], "nowhere is no folder"),
        (["report", "--out", "/nowhere"], r"/nowhere holds no results\.sqlite"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("crossover: ")
    assert re.search(says, line)
    assert not list(tmp_path.iterdir()), "something was written"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def broken(:", "SyntaxError"),
        ("raise RuntimeError('planted')", "RuntimeError: planted"),
        (
            "from crossover.kernels.base import Kernel\nclass Half(Kernel):\n    name = 'half'\n",
            "abstract",
        ),
    ],
)
def test_a_broken_kernel_module_is_one_line(
    code: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    name = f"broken_{len(code)}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["kernels", "list", "--kernel-module", name]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"kernel module '{name}' cannot be used" in line
    assert says in line


def test_an_unwritable_output_folder_is_one_line(
    small_mnist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    arguments = ["run", "--data", str(small_mnist), "--batch", "8", "--out", str(out)]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "use another --out" in line


def test_an_unwritable_cache_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CROSSOVER_CACHE", str(tmp_path / "file"))
    assert main(["run", "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "CROSSOVER_CACHE" in line
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_not_there_is_one_line(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--out", str(measured), "--run", "zzz"]) == 2
    assert re.search("has no run 'zzz': choose from [0-9a-f]{16}", capsys.readouterr().err)


@pytest.mark.parametrize("damage", ["pages", "row", "file", "folder"])
def test_damaged_results_are_one_line(
    damage: str, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "copy"
    path = out / FILE_NAME
    out.mkdir()
    with sqlite3.connect(measured / FILE_NAME) as source, sqlite3.connect(path) as target:
        source.backup(target)
        if damage == "row":
            target.execute("UPDATE rows SET samples = 'not json'")
    target.close()
    source.close()
    if damage == "pages":
        content = bytearray(path.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        path.write_bytes(content)
    elif damage == "file":
        path.write_text("no database" * 1000)
    elif damage == "folder":
        shutil.rmtree(out)
        out.write_text("")
    command = ["run", "--batch", "8"] if damage == "folder" else ["report"]
    assert main([*command, "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert ("is no folder" if damage == "folder" else "is damaged, or no results file") in line
    assert "use another --out" in line


def test_a_full_disk_ends_in_one_line(measured: Path, small_mnist: Path, tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384));"
    code = f"{limit} import sys; from crossover.bench.__main__ import main; sys.exit(main())"
    arguments = ["run", "--data", str(small_mnist), "--sparsity", "0.9", "--batch", "8",
                 "--budget", "1s", "--kernels", "numpy-dense", "--quiet"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--out", str(tmp_path / "full")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "free space" in line
